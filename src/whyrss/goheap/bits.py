"""What each page of the Go heap is, from the page allocator's bitmaps.

A chunk is 512 pages of 8 KiB; its pallocData is 64 bytes of allocated bits and 64 bytes of scavenged bits, the
lowest bit first (runtime/mpallocbits.go, mpagealloc.go; the same from Go 1.14 to 1.27). Scavenged means that the
runtime released the page, or never used it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from whyrss.errors import Missing
from whyrss.goheap.values import WORD_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whyrss.goheap.values import Values

    Range = tuple[int, int]

PAGE_BYTES = 8192
ARENA_BYTES = 64 << 20
CHUNK_BYTES = 4 << 20
CHUNK_DATA_BYTES = 128
PAGES_PER_CHUNK = CHUNK_BYTES // PAGE_BYTES
L2_BITS = 13  # runtime/mpagealloc_64bit.go, pallocChunksL1Bits: what is left of 26 for the second level
L2_ENTRIES = 1 << L2_BITS

# Kinds of pages. The first four are the two bits as they are: allocated 1, scavenged 2.
IDLE, TRANSITION, RELEASED, BOTH_BITS, IN_USE, STACK, WORKBUF, UNMAPPED = range(8)
KINDS = ("idle", "transition", "released", "transition", "in use", "stack", "workbuf", "unmapped")

# Subtracted from an address before it is divided into arenas and chunks (runtime/malloc.go, arenaBaseOffset).
ARENA_BASE_OFFSETS = {"amd64": 0xFFFF_8000_0000_0000, "arm64": 0}

LISTED_ARENAS = 1 << 22  # all of 48 bits
MOST_ARENAS = 1 << 13  # 512 GiB of heap, for whose pages are 64 MiB here
MOST_RANGES = 1 << 16

_BITS = tuple((bytes(1 << bit) + b"\x01" * (1 << bit)) * (128 >> bit) for bit in range(8))  # each bit of each byte


class PageMap:
    """One byte, a kind, for each page of the arenas. `groups` are the address ranges of adjacent arenas with the
    place of their first page in `pages`."""

    def __init__(self, arenas: Iterable[Range]) -> None:
        self.groups: list[tuple[int, int, int]] = []
        count = 0
        for start, end in arenas:
            if self.groups and self.groups[-1][1] == start:
                self.groups[-1] = (self.groups[-1][0], end, self.groups[-1][2])
            else:
                self.groups.append((start, end, count))
            count += (end - start) // PAGE_BYTES
        self.starts = [group[0] for group in self.groups]
        self.pages = bytearray([UNMAPPED]) * count

    def place(self, start: int, end: int) -> int | None:
        """The place of the page at `start`; None where [start, end) is not inside one group."""
        at = bisect_right(self.starts, start) - 1
        if at < 0 or end > self.groups[at][1]:
            return None
        return self.groups[at][2] + (start - self.groups[at][0]) // PAGE_BYTES

    def clipped(self, start: int, end: int) -> list[Range]:
        """The parts of [start, end) inside the groups."""
        found = []
        for low, high, _ in self.groups[max(bisect_right(self.starts, start) - 1, 0) : bisect_left(self.starts, end)]:
            if max(low, start) < min(high, end):
                found.append((max(low, start), min(high, end)))
        return found


def arenas(values: Values, mheap: int) -> list[Range]:
    """The address ranges of the arenas, ascending. Raises Missing."""
    header = "mheap.heapArenas" if values.layout.has("mheap.heapArenas") else "mheap.allArenas"
    pointer, count, _ = values.slice(mheap + values.layout.offset(header), "the list of arenas", LISTED_ARENAS)
    if count > MOST_ARENAS:
        raise Missing(f"a heap of {count} arenas is larger than is read here: {MOST_ARENAS}")
    offset = base_offset(values)
    bases = sorted({(index * ARENA_BYTES + offset) & WORD_MASK for index in values.words(pointer, count)})
    if not bases or bases[-1] >= 1 << 57:
        raise Missing("the list of arenas is empty or leads out of the address space")
    return [(base, base + ARENA_BYTES) for base in bases]


def base_offset(values: Values) -> int:
    """The architecture's arenaBaseOffset. Raises Missing."""
    arch = values.layout.name.split()[-1]
    if arch not in ARENA_BASE_OFFSETS:
        raise Missing(f"the Go heap on {arch} is not known here")
    return ARENA_BASE_OFFSETS[arch]


