"""The spans of one size: which slots hold objects, and which of those are reachable (runtime/mcentral.go, mheap.go).

An object is a slot number: the span's number times the slots of a span, plus the slot in the span. A large object
is a span with one slot.
"""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

FREE, GARBAGE, REACHABLE = 0, 1, 2
_GARBAGE = b"\x01"
_SWEPT = bytes([FREE, FREE, REACHABLE]) + bytes(range(3, 256))
_NO_SPAN = 0xFFFFFFFF


class Pool:
    """Spans of `pages` pages with `slots` objects of `size_bytes` each."""

    def __init__(self, size_bytes: int, pages: int, slots: int) -> None:
        self.size_bytes = size_bytes
        self.pages = pages
        self.slots = slots
        self.spans = self.objects = 0
        self.mallocs = self.frees = 0
        self._starts = array("I")
        self._counts = array("H")
        self._states = bytearray()
        self._partial: list[int] = []
        self._vacant: list[int] = []

    def take(self, count: int, state: int, new_span: Callable[[int], int]) -> tuple[int, int]:
        """At most `count` new objects next to each other, in a span that has room, else in a new one: (the first,
        how many). `new_span(pages)` gives the first page of one."""
        if not self._partial:
            self._add(new_span(self.pages))
        span = self._partial[-1]
        begin, end = span * self.slots, (span + 1) * self.slots
        first = self._states.find(FREE, begin, end) if self._counts[span] else begin
        count = min(count, self._room(span, first, end))
        self._states[first : first + count] = bytes((state,)) * count
        self._counts[span] += count
        if self._counts[span] == self.slots:
            self._partial.pop()
        self.objects += count
        self.mallocs += count
        return first, count

    def drop(self, objects: Iterable[int]) -> None:
        """They are not reachable any more."""
        states = self._states
        for at in objects:
            states[at] = GARBAGE

    def sweep(self, free_span: Callable[[int, int], None]) -> int:
        """Frees every unreachable object, and each span in which no other is. Returns the objects."""
        before = self.objects
        at = self._states.find(_GARBAGE)
        while at >= 0:
            span = at // self.slots
            begin, end = span * self.slots, (span + 1) * self.slots
            dead = self._states.count(_GARBAGE, begin, end)
            if self._counts[span] == self.slots:
                self._partial.append(span)
            self._counts[span] -= dead
            self.objects -= dead
            if self._counts[span]:
                self._states[begin:end] = self._states[begin:end].translate(_SWEPT)
            else:
                self._states[begin:end] = bytes(self.slots)
                free_span(self._starts[span], self.pages)
                self._starts[span] = _NO_SPAN
                self._vacant.append(span)
                self.spans -= 1
            at = self._states.find(_GARBAGE, end)
        if before != self.objects:
            self._partial = [span for span in self._partial if self._starts[span] != _NO_SPAN]
        self.frees += before - self.objects
        return before - self.objects

    def count(self, state: int) -> int:
        """The slots in that state."""
        return self._states.count(state)

    def span_starts(self) -> list[int]:
        """The first page of each span."""
        return [start for start in self._starts if start != _NO_SPAN]

    def place(self, at: int) -> tuple[int, int]:
        """Where an object is: (the first page of its span, bytes from there)."""
        span, slot = divmod(at, self.slots)
        return self._starts[span], slot * self.size_bytes

    def _add(self, page: int) -> None:
        if self._vacant:
            span = self._vacant.pop()
            self._starts[span] = page
        else:
            span = len(self._starts)
            self._starts.append(page)
            self._counts.append(0)
            self._states += bytes(self.slots)
        self.spans += 1
        self._partial.append(span)

    def _room(self, span: int, first: int, end: int) -> int:
        """Free slots from `first` on without a gap."""
        if not self._counts[span]:
            return self.slots
        here = self._states[first:end]
        return len(here) - len(here.lstrip(b"\x00"))
