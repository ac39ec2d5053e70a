"""The account by page: each resident page of the kernel's goes to one line, by what it is to the Go runtime.

Inside the arenas the runtime's own page map decides, and in a span in use the slots: `live` is what allocated slots
take, `slack` the rest of what is resident. Outside of them the runtime's structures, then what else could be told
apart in anonymous memory, then the mapping itself, as in the account by VMA.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import attrgetter, itemgetter

from whyrss.account import TOP_GO, Account, Line
from whyrss.errors import Missing
from whyrss.goheap.bits import IDLE, IN_USE, PAGE_BYTES, RELEASED, STACK, TRANSITION, WORKBUF
from whyrss.goheap.heap import Heap
from whyrss.mappings import AddressMap
from whyrss.read.pagemap import HUGE, Pages
from whyrss.snapshot import Build, Outside, Process, Vmas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from whyrss.snapshot import Snapshot

    T = TypeVar("T")

    Path = tuple[str, ...]
    Label = tuple[int, int, Path]

HEAP_LINES = ("live", "slack", "stacks", "retained", "released", "transition")
RELEASED_LINES = ("lazyfree", "hugepage", "locked", "other")
LINES: dict[int, Path] = {
    STACK: ("heap", "stacks"),
    WORKBUF: ("runtime", "workbufs"),
    IDLE: ("heap", "retained"),
    TRANSITION: ("heap", "transition"),
}

ARENA: Path = ()
UNATTRIBUTED: Path = ("unattributed",)
GUESSED: Path = ("runtime", "guessed")
ADDRESS_END = 1 << 64
RESIDUE_MAX_SHARE = 0.5  # of what the heap has in use

# What is known of a page of the kernel's in an arena.
_ABSENT, _SMALL, _HUGE, _LAZY, _LOCKED = range(5)
_OF_RELEASED = {_LAZY: "lazyfree", _HUGE: "hugepage", _LOCKED: "locked", _SMALL: "other"}


def account_by_page(snapshot: Snapshot) -> Account:
    """Raises Missing where the heap or the pages could not be read, or not well enough."""
    heap, pages, vmas = snapshot[Heap], snapshot[Pages], snapshot[Vmas]
    if pages.excess:
        raise Missing(pages.reasons.get("zero pages", "zero pages cannot be told from others"))
    _check(heap)
    root = _empty()
    arenas = _merged(heap.arenas)
    for start, end in arenas:
        _Arena(start, end, vmas, pages).account(root, heap)
    outside = snapshot.get(Outside)
    ranked: list[list[Label]] = [
        [(start, end, ARENA) for start, end in arenas],
        [(*_pages_of(start, end, pages.page_bytes), ("runtime", purpose)) for start, end, purpose in heap.metadata],
        outside.labels if outside else [],
    ]
    _rest(root, snapshot, pages, _disjoint(ranked))
    residue_bytes = heap.residue_bytes + abs(pages.resident_bytes - vmas.total_bytes("Rss"))
    return Account(root, "page", "", residue_bytes)


def _check(heap: Heap) -> None:
    """Raises Missing where so much of the heap contradicts itself that its lines would say nothing."""
    if heap.consistent:
        return
    totals = heap.pages.totals()
    used_bytes = sum(totals[kind] for kind in (IN_USE, STACK, WORKBUF)) * PAGE_BYTES
    if heap.residue_bytes > RESIDUE_MAX_SHARE * used_bytes:
        raise Missing("the heap contradicts itself: it changes too fast, or is not the runtime's")


def _empty() -> Line:
    root = Line("rss")
    for name in TOP_GO:
        root.child(name)
    for name in HEAP_LINES:
        root.child("heap").child(name)
    for name in RELEASED_LINES:
        root.child("heap").child("released").child(name)
    return root


def _pages_of(start: int, end: int, page_bytes: int) -> tuple[int, int]:
    """The pages that a structure lies in: what else is in the first and last one is the runtime's too."""
    return start // page_bytes * page_bytes, -(-end // page_bytes) * page_bytes


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _from(ascending: list[T], address: int, end_of: Callable[[T], int]) -> Iterator[T]:
    """Those that end behind the address."""
    for at in range(bisect_right(ascending, address, key=end_of), len(ascending)):
        yield ascending[at]


