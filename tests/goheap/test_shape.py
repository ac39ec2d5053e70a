"""The shape of a heap: the same by both engines, and as counted one by one."""

from __future__ import annotations

from array import array
from collections import Counter
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrss.goheap import rows
from whyrss.goheap.bits import IDLE, IN_USE, PAGE_BYTES, RELEASED
from whyrss.goheap.heap import Heap, PageRuns
from whyrss.goheap.rules import IN_USE as SPAN_IN_USE
from whyrss.goheap.shape import shape_of
from whyrss.goheap.spans import ROW, Spans
from whyrss.read.pagemap import Pages
from whyrss.shape import LARGE_BYTES

try:
    import numpy as np

    from whyrss.goheap import arrays

    ENGINES: tuple[ModuleType, ...] = (rows, arrays)
except ImportError:
    ENGINES = (rows,)

BASE = 0xC0_0000_0000
MANUAL = 2
# (state, class, bytes of a slot, pages, slots, objects): a class has one size, large objects have any.
SPAN = st.one_of(
    st.builds(
        lambda state, kind, noscan, used: (state, 2 * kind + noscan, 16 * kind, 1, 8192 // (16 * kind), used % 65),
        st.sampled_from([SPAN_IN_USE, MANUAL]),
        st.integers(1, 8),
        st.integers(0, 1),
        st.integers(0, 64),
    ),
    st.builds(
        lambda noscan, pages, used: (SPAN_IN_USE, noscan, pages * PAGE_BYTES, pages, 1, used),
        st.integers(0, 1),
        st.integers(5, 400),
        st.integers(0, 1),
    ),
)
Row = tuple[int, int, int, int, int, int]


def heap_of(found: list[Row], engine: ModuleType, pages: list[tuple[int, int, int]]) -> Heap:
    table, start = [], BASE
    for state, span_class, elem_bytes, count, slots, objects in found:
        table.append((start, count, state, span_class, elem_bytes, slots, objects, objects, 0))
        start += count * PAGE_BYTES
    spans = Spans.of(table)
    if engine is not rows:
        types = {"Q": "<u8", "B": "u1", "I": "<u4"}
        columns = {name: np.array(spans.columns[name].tolist(), types[code]) for name, code in ROW.items()}
        spans = Spans(engine, columns, 0, 0)
    return Heap("go1.27 amd64", [(BASE, BASE + (1 << 30))], spans, PageRuns.of(pages), 0, 1)


def resident(*ranges: tuple[int, int]) -> Pages:
    """Pages of 4 KiB, of no class."""
    return Pages(array("Q", [number for low, high in ranges for number in (low, high, 0)]), 4096, 0, "pagemap")


def nothing_resident() -> Pages:
    return resident()


@pytest.mark.parametrize("engine", ENGINES)
@settings(deadline=None)
@given(found=st.lists(SPAN, max_size=60))
def test_classes_as_counted_one_by_one(engine: ModuleType, found: list[Row]) -> None:
    shape = shape_of(heap_of(found, engine, []), nothing_resident())
    expected: Counter[tuple[int, bool, str]] = Counter()
    for state, span_class, elem_bytes, count, slots, objects in found:
        if state == SPAN_IN_USE:
            key = (elem_bytes if span_class > 1 else 0, bool(span_class & 1))
            for name, value in (
                ("spans", 1),
                ("span_bytes", count * PAGE_BYTES),
                ("slots", slots),
                ("objects", objects),
                ("object_bytes", objects * elem_bytes),
            ):
                expected[(*key, name)] += value
    names = ("spans", "span_bytes", "slots", "objects", "object_bytes")
    got = {(each.elem_bytes, each.noscan, name): getattr(each, name) for each in shape.classes for name in names}
    assert got == dict(expected)
    sizes = [
        (size, bool(kind)) for state, kind, size, _, _, used in found if kind < 2 and used and size >= LARGE_BYTES
    ]
    assert sorted((each.size_bytes, each.noscan) for each in shape.large) == sorted(sizes)
    assert [each.size_bytes for each in shape.large] == sorted((size for size, _ in sizes), reverse=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_empty_heap(engine: ModuleType) -> None:
    shape = shape_of(heap_of([], engine, []), nothing_resident())
    assert (shape.classes, shape.large, shape.holes) == ([], [], {})


def test_how_much_of_a_large_object_is_resident() -> None:
    pages = resident((BASE, BASE + PAGE_BYTES), (BASE + 4 * PAGE_BYTES, BASE + (1 << 30)))
    found = heap_of([(SPAN_IN_USE, 1, 200 * PAGE_BYTES, 200, 1, 1)], rows, [])
    (large,) = shape_of(found, pages).large
    assert (large.address, large.resident_bytes) == (BASE, 197 * PAGE_BYTES)


def test_holes_are_free_runs_released_or_not() -> None:
    """Three pages, of which two are not released; a released one beside a used one; eight at the end."""
    kinds = [IDLE, IDLE, RELEASED, IN_USE, RELEASED, IN_USE, *[IDLE] * 8]
    runs = [(BASE + at * PAGE_BYTES, BASE + (at + 1) * PAGE_BYTES, kind) for at, kind in enumerate(kinds)]
    holes = shape_of(heap_of([], rows, runs), nothing_resident()).holes
    pages = {
        power: (hole.runs, hole.free_bytes // PAGE_BYTES, hole.idle_bytes // PAGE_BYTES)
        for power, hole in holes.items()
    }
    assert pages == {0: (1, 1, 0), 1: (1, 3, 2), 3: (1, 8, 8)}
