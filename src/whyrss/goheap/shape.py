"""The shape of a heap that was read: see whyrss.shape."""

from __future__ import annotations

from whyrss.goheap.bits import IDLE, PAGE_BYTES, RELEASED
from whyrss.goheap.rules import IN_USE
from whyrss.shape import LARGE_BYTES, LARGE_MAX, Hole, LargeObject, Shape, SizeClass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.goheap.heap import Heap
    from whyrss.read.pagemap import Pages

NAMES = ("starts", "pages", "states", "classes", "elem_bytes", "elems", "allocated")
BLOCK_SPANS = 1 << 16  # as plain integers at once


def shape_of(heap: Heap, pages: Pages) -> Shape:
    """One pass over the spans, and one over the runs of pages."""
    classes: dict[int, SizeClass] = {}
    large: list[tuple[int, int, int]] = []
    for at in range(0, len(heap.spans), BLOCK_SPANS):
        some = slice(at, at + BLOCK_SPANS)
        columns = [heap.spans.columns[name][some].tolist() for name in NAMES]
        for start, count, state, span_class, elem_bytes, elems, allocated in zip(*columns, strict=True):
            if state != IN_USE or not elems:
                continue
            found = classes.get(span_class)
            if found is None:
                found = classes[span_class] = SizeClass(elem_bytes if span_class > 1 else 0, bool(span_class & 1))
            found.spans += 1
            found.span_bytes += count * PAGE_BYTES
            found.slots += elems
            found.objects += allocated
            found.object_bytes += allocated * elem_bytes
            if span_class < 2 and elem_bytes >= LARGE_BYTES and allocated:
                large.append((elem_bytes, start, span_class))
    return Shape([classes[key] for key in sorted(classes)], _holes(heap), _large(large, pages))


def _large(found: list[tuple[int, int, int]], pages: Pages) -> list[LargeObject]:
    found.sort(reverse=True)
    objects = []
    for size_bytes, start, span_class in found[:LARGE_MAX]:
        resident_bytes = sum(high - low for low, high, _ in pages.within(start, start + size_bytes))
        objects.append(LargeObject(start, size_bytes, bool(span_class & 1), resident_bytes))
    return objects


def _holes(heap: Heap) -> dict[int, Hole]:
    """Free runs, released or not side by side, by the logarithm of their pages."""
    holes: dict[int, Hole] = {}
    free = idle = end_before = 0
    for start, end, kind in (*heap.pages, (0, 0, -1)):
        is_free = kind in (IDLE, RELEASED)
        if free and not (is_free and start == end_before):
            _add(holes, free, idle)
            free = idle = 0
        if is_free:
            free += end - start
            idle += end - start if kind == IDLE else 0
        end_before = end
    return holes


def _add(holes: dict[int, Hole], free_bytes: int, idle_bytes: int) -> None:
    hole = holes.setdefault((free_bytes // PAGE_BYTES).bit_length() - 1, Hole())
    hole.runs += 1
    hole.free_bytes += free_bytes
    hole.idle_bytes += idle_bytes
