"""The Go heap of a process at one moment, as plain data: what each page is, every span, the runtime's own memory.

Nothing is stopped, so the heap may change while it is read. A reading is tested for what always holds of a heap
that stands still, repeated where it does not, and the best one is taken with its rest stated.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

from whyrss.errors import Missing
from whyrss.goheap import memstats, metadata, profiling
from whyrss.goheap.bits import (
    BOTH_BITS,
    IN_USE,
    KINDS,
    PAGE_BYTES,
    STACK,
    TRANSITION,
    UNMAPPED,
    WORKBUF,
    PageMap,
    arenas,
    has_bitmap,
    read_bits,
    set_caches,
)
from whyrss.goheap.chunks import gc_bits_arenas, persistent_chunks
from whyrss.goheap.counters import Counters, minor_of
from whyrss.goheap.gstacks import thread_stacks
from whyrss.goheap.rules import FREE, MANUAL, TooMuch
from whyrss.goheap.rules import IN_USE as SPAN_IN_USE
from whyrss.goheap.spans import allspans, engine_for, read_spans
from whyrss.goheap.values import Values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from whyrss.goheap.locate import Located
    from whyrss.goheap.memory import Memory
    from whyrss.goheap.spans import Column, Spans

    Range = tuple[int, int]
    Labelled = tuple[int, int, str]

TRIES = 5
MOST_OVERLAP = 2  # pages of all spans by those of the heap: more than 1 only where it changes meanwhile
BLOCK_RUNS = 1 << 16  # as plain integers at once

# Marks of small objects lie in their span with the collector of Go 1.26, an experiment in 1.25 (internal/buildcfg).
INLINE_MARKS_SINCE = 26
INLINE_MARKS_ON, INLINE_MARKS_OFF = "greenteagc", "nogreenteagc"


class PageRuns:
    """What the pages of the arenas are: columns `starts`, `ends` and `kinds` (see bits.KINDS), ascending, every page
    in exactly one run."""

    __slots__ = ("ends", "kinds", "starts")

    def __init__(self, starts: Column, ends: Column, kinds: Column) -> None:
        self.starts = starts
        self.ends = ends
        self.kinds = kinds

    @classmethod
    def of(cls, runs: Iterable[tuple[int, int, int]]) -> PageRuns:
        """From (start, end, kind): what iterating over one gives."""
        starts, ends, kinds = list(zip(*runs, strict=True)) or [(), (), ()]
        return cls(array("Q", starts), array("Q", ends), array("B", kinds))

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(start, end, kind), plain integers."""
        return self._some(0, len(self))

    def within(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Those that begin in [start, end)."""
        return self._some(bisect_left(self.starts, start), bisect_left(self.starts, end))

    def _some(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        for at in range(first, last, BLOCK_RUNS):
            some = slice(at, min(at + BLOCK_RUNS, last))
            yield from zip(*(column[some].tolist() for column in (self.starts, self.ends, self.kinds)), strict=True)

    def totals(self) -> dict[int, int]:
        """Pages of 8 KiB by kind; every kind is there."""
        found = dict.fromkeys(range(len(KINDS)), 0)
        for start, end, kind in self:
            found[kind] += (end - start) // PAGE_BYTES
        return found


class Heap:
    """A Go heap. Addresses are the process's.

    layout          the name of the layout by which it was read
    arenas          (start, end) of each arena, ascending
    spans           see Spans
    pages           see PageRuns
    metadata        (start, end, purpose) of the runtime's own memory, ascending, none over another
    stacks          (start, end) of the threads' stacks that lie outside of the heap
    memstats        the figures of runtime.MemStats by Go's names, as far as they can be read
    walked          those that follow from the walk alone, for comparison
    pacing          where the collector stands, and how many goroutines there ever were
    places          (address, width in bytes) of those figures that are one number in memory
    consistent      whether the reading holds together
    residue_bytes   what does not: pages of spans that overlap or that the bitmap has free, spans that make no
                    sense, and the difference to the runtime's own count of pages in use
    tries           how many readings it took
    """

    def __init__(
        self, layout: str, arenas: list[Range], spans: Spans, pages: PageRuns, residue_bytes: int = 0, tries: int = 1
    ) -> None:
        self.layout = layout
        self.arenas = arenas
        self.spans = spans
        self.pages = pages
        self.residue_bytes = residue_bytes
        self.consistent = not residue_bytes
        self.tries = tries
        self.metadata: list[Labelled] = []
        self.stacks: list[Range] = []
        self.memstats: dict[str, int | float] = {}
        self.walked: dict[str, int | float] = {}
        self.pacing: dict[str, int] = {}
        self.places: dict[str, tuple[int, int]] = {}

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """(start, end, kind) of the runs of equal pages, ascending: see bits.KINDS."""
        return iter(self.pages)

    def in_use(self) -> Iterator[tuple[int, int, int]]:
        """(start, pages of 8 KiB, bytes of allocated slots) of each span in use, ascending."""
        return self.spans.in_use()


class _Shot:
    """One reading. Raises Missing."""

    def __init__(self, values: Values, located: Located) -> None:
        heap = located.mheap
        before = values.field(heap, "mheap.pagesInUse")
        self.arenas = arenas(values, heap)
        self.map = PageMap(self.arenas)
        self.spans = read_spans(values, heap, _states(values), _has_inline_marks(values))
        if has_bitmap(values):
            read_bits(values, heap, self.map)
        torn = self._paint()
        sums, after = self.spans.sums(), values.field(heap, "mheap.pagesInUse")
        uncounted = min(abs(sums.in_use_pages - before), abs(sums.in_use_pages - after))
        self.residue_pages = torn + uncounted + self.spans.odd
        if has_bitmap(values):
            set_caches(self.map, _page_caches(values, located.allp))
        self.pages = PageRuns(*self.spans.page_runs(self.map))
        self.map.pages = bytearray()  # as large as all else together

    def _paint(self) -> int:
        """Give the spans' pages their kinds. Returns how many pages are outside of the arenas, belong to more than
        one span, or are free by the bitmap (the difference of what it has allocated before and after)."""
        if self.spans.sums().pages > MOST_OVERLAP * len(self.map.pages):
            raise Missing("the spans are larger than the heap: this is not the runtime's memory")
        allocated, grown = self._count(TRANSITION, BOTH_BITS), len(self.map.pages) - self._count(UNMAPPED)
        self.spans.paint(self.map)
        covered = self._count(IN_USE, STACK, WORKBUF)
        if not grown:  # a release without a bitmap: free pages are spans too
            covered = len(self.map.pages) - self._count(UNMAPPED)
            return self.spans.sums().pages - covered
        missing = covered - (allocated - self._count(TRANSITION, BOTH_BITS))
        return self.spans.sums().pages - covered + missing

    def _count(self, *kinds: int) -> int:
        return sum(self.map.pages.count(kind) for kind in kinds)

    def padding_pages(self) -> int:
        """Pages at the beginning of what the heap has grown to that are allocated and have no span."""
        total, before = 0, UNMAPPED
        for start, end, kind in self.pages:
            if kind == TRANSITION and (before == UNMAPPED or start in self.map.starts):
                total += (end - start) // PAGE_BYTES
            before = kind
        return total


def read_heap(memory: Memory, located: Located, tries: int = TRIES) -> Heap:
    """The heap, in the most consistent of up to `tries` readings. Raises Missing where none can be made."""
    values = Values(memory, located.layout)
    best: _Shot | None = None
    trouble: Missing | None = None
    done = 0
    while done < tries and (best is None or best.residue_pages):
        done += 1
        try:
            shot = _Shot(values, located)
        except TooMuch:
            raise
        except Missing as missing:
            trouble = missing
            continue
        if best is None or shot.residue_pages < best.residue_pages:
            best = shot
    if best is None:
        assert trouble
        raise trouble
    residue_bytes = best.residue_pages * PAGE_BYTES
    heap = Heap(located.layout.name, best.arenas, best.spans, best.pages, residue_bytes, done)
    heap.stacks = thread_stacks(values, located.allm, best.map)
    heap.metadata = metadata.ranges(values, located.mheap, heap.arenas, _known(values, located))
    _figure(values, located, best, heap)
    return heap


def _figure(values: Values, located: Located, shot: _Shot, heap: Heap) -> None:
    structs = {"mheap": located.mheap, "mstats": located.memstats, "pacer": located.gc_controller}
    counters, minor = Counters(values, structs), minor_of(values)
    heap.walked = memstats.walked(minor, heap.spans, heap.pages.totals(), shot.padding_pages())
    heap.memstats = memstats.memstats(counters, heap.walked, minor)
    heap.pacing = memstats.pacing(counters)
    heap.places = memstats.places(counters, {**heap.memstats, **heap.pacing})
    if located.allgs is not None:
        heap.places["goroutines_made"] = located.allgs + 8, 8  # the length of allgs, which never shrinks
        heap.pacing["goroutines_made"] = values.word(located.allgs + 8)


def _known(values: Values, located: Located) -> list[Labelled]:
    """Memory that `locate` leads to, for one purpose before the chunks that hold several; what cannot be read is
    left out."""
    memory = values.memory
    parts: tuple[Callable[[], list[Labelled]], ...] = (
        lambda: [(*each, "spans") for each in _mspans(values, located)],
        lambda: metadata.caches(values, located.allp),
        lambda: [(*profiling.table_of(memory, located.buckets), "profiling buckets")] if located.buckets else [],
        lambda: [(*each, "gcBits") for each in gc_bits_arenas(memory, located.gc_bits)],
        lambda: [(*each, "persistent") for each in persistent_chunks(memory, located.persistent or 0)],
    )
    found = []
    for part in parts:
        try:
            found += part()
        except Missing:
            continue
    return found


def _mspans(values: Values, located: Located) -> list[Range]:
    pointers = allspans(values, located.mheap)
    return engine_for(len(pointers) // 8).used(pointers, values.layout.size("mspan"))


def _states(values: Values) -> set[int]:
    """The states of spans that are walked. Raises Missing where free pages are spans, and do not say whether they
    were released."""
    if has_bitmap(values):
        return {SPAN_IN_USE, MANUAL}
    if not values.layout.has("mspan.scavenged"):
        raise Missing(f"the layout of {values.layout.name} does not say which free spans are released")
    return {SPAN_IN_USE, MANUAL, FREE}


def _page_caches(values: Values, allp: int | None) -> list[tuple[int, int, int]]:
    """(address, bits of free pages, bits of scavenged ones) of each P's page cache; none where they cannot be read:
    their pages stay `transition`."""
    found = []
    try:
        for p in metadata.processors(values, allp):
            at = p + values.layout.offset("p.pcache")
            base, free, scavenged = (values.field(at, f"pageCache.{name}") for name in ("base", "cache", "scav"))
            found.append((base, free, scavenged))
    except Missing:
        pass
    return found


def _has_inline_marks(values: Values) -> bool:
    experiments = getattr(values.layout, "experiments", ())
    if INLINE_MARKS_ON in experiments:
        return True
    return minor_of(values) >= INLINE_MARKS_SINCE and INLINE_MARKS_OFF not in experiments
