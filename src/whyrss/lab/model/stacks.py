"""Goroutine stacks: spans of the heap that the collector does not look into (runtime/stack.go)."""

from __future__ import annotations

from whyrss.facts.pageheap import PAGE_BYTES, STACK_SPAN_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.model.heap import Heap

FIRST_STACK_BYTES = 2048  # runtime/stack.go, fixedStack


class Span:
    """Where `count` stacks of `stack_bytes` lie."""

    __slots__ = ("count", "page", "pages", "stack_bytes")

    def __init__(self, page: int, pages: int, stack_bytes: int, count: int) -> None:
        self.page = page
        self.pages = pages
        self.stack_bytes = stack_bytes
        self.count = count


class Stacks:
    """Small stacks share spans of 32 KiB, a larger one has its own. A dead goroutine keeps a stack of the size with
    which new ones begin, until the next collection; any other is freed when it ends (runtime/proc.go, gfput)."""

    def __init__(self, heap: Heap) -> None:
        self._heap = heap
        self._spans: list[Span] = []
        self._dead: list[Span] = []
        self._starting_bytes = FIRST_STACK_BYTES
        self.pages = 0

    def start(self, count: int, stack_bytes: int) -> None:
        """So many goroutines, each with a stack of that size that is used all over."""
        pages = max(STACK_SPAN_BYTES, stack_bytes) // PAGE_BYTES
        in_span = pages * PAGE_BYTES // stack_bytes
        while count > 0:
            span = Span(self._heap.take(pages), pages, stack_bytes, min(count, in_span))
            self._heap.touch(span.page, 0, span.count * stack_bytes)
            self._spans.append(span)
            self.pages += pages
            count -= in_span

    def keep(self) -> None:
        """What runs now never ends."""
        self._spans = []

    def end_all(self, now_s: float) -> None:
        """All of these goroutines exit."""
        for span in self._spans:
            if span.stack_bytes == self._starting_bytes:
                self._dead.append(span)
            else:
                self._free(span, now_s)
        self._spans = []

    def collect(self, now_s: float) -> None:
        """What a collection does with them: the dead's are freed, and where stacks adapt, new ones begin with the
        average of what was scanned, in powers of two (runtime/stack.go, gcComputeStartingStackSize)."""
        for span in self._dead:
            self._free(span, now_s)
        self._dead = []
        count = sum(span.count for span in self._spans)
        if count and self._heap.settings.flag("stacks_adapt"):
            average = sum(span.count * span.stack_bytes for span in self._spans) // count
            self._starting_bytes = max(FIRST_STACK_BYTES, 1 << (average - 1).bit_length())

    def _free(self, span: Span, now_s: float) -> None:
        self._heap.free(span.page, span.pages, now_s)
        self.pages -= span.pages
