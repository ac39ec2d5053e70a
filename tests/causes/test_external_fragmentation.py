"""external-fragmentation at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import external_fragmentation
from whyrss.environment import NO_LIMIT_BYTES
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.shape import Hole, LargeObject, Shape, SizeClass
from whyrss.snapshot import Build

KIB = 1 << 10
PAGE_BYTES = 8 * KIB


def build() -> Build:
    made = Build("amd64", False)
    made.is_go = True
    made.go_version = "go1.27.3"
    return made


def size_class(elem_bytes: int, spans: int, span_bytes: int) -> SizeClass:
    made = SizeClass(elem_bytes, True)
    made.spans = made.slots = made.objects = spans
    made.span_bytes = made.object_bytes = spans * span_bytes
    return made


def shape(
    holes: dict[int, int],
    large: tuple[int, int] = (1200, 128 * KIB),
    small_bytes: int = MIB,
    listed: tuple[int, ...] = (),
) -> Shape:
    """`holes`: idle bytes by the power of two of their pages; `large`: how many below 1 MiB, and of which size;
    `listed`: the sizes of the others."""
    count, size_bytes = large
    above = size_class(0, count + len(listed), 0)
    above.span_bytes = count * size_bytes + sum(listed)
    made = {}
    for power, idle_bytes in holes.items():
        made[power] = Hole()
        made[power].idle_bytes = made[power].free_bytes = idle_bytes
    objects = [LargeObject(at << 40, size, True, size) for at, size in enumerate(sorted(listed, reverse=True), 1)]
    return Shape([size_class(PAGE_BYTES, small_bytes // PAGE_BYTES, PAGE_BYTES), above], made, objects)


def figures(new_bytes: int = 16 * MIB, grown_bytes: int = 16 * MIB, **others: int) -> dict[str, int]:
    """200 MiB in use when marking ended; the goal keeps 220."""
    return {
        "HeapAlloc": 136 * MIB + new_bytes,
        "heap_marked_bytes": 136 * MIB,
        "HeapSys": 201 * MIB + grown_bytes,
        "HeapReleased": MIB,
        "NextGC": 272 * MIB,
        "last_goal_bytes": 272 * MIB,
        "last_heap_in_use_bytes": 200 * MIB,
        "NumGC": 8,
        "memory_limit_bytes": NO_LIMIT_BYTES,
        **others,
    }


def look(found: Shape, line_bytes: int, rss_bytes: int = 0, runtime: dict[str, int] | None = None) -> Finding | None:
    snapshot = snapshot_of(figures() if runtime is None else runtime, build(), found)
    return external_fragmentation.look(snapshot, account_of({"heap/retained": line_bytes}, rss_bytes))


@pytest.mark.parametrize(
    ("idle_bytes", "rss_bytes", "weight"),
    [
        (4 * MIB - 1, 0, None),
        (4 * MIB, 80 * MIB, NOTE),
        (4 * MIB, 80 * MIB + 1, None),  # a twentieth
        (32 * MIB - 1, 0, NOTE),
        (32 * MIB, 128 * MIB, PROBLEM),
        (32 * MIB, 128 * MIB + 1, NOTE),  # a quarter
    ],
)
def test_thresholds(idle_bytes: int, rss_bytes: int, weight: str | None) -> None:
    finding = look(shape({3: idle_bytes}), idle_bytes, rss_bytes)
    assert (finding.weight if finding else None) == weight
    if finding:
        assert finding.bytes == finding.reclaimable_bytes == idle_bytes
        assert "128 KiB" in finding.fixes[0].text


@pytest.mark.parametrize(
    ("power", "object_bytes", "too_small"),
    [
        (3, 128 * KIB, True),  # 8 to 15 pages for 16
        (4, 128 * KIB, False),  # 16 to 31
        (3, 120 * KIB, False),
        (3, 121 * KIB, True),
        (0, 16 * KIB, True),
        (1, 24 * KIB, False),
    ],
)
def test_what_is_too_small(power: int, object_bytes: int, too_small: bool) -> None:
    found = shape({power: 64 * MIB}, (1200, object_bytes), small_bytes=0)
    assert (look(found, 64 * MIB) is not None) == too_small


def test_no_more_than_the_line() -> None:
    """Free pages that were never touched are not released either."""
    finding = look(shape({3: 64 * MIB}), 40 * MIB)
    assert finding and finding.bytes == 40 * MIB


@pytest.mark.parametrize(("long_bytes", "found"), [(20 * MIB, True), (20 * MIB + 4, False)])
def test_long_runs_have_room(long_bytes: int, found: bool) -> None:
    """Three quarters of what is free."""
    assert (look(shape({3: 60 * MIB, 9: long_bytes}), 80 * MIB) is not None) == found


@pytest.mark.parametrize(("small_bytes", "found"), [(50 * MIB, True), (50 * MIB + PAGE_BYTES, False)])
def test_small_objects_fit_nearly_everywhere(small_bytes: int, found: bool) -> None:
    """150 MiB of large objects: three quarters of the heap."""
    assert (look(shape({3: 60 * MIB}, small_bytes=small_bytes), 60 * MIB) is not None) == found


@pytest.mark.parametrize(
    ("found", "mentioned"),
    [
        (shape({3: 60 * MIB}, (99, 128 * KIB), small_bytes=0), False),
        (shape({3: 60 * MIB}, (100, 128 * KIB), small_bytes=0), True),
        # one cache beside small objects
        (shape({3: 60 * MIB}, (0, 0), 40 * MIB, listed=(200 * MIB,)), False),
        # ... beside objects of 40 KiB: the holes are no smaller than these, and these are not most of the heap
        (shape({3: 60 * MIB}, (110, 40 * KIB), 40 * MIB, listed=(200 * MIB,)), False),
        (shape({1: 60 * MIB}, (110, 40 * KIB), 40 * MIB, listed=(200 * MIB,)), False),
        # most are above 1 MiB
        (shape({6: 60 * MIB}, (0, 0), 0, listed=(2 * MIB,) * 110), True),
        (shape({6: 60 * MIB}, (20, 40 * KIB), 0, listed=(2 * MIB,) * 110), True),
        (shape({8: 60 * MIB}, (0, 0), 0, listed=(2 * MIB,) * 110), False),
    ],
)
def test_what_is_allocated(found: Shape, mentioned: bool) -> None:
    assert (look(found, 60 * MIB) is not None) == mentioned


@pytest.mark.parametrize(
    ("new_bytes", "grown_bytes", "found"),
    [
        (16 * MIB, 16 * MIB, True),
        (4 * MIB, 4 * MIB, True),
        (4 * MIB - 1, 4 * MIB, False),
        # what is new went into the holes
        (16 * MIB, 0, False),
        (16 * MIB, 12 * MIB, True),
        (16 * MIB, 12 * MIB - 1, False),
        # the heap was larger before
        (16 * MIB, 20 * MIB, True),
        (16 * MIB, 20 * MIB + 1, False),
    ],
)
def test_the_heap_has_grown(new_bytes: int, grown_bytes: int, found: bool) -> None:
    assert (look(shape({3: 60 * MIB}), 60 * MIB, 0, figures(new_bytes, grown_bytes)) is not None) == found


@pytest.mark.parametrize(("next_mib", "found"), [(234, True), (233, False)])
def test_what_is_due_is_pending(next_mib: int, found: bool) -> None:
    """216 MiB are retained: a goal of 189.3 leaves less than half of 54 MiB to do, one of 188.5 more."""
    runtime = figures(NextGC=next_mib * MIB)
    assert (look(shape({3: 54 * MIB}), 54 * MIB, 0, runtime) is not None) == found


def test_neighbours_are_silent() -> None:
    """Slack inside of spans, and a heap that is all free."""
    found = snapshot_of(figures(), build(), shape({3: 60 * MIB}))
    assert external_fragmentation.look(found, account_of({"heap/slack": 60 * MIB})) is None
    assert look(shape({14: 128 * MIB}, (0, 0)), 128 * MIB) is None


@pytest.mark.parametrize("name", ["HeapAlloc", "heap_marked_bytes", "HeapSys", "last_heap_in_use_bytes", "NextGC"])
def test_missing_figures(name: str) -> None:
    runtime = figures()
    del runtime[name]
    with pytest.raises(Missing, match=name):
        look(shape({3: 60 * MIB}), 60 * MIB, 0, runtime)


def test_missing_shape() -> None:
    with pytest.raises(Missing, match="Shape"):
        external_fragmentation.look(snapshot_of(figures(), build()), account_of({"heap/retained": 60 * MIB}))


def test_contradiction() -> None:
    with pytest.raises(Missing, match="which contains it"):
        look(shape({3: 60 * MIB}), 60 * MIB, 0, figures(HeapInuse=MIB))
