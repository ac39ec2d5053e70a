"""The shape of a heap that was read: see whyrss.shape."""

from __future__ import annotations

from whyrss.goheap.bits import IDLE, PAGE_BYTES, RELEASED
from whyrss.shape import LARGE_BYTES, LARGE_MAX, Hole, LargeObject, Shape, SizeClass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.goheap.heap import Heap
    from whyrss.read.pagemap import Pages


def shape_of(heap: Heap, pages: Pages) -> Shape:
    """From the spans, and the runs of free pages between them."""
    return Shape(
        [_class(*row) for row in heap.spans.by_class()],
        _holes(heap),
        _large(heap.spans.large_objects(LARGE_BYTES), pages),
    )


def _class(
    span_class: int, elem_bytes: int, spans: int, count: int, slots: int, objects: int, object_bytes: int
) -> SizeClass:
    found = SizeClass(elem_bytes if span_class > 1 else 0, bool(span_class & 1))
    found.spans, found.span_bytes = spans, count * PAGE_BYTES
    found.slots, found.objects, found.object_bytes = slots, objects, object_bytes
    return found


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