def has_bitmap(values: Values) -> bool:
    """Whether the release has the page allocator of Go 1.14 and later."""
    return values.layout.has("mheap.pages") and values.layout.has("pageAlloc.chunks")


def read_bits(values: Values, mheap: int, pagemap: PageMap) -> None:
    """Set every page that the page allocator knows by its bits. Raises Missing."""
    for start, end in _grown(values, mheap, pagemap):
        place = pagemap.place(start, end)
        assert place is not None
        for codes in _codes(values, mheap, start, end):
            pagemap.pages[place : place + len(codes)] = codes
            place += len(codes)


def _grown(values: Values, mheap: int, pagemap: PageMap) -> list[Range]:
    """What the page allocator manages: pageAlloc.inUse, or all but the current arena's rest where the layout lacks
    that (runtime/mheap.go, grow)."""
    if not values.layout.has("pageAlloc.inUse"):
        return _outside_rest(values, mheap, pagemap)
    header = mheap + values.layout.offset("mheap.pages") + values.layout.offset("pageAlloc.inUse")
    pointer, count, _ = values.slice(header, "the list of the heap's ranges", MOST_RANGES)
    bounds = values.words(pointer, 2 * count).tolist()
    ranges = []
    last = 0
    for start, end in zip(bounds[::2], bounds[1::2], strict=True):
        if start % CHUNK_BYTES or end % CHUNK_BYTES or start < last or end <= start:
            raise Missing("the heap's ranges are not ascending chunks: this is not the runtime's memory")
        ranges += pagemap.clipped(start, end)
        last = end
    return ranges


def _outside_rest(values: Values, mheap: int, pagemap: PageMap) -> list[Range]:
    rest = values.field(mheap, "mheap.curArena.base"), values.field(mheap, "mheap.curArena.end")
    offset = base_offset(values)
    pages = mheap + values.layout.offset("mheap.pages")
    first, last = (
        (values.field(pages, f"pageAlloc.{name}") * CHUNK_BYTES + offset) & WORD_MASK for name in ("start", "end")
    )
    if rest[0] % CHUNK_BYTES or rest[1] % CHUNK_BYTES or not first <= last < 1 << 57:
        raise Missing("the heap's bounds are not those of chunks: this is not the runtime's memory")
    return pagemap.clipped(first, min(last, rest[0])) + pagemap.clipped(max(first, rest[1]), last)


def _codes(values: Values, mheap: int, start: int, end: int) -> Iterator[bytes]:
    """The pages of [start, end), whole chunks, as the two bits say, part by part."""
    chunks = mheap + values.layout.offset("mheap.pages") + values.layout.offset("pageAlloc.chunks")
    first = ((start - base_offset(values)) & WORD_MASK) // CHUNK_BYTES
    stop = first + (end - start) // CHUNK_BYTES
    while first < stop:
        count = min(stop - first, L2_ENTRIES - first % L2_ENTRIES)
        table = values.word(chunks + (first >> L2_BITS) * 8)
        data = values.memory.read(table + first % L2_ENTRIES * CHUNK_DATA_BYTES, count * CHUNK_DATA_BYTES)
        yield decode(data)
        first += count


def decode(data: bytes) -> bytes:
    """A kind for each page of the chunks whose pallocData follow each other in `data`."""
    expanded = bytearray(8 * len(data))
    for bit, table in enumerate(_BITS):
        expanded[bit::8] = data.translate(table)
    parts = []
    for at in range(0, len(expanded), 2 * PAGES_PER_CHUNK):
        allocated = int.from_bytes(expanded[at : at + PAGES_PER_CHUNK], "little")
        scavenged = int.from_bytes(expanded[at + PAGES_PER_CHUNK : at + 2 * PAGES_PER_CHUNK], "little")
        parts.append((allocated | scavenged << 1).to_bytes(PAGES_PER_CHUNK, "little"))
    return b"".join(parts)


def set_caches(pagemap: PageMap, caches: Iterable[tuple[int, int, int]]) -> None:
    """The pages in the page caches of the Ps: allocated by the bitmap, yet free (runtime/mpagecache.go). `caches`
    are (address of the first of 64 pages, bits of free pages, bits of scavenged ones)."""
    for base, free, scavenged in caches:
        place = pagemap.place(base, base + 64 * PAGE_BYTES) if free else None
        if place is not None:
            for bit in range(64):
                if free >> bit & 1 and pagemap.pages[place + bit] == TRANSITION:
                    pagemap.pages[place + bit] = RELEASED if scavenged >> bit & 1 else IDLE
