"""live-heap at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import live_heap
from whyrss.errors import Missing
from whyrss.finding import NOTE, Finding
from whyrss.shape import Shape, SizeClass


def figures(alive_bytes: int, garbage_bytes: int = 0, **others: int) -> dict[str, int]:
    return {"HeapAlloc": alive_bytes + garbage_bytes, "heap_marked_bytes": alive_bytes, "NumGC": 3, **others}


def look(alive_bytes: int, garbage_bytes: int = 0, rss_bytes: int = 0, **others: int) -> Finding | None:
    account = account_of({"heap/live": alive_bytes + garbage_bytes}, rss_bytes)
    return live_heap.look(snapshot_of(figures(alive_bytes, garbage_bytes, **others)), account)


@pytest.mark.parametrize(
    ("alive_bytes", "rss_bytes", "mentioned"),
    [
        (4 * MIB - 1, 0, False),
        (4 * MIB, 0, True),
        (4 * MIB, 20 * MIB, True),
        (4 * MIB, 20 * MIB + 5, False),  # a fifth
        (4000 * MIB, 0, True),
    ],
)
def test_what_is_mentioned(alive_bytes: int, rss_bytes: int, mentioned: bool) -> None:
    finding = look(alive_bytes, 0, rss_bytes)
    assert (finding is not None) == mentioned
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes, finding.weight) == (alive_bytes, 0, NOTE)


def test_garbage_is_anothers() -> None:
    finding = look(30 * MIB, 70 * MIB)
    assert finding and finding.bytes == 30 * MIB
    assert look(19 * MIB, 81 * MIB) is None  # less than a fifth of RSS
    assert look(3 * MIB, 7 * MIB) is None


def test_nothing_is_known_before_the_first_collection() -> None:
    """Go up to 1.17 starts with a figure that nothing was marked for."""
    assert look(40 * MIB, 20 * MIB, NumGC=0) is None


def test_alive_but_not_resident() -> None:
    """A ballast of 512 MiB without a page: what is resident is what counts."""
    snapshot = snapshot_of(figures(520 * MIB, 2 * MIB))
    finding = live_heap.look(snapshot, account_of({"heap/live": 10 * MIB}))
    assert finding and finding.bytes == 8 * MIB


def size_class(elem_bytes: int, noscan: bool, objects: int, object_bytes: int) -> SizeClass:
    found = SizeClass(elem_bytes, noscan)
    found.objects, found.object_bytes = objects, object_bytes
    return found


def test_the_sizes_that_make_up_most() -> None:
    """With and without pointers together, large objects by themselves, none below a tenth, at most three."""
    shape = Shape(
        [
            size_class(0, True, 2, 40 * MIB),
            size_class(64, False, 100, 15 * MIB),
            size_class(64, True, 300, 10 * MIB),
            size_class(512, False, 7, 20 * MIB),
            size_class(1024, False, 7, 11 * MIB),
            size_class(2048, False, 7, 4 * MIB),
        ],
        {},
        [],
    )
    snapshot = snapshot_of(figures(100 * MIB), shape)
    finding = live_heap.look(snapshot, account_of({"heap/live": 100 * MIB}))
    assert finding
    found = [(each.what, each.value) for each in finding.evidence if "objects" in each.what]
    assert found == [
        ("2 objects larger than 32 KiB", 40 * MIB),
        ("400 objects of 64 bytes", 25 * MIB),
        ("7 objects of 512 bytes", 20 * MIB),
    ]


def test_without_a_shape_it_names_no_sizes() -> None:
    finding = look(100 * MIB)
    assert finding and [each.unit for each in finding.evidence] == ["bytes", "bytes"]


@pytest.mark.parametrize("name", ["HeapAlloc", "heap_marked_bytes", "NumGC"])
def test_missing_figures(name: str) -> None:
    found = figures(100 * MIB)
    del found[name]
    with pytest.raises(Missing, match=name):
        live_heap.look(snapshot_of(found), account_of({"heap/live": 100 * MIB}))


def test_contradiction() -> None:
    with pytest.raises(Missing, match="which contains it"):
        look(100 * MIB, 0, Sys=50 * MIB)
