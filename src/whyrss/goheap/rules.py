"""What both engines hold about a span: which one makes sense, what its pages are, where its marks are."""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.goheap.bits import IDLE, PAGE_BYTES, RELEASED, STACK, WORKBUF
from whyrss.goheap.bits import IN_USE as IN_USE_PAGE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from whyrss.goheap.memory import Memory

DEAD, IN_USE, MANUAL, FREE = range(4)  # states of a span (runtime/mheap.go, mSpanState); free: up to Go 1.13 alone

# The columns and the type code of each, for array.array and for numpy.
CODES = {
    "starts": "Q", "pages": "Q", "states": "B", "classes": "B", "elem_bytes": "Q", "elems": "Q",
    "allocated": "Q", "sweepgens": "I", "marks": "Q", "scavenged": "B",
}  # fmt: skip

NO_SPAN = "no span is in use: the Go heap has not begun, or this is not it"
KIND_BYTES = [bytes([kind]) for kind in range(8)]
ADDRESS_END = 1 << 57
MOST_PAGES = 1 << 27  # 1 TiB
SHORT_SPAN_PAGES = 64

GAP_BYTES = 16 << 10  # what is read along rather than reading twice
MOST_RUN_BYTES = 8 << 20
MOST_TOTAL_BYTES = 1 << 30
MOST_RANGES = 1 << 17
MOST_RUNS = 1 << 21  # of equal pages; 16 GiB of which no two neighbours are alike

# Objects of these sizes have their marks in the last 128 bytes of their span: 63 bytes of scans, one of ownership,
# 63 bytes of marks, the class (runtime/mgcmark_greenteagc.go, spanInlineMarkBits, Go 1.25 to 1.27; minimum size and
# heapBitsInSpan in mbitmap.go). Such spans have one page.
INLINE_MIN_BYTES, INLINE_MAX_BYTES = 16, 512
INLINE_MARKS_AT = PAGE_BYTES - 64
MOST_MARKS = 8192
MOST_INLINE = 2048  # as many are read, one by one; beyond, all that is allocated counts as live


class TooMuch(Missing):
    """More than a reading may take, so that another one is not tried."""


def sound(start: int, pages: int) -> bool:
    """Whether a span may lie there."""
    return start % PAGE_BYTES == 0 and 0 < start < ADDRESS_END and 0 < pages <= MOST_PAGES


def objects(row: tuple[int, ...]) -> tuple[int, ...]:
    """The row, without objects where the span holds none, or more than it has room for."""
    start, pages, state, span_class, elem_bytes, elems, allocated, *rest = row
    if state != IN_USE or not 0 < elem_bytes <= pages * PAGE_BYTES or elems > pages * PAGE_BYTES // elem_bytes:
        elems = allocated = 0
    return start, pages, state, span_class, elem_bytes, elems, min(allocated, elems), *rest


def kind(state: int, elem_bytes: int, scavenged: int) -> int:
    """What the pages of a span are. A manual span has an elemsize if and only if it holds stacks
    (runtime/stack.go, stackpoolalloc and stackalloc; mheap.go clears it in init; Go 1.12 to 1.27)."""
    if state == IN_USE:
        return IN_USE_PAGE
    if state == MANUAL:
        return STACK if elem_bytes else WORKBUF
    return RELEASED if scavenged else IDLE


def paint_order(pages: int) -> int:
    """Which spans have the last word where spans overlap, which they do only in a torn reading: the long ones."""
    return (pages > 1) + (pages > SHORT_SPAN_PAGES)


def unswept(own: int, heap: int) -> bool:
    """Whether a span's marks are newer than its count of objects (runtime/mheap.go, comment at mspan.sweepgen):
    it is not swept yet, or was cached before the sweep began and still is."""
    return (heap - own) & 0xFFFF_FFFF == 2 or (own - heap) & 0xFFFF_FFFF == 1


def has_inline_marks(elem_bytes: int) -> bool:
    return INLINE_MIN_BYTES <= elem_bytes <= INLINE_MAX_BYTES


def inline_marks(start: int) -> int:
    """The address of the marks of a span that has them inside."""
    return start + INLINE_MARKS_AT


def read_run(memory: Memory, address: int, size_bytes: int, pointers: Sequence[int], record_bytes: int) -> bytes:
    """Memory with the records at the ascending `pointers`, and what lies between them, zeros where that cannot be
    read: halves, and halves of these, are read by themselves until none has such a gap. Raises Missing."""
    try:
        return memory.read(address, size_bytes)
    except Missing:
        if len(pointers) < 2:
            raise
    middle = len(pointers) // 2
    low, high = pointers[middle - 1] + record_bytes, pointers[middle]
    first = read_run(memory, address, low - address, pointers[:middle], record_bytes)
    second = read_run(memory, high, address + size_bytes - high, pointers[middle:], record_bytes)
    return first + bytes(high - low) + second if high >= low else first[: high - address] + second


def check_total(total_bytes: int) -> None:
    """Raises Missing where the records are strewn over more memory than those of any process."""
    if total_bytes > MOST_TOTAL_BYTES:
        raise Missing("the spans' records are strewn over too much memory: this is not the runtime's")


def check_runs(count: int) -> None:
    """Raises TooMuch where the pages change more often than those of any heap."""
    if count > MOST_RUNS:
        raise TooMuch("the heap's pages are in more pieces than can be told apart")


def check_ranges(count: int) -> None:
    """Raises Missing where the records lie in more pieces than those of any process."""
    if count > MOST_RANGES:
        raise Missing("the spans' records lie in too many pieces: this is not the runtime's")