class _Arena:
    """Arenas side by side, with a byte for each page of the kernel's, or of Go's where those are smaller."""

    def __init__(self, start: int, end: int, vmas: Vmas, pages: Pages) -> None:
        self.start = start
        self.end = end
        self.page_bytes = min(pages.page_bytes, PAGE_BYTES)
        self.states = bytearray((end - start) // self.page_bytes)
        for low, high, flags in pages.within(start, end):
            self._paint(low, high, _HUGE if flags & HUGE else _SMALL)
        for vma in _from(vmas.list, start, attrgetter("end")):
            if vma.start >= end:
                break
            if vma.has_flag("lo"):
                self._lock(max(start, vma.start), min(end, vma.end))
        for low, high in _from(pages.lazy, start, itemgetter(1)):
            if low >= end:
                break
            self._paint(max(low, start), min(high, end), _LAZY)

    def account(self, root: Line, heap: Heap) -> None:
        self._spans(root, heap)
        lines = dict.fromkeys(LINES, 0)
        released = dict.fromkeys(_OF_RELEASED, 0)
        unmapped = 0
        for low, high, kind in heap.pages.within(self.start, self.end):
            if kind == IN_USE:
                continue
            first, last = self._place(low), self._place(high)
            if kind == RELEASED:
                for state in released:
                    released[state] += self.states.count(state, first, last)
            elif kind in lines:
                lines[kind] += self._resident(first, last)
            else:
                locked = self.states.count(_LOCKED, first, last)  # never used, but made resident by mlockall
                released[_LOCKED] += locked
                unmapped += self._resident(first, last) - locked
        for kind, count in lines.items():
            root.add(LINES[kind], count * self.page_bytes)
        for state, count in released.items():
            root.add(("heap", "released", _OF_RELEASED[state]), count * self.page_bytes)
        root.add(("unattributed",), unmapped * self.page_bytes)

    def _spans(self, root: Line, heap: Heap) -> None:
        """The spans in use, by their slots."""
        resident_pages, live_bytes = heap.spans.occupancy(self.states, self.start, self.page_bytes)
        root.add(("heap", "live"), live_bytes)
        root.add(("heap", "slack"), resident_pages * self.page_bytes - live_bytes)

    def _resident(self, first: int, last: int) -> int:
        return last - first - self.states.count(_ABSENT, first, last)

    def _place(self, address: int) -> int:
        return (address - self.start) // self.page_bytes

    def _paint(self, low: int, high: int, state: int) -> None:
        first, last = self._place(low), self._place(high)
        self.states[first:last] = bytes((state,)) * (last - first)

    def _lock(self, low: int, high: int) -> None:
        first, last = self._place(low), self._place(high)
        table = bytes(_LOCKED if state in (_SMALL, _HUGE) else state for state in range(256))
        self.states[first:last] = self.states[first:last].translate(table)


def _rest(root: Line, snapshot: Snapshot, pages: Pages, labels: list[Label]) -> None:
    """Everything outside of the arenas: by label, else by the name of the mapping; what has neither is
    unattributed."""
    process, vmas = snapshot.get(Process), snapshot[Vmas]
    names = AddressMap(vmas, snapshot.get(Build), process.exe if process else None, snapshot)
    for vma in vmas:
        found: dict[Path, int] = {}
        by_name = (vma.path and names.line_of(vma, None)) or UNATTRIBUTED
        for low, high, _ in pages.within(vma.start, vma.end):
            for label, size_bytes in _labelled(labels, low, high):
                path = by_name if label == UNATTRIBUTED else label
                found[path] = found.get(path, 0) + size_bytes
        found.pop(ARENA, None)
        if UNATTRIBUTED in found and any(path[0] == "runtime" for path in found):
            found[GUESSED] = found.pop(UNATTRIBUTED)  # between the runtime's own structures, but none that is known
        lazyfree_bytes = vma.get_bytes("LazyFree") if found else 0
        for path, size_bytes in found.items():
            lazy_bytes = min(lazyfree_bytes, size_bytes) if path[0] == "c" else 0
            if lazy_bytes:
                root.add(("c", "lazyfree"), lazy_bytes)
            if size_bytes > lazy_bytes:
                root.add(path, size_bytes - lazy_bytes)


def _labelled(labels: list[Label], low: int, high: int) -> Iterator[tuple[Path, int]]:
    """The parts of a run by their labels."""
    at = max(0, bisect_right(labels, (low, ADDRESS_END, ())) - 1)
    while low < high:
        while at < len(labels) and labels[at][1] <= low:
            at += 1
        start, end, path = labels[at] if at < len(labels) else (high, high, UNATTRIBUTED)
        if start > low:
            yield UNATTRIBUTED, min(start, high) - low
            low = min(start, high)
        if low < high:
            yield path, min(end, high) - low
            low = min(end, high)


def _disjoint(ranked: list[list[Label]]) -> list[Label]:
    """All labels by address without overlaps: what an earlier list claims, a later one does not get."""
    taken: list[Label] = []
    for labels in ranked:
        starts = [label[0] for label in taken]
        added: list[Label] = []
        end_before = 0
        for start, end, path in sorted(labels):
            at = max(0, bisect_right(starts, start) - 1)
            added += _free(taken, at, max(start, end_before), end, path)
            end_before = max(end_before, end)
        taken = sorted(taken + added)
    return taken


def _free(taken: list[Label], at: int, low: int, end: int, path: Path) -> Iterator[Label]:
    """The parts of [low, end) that none of `taken`, from number `at` on, covers."""
    while at < len(taken) and taken[at][0] < end:
        if taken[at][0] > low:
            yield low, taken[at][0], path
        low = max(low, taken[at][1])
        at += 1
    if low < end:
        yield low, end, path
