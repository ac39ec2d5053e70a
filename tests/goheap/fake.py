"""A Go heap that is laid out by the offsets of a layout, for what no process of today shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from whyrss.goheap.layout import Layout
from whyrss.goheap.memory import ImageMemory

ARENA = 0xC0_0000_0000
MHEAP, MSPANS, ALLSPANS, ARENAS, RANGES, CHUNKS, PS, ALLP, MARKS, MSTATS = (0x100_0000 * n for n in range(1, 11))
PAGE = 8192
CHUNK = 4 << 20
BASE_OFFSET = 0xFFFF_8000_0000_0000
SWEEPGEN = 8


class Fake:
    """One arena at ARENA, of which `grown` chunks are in the page allocator. Pages are given by their number."""

    def __init__(self, layout: Layout, grown: int = 1) -> None:
        self.layout = layout
        self.grown = grown
        self.spans: list[dict[str, int]] = []
        self.allocated: set[int] = set()
        self.scavenged: set[int] = set()
        self.caches: list[tuple[int, int, int]] = []
        self.marks = b""
        self.pages_in_use: int | None = None
        self.contents: dict[int, bytes] = {}

    def span(self, page: int, npages: int = 1, state: int = 1, **fields: int) -> None:
        """A span, with its bits in the bitmap. Fields by the runtime's names."""
        self.allocated.update(range(page, page + npages))
        size = npages * PAGE
        defaults = {"elemsize": size, "nelems": 1, "allocCount": 1, "sweepgen": SWEEPGEN} if state == 1 else {}
        self.spans.append({"startAddr": ARENA + page * PAGE, "npages": npages, "state": state, **defaults, **fields})

    def build(self) -> tuple[ImageMemory, Any]:
        """Its memory, and what `locate` would have found."""
        heap = bytearray(self.layout.size("mheap"))
        in_use = sum(span["npages"] for span in self.spans if span["state"] == 1)
        self._put(heap, "mheap.pagesInUse", in_use if self.pages_in_use is None else self.pages_in_use)
        self._put(heap, "mheap.sweepgen", SWEEPGEN)
        self._slice(heap, self.layout.offset("mheap.allspans"), ALLSPANS, len(self.spans))
        arenas = "mheap.heapArenas" if self.layout.has("mheap.heapArenas") else "mheap.allArenas"
        self._slice(heap, self.layout.offset(arenas), ARENAS, 1)
        ranges = {ARENAS: self._word((ARENA - BASE_OFFSET & (1 << 64) - 1) >> 26)}
        if self.layout.has("mheap.pages"):
            ranges |= self._bitmaps(heap)
        ranges |= self._span_records() | self._processors()
        ranges |= self.contents
        ranges[MSTATS] = bytes(self.layout.size("mstats"))
        ranges[MARKS] = self.marks
        ranges[MHEAP] = bytes(heap)
        located = SimpleNamespace(
            layout=self.layout, mheap=MHEAP, memstats=MSTATS, gc_controller=None, allm=None, buckets=None
        )
        located.allp = ALLP if self.caches else None
        located.persistent, located.gc_bits, located.allgs = None, [], None
        return ImageMemory(ranges), located

    def _span_records(self) -> dict[int, bytes]:
        size = self.layout.size("mspan")
        records = b""
        for span in self.spans:
            record = bytearray(size)
            for name, value in span.items():
                self._put(record, f"mspan.{name}", value)
            records += bytes(record)
        addresses = b"".join(self._word(MSPANS + size * number) for number in range(len(self.spans)))
        return {MSPANS: records, ALLSPANS: addresses}

    def _bitmaps(self, heap: bytearray) -> dict[int, bytes]:
        pages = self.layout.offset("mheap.pages")
        first = (ARENA - BASE_OFFSET & (1 << 64) - 1) // CHUNK
        for name, chunk in (("start", first), ("end", first + self.grown)):
            at = pages + self.layout.offset(f"pageAlloc.{name}")
            heap[at : at + 8] = self._word(chunk)
        self._slice(heap, pages + self.layout.offset("pageAlloc.inUse"), RANGES, 1)
        at = pages + self.layout.offset("pageAlloc.chunks") + (first >> 13) * 8
        heap[at : at + 8] = self._word(CHUNKS)
        data = b"".join(
            sum(1 << page - low for page in pages_of if low <= page < low + 512).to_bytes(64, "little")
            for low in range(0, 512 * self.grown, 512)
            for pages_of in (self.allocated, self.scavenged)
        )
        bounds = self._word(ARENA) + self._word(ARENA + self.grown * CHUNK)
        return {CHUNKS + first % 8192 * 128: data, RANGES: bounds}

    def _processors(self) -> dict[int, bytes]:
        found = b""
        for page, free, scavenged in self.caches:
            p = bytearray(self.layout.size("p"))
            at = self.layout.offset("p.pcache")
            for name, value in (("base", ARENA + page * PAGE), ("cache", free), ("scav", scavenged)):
                place = at + self.layout.offset(f"pageCache.{name}")
                p[place : place + 8] = self._word(value)
            found += bytes(p)
        count, size = len(self.caches), self.layout.size("p")
        header = self._word(ALLP + 64) + self._word(count) + self._word(count)
        return {PS: found, ALLP: header, ALLP + 64: b"".join(self._word(PS + size * n) for n in range(count))}

    def _slice(self, structure: bytearray, at: int, pointer: int, count: int) -> None:
        structure[at : at + 24] = self._word(pointer) + self._word(count) + self._word(count)

    def _put(self, structure: bytearray, field: str, value: int) -> None:
        at, width = self.layout.offset(field), min(self.layout.width(field) or 8, 8)
        structure[at : at + width] = value.to_bytes(width, "little")

    def _word(self, value: int) -> bytes:
        return value.to_bytes(8, "little")
