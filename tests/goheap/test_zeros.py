"""Which resident pages of large objects with pointers hold nothing but zeros, and that nothing else is read."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import support
from tests.live.patterned import DIRTY, UNTOUCHED, pages_of
from whyrss.goheap import zeros as module
from whyrss.goheap.memory import ImageMemory, ProcessMemory, Unreadable
from whyrss.goheap.zeros import WINDOW_BYTES, WINDOWS_MAX, zeros_of
from whyrss.read.pagemap import ANON, Pages
from whyrss.shape import LargeObject, Shape

PAGE = 4096
AT = 0xC000000000
EMPTY, FULL = bytes(PAGE), bytes(PAGE - 1) + b"\1"


class Watched(ImageMemory):
    """Remembers what was read."""

    def __init__(self, ranges: dict[int, bytes]) -> None:
        super().__init__(ranges)
        self.read_bytes = 0

    def read(self, address: int, size_bytes: int) -> bytes:
        self.read_bytes += size_bytes
        return super().read(address, size_bytes)


def shape(*objects: tuple[int, int, bool]) -> Shape:
    """Of (address, bytes, noscan)."""
    return Shape([], {}, [LargeObject(address, size, noscan, 0) for address, size, noscan in objects])


def pages(*runs: tuple[int, int], page_bytes: int = PAGE) -> Pages:
    flat = array("Q", [word for start, end in runs for word in (start, end, ANON)])
    return Pages(flat, page_bytes, 0, "pagemap")


def looked(memory: Watched, of: Shape, there: Pages) -> tuple[int, int]:
    found = zeros_of(memory, of, there)
    assert memory.read_bytes == found.looked_bytes
    return found.looked_bytes, found.zero_bytes


def test_zero_pages_are_counted() -> None:
    memory = Watched({AT: EMPTY + FULL + EMPTY * 2 + b"\1" + bytes(PAGE - 1)})
    assert looked(memory, shape((AT, 5 * PAGE, False)), pages((AT, AT + 5 * PAGE))) == (5 * PAGE, 3 * PAGE)


def test_objects_without_pointers_are_not_read() -> None:
    memory = Watched({AT: EMPTY * 8})
    both = shape((AT, 4 * PAGE, True), (AT + 4 * PAGE, 4 * PAGE, False))
    assert looked(memory, both, pages((AT, AT + 8 * PAGE))) == (4 * PAGE, 4 * PAGE)


@pytest.mark.parametrize(
    ("resident_before", "resident_now"),
    [((AT, AT + 2 * PAGE), (AT, 8)), ((AT, AT + 8 * PAGE), (AT, 2)), ((AT + PAGE, AT + 4 * PAGE), (AT, 3))],
)
def test_only_what_is_resident_is_read(resident_before: tuple[int, int], resident_now: tuple[int, int]) -> None:
    """Both when the account was made and now: a memory that is asked for more raises Unreadable."""
    memory = Watched({resident_now[0]: EMPTY * resident_now[1]})
    assert looked(memory, shape((AT, 8 * PAGE, False)), pages(resident_before)) == (2 * PAGE, 2 * PAGE)


@pytest.mark.parametrize(("page_bytes", "zero_pages"), [(4096, 3), (16384, 2), (65536, 2)])
def test_the_unit_is_a_page_of_gos_where_the_kernels_is_larger(page_bytes: int, zero_pages: int) -> None:
    memory = Watched({AT: EMPTY + FULL + EMPTY * 2 + FULL * 12})
    there = pages((AT, AT + 65536), page_bytes=page_bytes)
    assert looked(memory, shape((AT, 65536, False)), there) == (65536, zero_pages * PAGE)


def test_a_heap_without_such_objects() -> None:
    assert looked(Watched({}), shape(), pages((AT, AT + PAGE))) == (0, 0)
    assert looked(Watched({}), shape((AT, PAGE, False)), pages()) == (0, 0)


def test_objects_that_lie_over_each_other_are_read_once() -> None:
    memory = Watched({AT: EMPTY * 8})
    three = shape((AT, 8 * PAGE, False), (AT, 8 * PAGE, False), (AT + PAGE, PAGE, False))
    assert looked(memory, three, pages((AT, AT + 8 * PAGE))) == (8 * PAGE, 8 * PAGE)


@pytest.mark.parametrize("windows", [1, 3, 4, 5, 7, 40])
def test_of_more_than_the_most_a_sample_is_read(windows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the whole length, and no more than the most."""
    monkeypatch.setattr(module, "WINDOW_BYTES", 4 * PAGE)
    monkeypatch.setattr(module, "WINDOWS_MAX", 4)
    first_half = windows // 2
    memory = Watched({AT: EMPTY * 4 * first_half + FULL * 4 * (windows - first_half)})
    size_bytes = windows * 4 * PAGE
    read_bytes, zero_bytes = looked(memory, shape((AT, size_bytes, False)), pages((AT, AT + size_bytes)))
    assert read_bytes == min(windows, 4) * 4 * PAGE
    assert abs(zero_bytes / read_bytes - first_half / windows) < 1 / 4


def test_a_huge_object_that_is_hardly_resident_costs_little() -> None:
    memory = Watched({AT + (1 << 40): EMPTY})
    assert looked(memory, shape((AT, 1 << 46, False)), pages((AT + (1 << 40), AT + (1 << 40) + PAGE))) == (PAGE, PAGE)


def test_the_most_is_256_mib() -> None:
    assert WINDOW_BYTES * WINDOWS_MAX == 256 << 20


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("zf.n"), min_size=1, max_size=60), st.integers(0, 20), st.integers(1, 40), st.booleans()
)
def test_as_counted_page_by_page(kinds: list[str], first: int, count: int, odd_window: bool) -> None:
    """z zeros, f something, . not resident, n resident only by now."""
    held = {AT + number * PAGE: FULL if kind == "f" else EMPTY for number, kind in enumerate(kinds) if kind != "."}
    there = pages(
        *((AT + number * PAGE, AT + number * PAGE + PAGE) for number, kind in enumerate(kinds) if kind in "zf")
    )
    inside = "".join(kinds)[first : first + count]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WINDOW_BYTES", 3 * PAGE if odd_window else PAGE)
        found = looked(Watched(held), shape((AT + first * PAGE, count * PAGE, False)), there)
    assert found == ((inside.count("z") + inside.count("f")) * PAGE, inside.count("z") * PAGE)


def test_a_page_that_went_to_swap_meanwhile() -> None:
    class Gone(Watched):
        def read(self, address: int, size_bytes: int) -> bytes:
            raise Unreadable("the memory is in swap")

    with pytest.raises(Unreadable, match="swap"):
        zeros_of(Gone({AT: EMPTY}), shape((AT, PAGE, False)), pages((AT, AT + PAGE)))


def test_of_a_live_process_nothing_becomes_resident() -> None:
    support.needs_linux()
    pattern = (DIRTY * 3 + UNTOUCHED * 2) * 20
    with pages_of(pattern) as running, ProcessMemory(running.pid) as memory:
        start = running.ready["start"]
        end = start + len(pattern) * PAGE
        before = memory.resident(start, end)
        found = zeros_of(memory, shape((start, end - start, False)), pages((start, end)))
        memory.forget()
        assert memory.resident(start, end) == before
    assert (found.looked_bytes, found.zero_bytes) == (60 * PAGE, 0)
