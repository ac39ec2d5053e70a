"""The runtime's own memory beside the heap, by what it is for.

All of it is anonymous memory that the runtime mapped for itself; the ranges are address space, of which the
kernel holds what was touched.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import pairwise

from whyrss.errors import Missing
from whyrss.goheap.bits import (
    ARENA_BYTES,
    CHUNK_BYTES,
    CHUNK_DATA_BYTES,
    L2_BITS,
    L2_ENTRIES,
    base_offset,
    has_bitmap,
)
from whyrss.goheap.values import WORD_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from whyrss.goheap.values import Values

    Range = tuple[int, int]
    Labelled = tuple[int, int, str]

ARENA_ENTRIES = 1 << 22  # runtime/malloc.go, arenaL2Bits on linux/amd64 and linux/arm64: all of 48 bits in one level
SUMMARY_LEVELS = 5  # runtime/mpagealloc_64bit.go
SUMMARY_BYTES = 8
MOST_SUMMARIES = 1 << 34
MOST_SPANS = 1 << 28
MOST_PROCESSORS = 1 << 14
PAGE_MASK = 4095

# Bytes of an entry of the scavenge index by the size of its structure: one byte for eight chunks in Go 1.19 and
# 1.20, 8 bytes for each chunk from Go 1.21 on (runtime/mgcscavenge.go, scavengeIndex.chunks).
SCAVENGE_ENTRY_BYTES = {48: 1}
SCAVENGE_ENTRY_BYTES_SINCE_1_21 = 8


def ranges(values: Values, mheap: int, arenas: Iterable[Range], known: Iterable[Labelled]) -> list[Labelled]:
    """(start, end, purpose), ascending, none over another. `known` are further ones, those for one purpose before
    those that hold several; each part that cannot be read is left out."""
    found: list[Labelled] = []
    parts: tuple[Callable[[], Iterator[Labelled]], ...] = (
        lambda: _arena_index(values, mheap),
        lambda: _heap_arenas(values, mheap, arenas),
        lambda: _summaries(values, mheap),
        lambda: _bitmaps(values, mheap),
        lambda: _scavenge_index(values, mheap),
        lambda: _allspans(values, mheap),
    )
    for part in parts:
        try:
            found += [each for each in part() if 0 < each[0] < each[1] < 1 << 57]
        except Missing:
            continue
    return flat([*found, *known])


def flat(labelled: Iterable[Labelled]) -> list[Labelled]:
    """Without overlaps: where there are several, the first in the order given holds. Neighbours of one purpose
    are merged."""
    order = list(labelled)
    events = sorted({bound for start, end, _ in order for bound in (start, end)})
    begins = sorted((start, number) for number, (start, _, _) in enumerate(order))
    active: list[tuple[int, int]] = []
    found: list[Labelled] = []
    at = 0
    for low, high in pairwise(events):
        while at < len(begins) and begins[at][0] <= low:
            number = begins[at][1]
            heappush(active, (number, order[number][1]))
            at += 1
        while active and active[0][1] <= low:
            heappop(active)
        if active:
            _append(found, low, high, order[active[0][0]][2])
    return found


def _append(found: list[Labelled], low: int, high: int, purpose: str) -> None:
    if found and found[-1][1:] == (low, purpose):
        low = found.pop()[0]
    found.append((low, high, purpose))


def _arena_index(values: Values, mheap: int) -> Iterator[Labelled]:
    table = values.word(mheap + values.layout.offset("mheap.arenas"))
    yield table, table + ARENA_ENTRIES * 8, "arena index"


def _heap_arenas(values: Values, mheap: int, arenas: Iterable[Range]) -> Iterator[Labelled]:
    """The heapArena of each arena. Up to Go 1.21 it begins with the bitmap of the pointers in the heap."""
    table = values.word(mheap + values.layout.offset("mheap.arenas"))
    offset, size = base_offset(values), values.layout.size("heapArena")
    bitmap = values.layout.offset("heapArena.spans")
    for start, _ in arenas:
        at = values.word(table + ((start - offset) & WORD_MASK) // ARENA_BYTES * 8)
        yield at, at + bitmap, "heap bitmap"
        yield at + bitmap, at + size, "heapArena"


def _page_alloc(values: Values, mheap: int) -> int:
    if not has_bitmap(values):
        raise Missing("the release has no page allocator of its own")
    return mheap + values.layout.offset("mheap.pages")


def _summaries(values: Values, mheap: int) -> Iterator[Labelled]:
    header = _page_alloc(values, mheap) + values.layout.offset("pageAlloc.summary")
    for level in range(SUMMARY_LEVELS):
        pointer, _, capacity = values.slice(header + 24 * level, "a level of page summaries", MOST_SUMMARIES)
        yield pointer, pointer + min(capacity, MOST_SUMMARIES) * SUMMARY_BYTES, "page summaries"


def _bitmaps(values: Values, mheap: int) -> Iterator[Labelled]:
    """The second levels of pageAlloc.chunks that the heap's chunks are in."""
    pages = _page_alloc(values, mheap)
    first, last = (values.field(pages, f"pageAlloc.{name}") for name in ("start", "end"))
    tables = pages + values.layout.offset("pageAlloc.chunks")
    if not first <= last <= (1 << 48) // CHUNK_BYTES:
        raise Missing("the heap's bounds are no chunks")
    for table in values.words(tables, L2_ENTRIES)[first >> L2_BITS : (last >> L2_BITS) + 1]:
        yield table, table + L2_ENTRIES * CHUNK_DATA_BYTES, "page bitmaps"


def _scavenge_index(values: Values, mheap: int) -> Iterator[Labelled]:
    layout = values.layout
    header = _page_alloc(values, mheap) + layout.offset("pageAlloc.scav") + layout.offset("scavengeIndex.chunks")
    pointer, _, capacity = values.slice(header, "the scavenge index", MOST_SUMMARIES)
    entry = SCAVENGE_ENTRY_BYTES.get(layout.size("scavengeIndex"), SCAVENGE_ENTRY_BYTES_SINCE_1_21)
    if not pointer & PAGE_MASK:
        yield pointer, pointer + min(capacity, MOST_SUMMARIES) * entry, "scavenge index"


def _allspans(values: Values, mheap: int) -> Iterator[Labelled]:
    header = mheap + values.layout.offset("mheap.allspans")
    pointer, _, capacity = values.slice(header, "mheap.allspans", MOST_SPANS)
    yield pointer, pointer + min(capacity, MOST_SPANS) * 8, "allspans"


def caches(values: Values, allp: int | None) -> list[Labelled]:
    """The mcache of each P."""
    found = []
    try:
        for p in processors(values, allp):
            at = values.field(p, "p.mcache")
            if at:
                found.append((at, at + values.layout.size("mcache"), "caches"))
    except Missing:
        pass
    return found


def processors(values: Values, allp: int | None) -> list[int]:
    """The addresses of all Ps. Raises Missing."""
    if allp is None:
        return []
    pointer, count, _ = values.slice(allp, "allp", MOST_PROCESSORS)
    return [p for p in values.words(pointer, count) if p]
