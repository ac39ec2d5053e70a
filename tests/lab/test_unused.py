"""sysUnused of every release, observed in the kernel's own figures: Rss, LazyFree, and what reads back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from whyrss.facts.kernel import MADV_DONTNEED, MADV_FREE
from whyrss.lab.memory import Memory, madvise
from whyrss.lab.unused import ENOSYS, Unused, without_madv_free, without_madvise
from whyrss.policy import GoVersion, decide

BASE = 0xB000000000
MIB = 1 << 20
SIZE_BYTES = 8 * MIB
# Pages still in the per-CPU batches of lru_lazyfree: at most 31 folios on each (mm/swap.c, folio_batch), two CPUs.
BATCHES_BYTES = 2 * 31 * 4096

Advise = Callable[[int, int, int], int]


class Pages:
    """8 MiB of touched memory with something in it."""

    def __init__(self, advise: Advise) -> None:
        self.calls: list[int] = []

        def counted(address: int, size_bytes: int, advice: int) -> int:
            self.calls.append(advice)
            return advise(address, size_bytes, advice)

        self.memory = Memory(BASE, counted)
        self.memory.reserve(SIZE_BYTES)
        self.memory.map(BASE, SIZE_BYTES)
        self.fill()

    def fill(self) -> None:
        self.memory.touch(BASE, SIZE_BYTES)
        self.memory.write(BASE, b"written")

    @property
    def state(self) -> tuple[int, bool, bytes]:
        """(RSS in bytes, whether it is lazily freed, the first bytes)."""
        figures = self.memory.kernel_figures()
        lazy = figures["LazyFree"] >= SIZE_BYTES - BATCHES_BYTES
        assert lazy or not figures["LazyFree"]
        return figures["Rss"], lazy, self.memory.read(BASE, 7)


RESIDENT_LAZY = (SIZE_BYTES, True, b"written")
RESIDENT = (SIZE_BYTES, False, b"written")
GONE = (0, False, b"\0" * 7)


@pytest.fixture
def pages_of() -> Iterator[Callable[[Advise], Pages]]:
    made: list[Pages] = []

    def make(advise: Advise = madvise) -> Pages:
        made.append(Pages(advise))
        return made[-1]

    yield make
    for pages in made:
        pages.memory.free()


def unused(go: str, godebug: dict[str, str] | None = None) -> Unused:
    version = GoVersion.parse(go)
    return Unused(version, decide(version, "6.1", godebug or {}).chosen)


FREE_BY_ITSELF = ["go1.12.17", "go1.13.15", "go1.14.15", "go1.15.15"]
DONTNEED_BY_ITSELF = [
    "go1.9.7",
    "go1.11.13",
    "go1.16.15",
    "go1.18.10",
    "go1.20.14",
    "go1.21.13",
    "go1.24.11",
    "go1.27.3",
]


@pytest.mark.parametrize("go", FREE_BY_ITSELF)
def test_these_releases_free_lazily(go: str, pages_of: Callable[..., Pages]) -> None:
    pages = pages_of()
    unused(go)(pages.memory, BASE, SIZE_BYTES)
    assert pages.state == RESIDENT_LAZY


@pytest.mark.parametrize("go", DONTNEED_BY_ITSELF)
def test_these_releases_free_at_once(go: str, pages_of: Callable[..., Pages]) -> None:
    pages = pages_of()
    unused(go)(pages.memory, BASE, SIZE_BYTES)
    assert pages.state == GONE


@pytest.mark.parametrize("go", [*FREE_BY_ITSELF, "go1.16.15", "go1.21.13", "go1.27.3"])
def test_godebug_goes_before_the_default(go: str, pages_of: Callable[..., Pages]) -> None:
    for value, state in (("1", GONE), ("0", RESIDENT_LAZY)):
        pages = pages_of()
        unused(go, {"madvdontneed": value})(pages.memory, BASE, SIZE_BYTES)
        assert pages.state == state
        pages.memory.free()


@pytest.mark.parametrize("go", ["go1.9.7", "go1.11.13"])
def test_releases_without_the_variable_ignore_it(go: str, pages_of: Callable[..., Pages]) -> None:
    pages = pages_of()
    unused(go, {"madvdontneed": "0"})(pages.memory, BASE, SIZE_BYTES)
    assert pages.state == GONE


@pytest.mark.parametrize("go", [*FREE_BY_ITSELF, "go1.20.14 0", "go1.27.3 0"])
def test_on_a_kernel_before_4_5_the_range_is_advised_again_and_the_failure_is_remembered(
    go: str, pages_of: Callable[..., Pages]
) -> None:
    version, _, value = go.partition(" ")
    pages = pages_of(without_madv_free(madvise))
    give_back = unused(version, {"madvdontneed": value} if value else {})
    assert give_back.advice == "MADV_FREE"
    give_back(pages.memory, BASE, SIZE_BYTES)
    assert pages.state == GONE
    pages.fill()
    give_back(pages.memory, BASE, SIZE_BYTES)
    assert pages.state == GONE
    assert pages.calls == [MADV_FREE, MADV_DONTNEED, MADV_DONTNEED]
    assert give_back.advice == "MADV_DONTNEED"


@pytest.mark.parametrize("go", ["go1.11.13", "go1.15.15", "go1.16.15", "go1.20.14"])
def test_up_to_1_20_a_kernel_without_madvise_keeps_the_pages(go: str, pages_of: Callable[..., Pages]) -> None:
    pages = pages_of(without_madvise)
    unused(go)(pages.memory, BASE, SIZE_BYTES)
    assert pages.state == RESIDENT


@pytest.mark.parametrize("go, value", [("go1.21.13", "0"), ("go1.21.13", "1"), ("go1.27.3", ""), ("go1.27.3", "0")])
def test_from_1_21_on_such_a_kernel_is_given_fresh_memory_instead(
    go: str, value: str, pages_of: Callable[..., Pages]
) -> None:
    pages = pages_of(without_madvise)
    give_back = unused(go, {"madvdontneed": value} if value else {})
    give_back(pages.memory, BASE, SIZE_BYTES)
    assert pages.state == GONE
    tried = len(pages.calls)
    pages.fill()
    give_back(pages.memory, BASE, SIZE_BYTES)
    assert pages.state == GONE
    assert len(pages.calls) == tried  # it does not ask again
    assert give_back.advice == "mmap(MAP_FIXED)"


def test_a_page_that_was_freed_lazily_and_is_written_again_stays(pages_of: Callable[..., Pages]) -> None:
    """The refault: no new page, the write takes the promise back."""
    pages = pages_of()
    unused("go1.15.15")(pages.memory, BASE, SIZE_BYTES)
    pages.fill()
    assert pages.state == RESIDENT


def test_a_page_that_was_dropped_comes_back_as_zeros(pages_of: Callable[..., Pages]) -> None:
    pages = pages_of()
    unused("go1.27.3")(pages.memory, BASE, SIZE_BYTES)
    pages.memory.touch(BASE + 4096, SIZE_BYTES - 4096)
    assert pages.memory.kernel_figures()["Rss"] == SIZE_BYTES - 4096
    assert pages.memory.read(BASE + 8192, 2) == b"\x01\x00"


def test_enosys_is_what_such_a_kernel_answers() -> None:
    assert without_madvise(0, 0, MADV_FREE) == ENOSYS == 38
