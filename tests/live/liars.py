"""Lies about the Go heap, by name: what a program writes into its own memory, as {address: bytes}."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Callable
from pathlib import Path

from tests import support
from tests.goheap.located import opened, settled
from whyrss.goheap.bits import ARENA_BASE_OFFSETS, MOST_ARENAS, PAGE_BYTES
from whyrss.goheap.heap import Heap, read_heap
from whyrss.goheap.locate import Located, locate
from whyrss.goheap.memory import ProcessMemory
from whyrss.sources.executable import build_of

ARENA_SHIFT = 26
CHUNK_ENTRIES = 1 << 13
SPANS_FOR_NUMPY = 25_000
ROOM_BYTES = 4 << 20

Lie = dict[int, bytes]


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}Q", *(value & (1 << 64) - 1 for value in values))


def _room(heap: Heap) -> int:
    """Where objects that it keeps lie side by side: room for tables, where nothing else is allocated meanwhile."""
    first = end = 0
    for start, pages, _ in heap.in_use():
        if start != end or pages != 1:
            first = start
        end = start + pages * PAGE_BYTES
        if end - first >= ROOM_BYTES:
            return first
    raise AssertionError("the objects that it keeps are not side by side")


class Truth:
    """A quiet program's heap, and where things of it are."""

    def __init__(self, memory: ProcessMemory, located: Located, heap: Heap) -> None:
        self.layout = located.layout
        self.located = located
        self.mheap = located.mheap
        self.noise = random.Random(1)
        self.room = _room(heap)
        self.arena = heap.arenas[0][0]
        self.arena_count = len(heap.arenas)
        self.arena_index = (self.arena - ARENA_BASE_OFFSETS["amd64"] & (1 << 64) - 1) >> ARENA_SHIFT
        pointer, count = struct.unpack("<2Q", memory.read(self.field("allspans"), 16))
        self.spans = struct.unpack(f"<{count}Q", memory.read(pointer, 8 * count))
        state = self.layout.offset("mspan.state")
        self.span = next(at for at in self.spans[32:] if memory.read(at + state, 1) == b"\x01")

    def field(self, name: str) -> int:
        return self.mheap + self.layout.offset(f"mheap.{name}")

    def page_alloc(self, name: str) -> int:
        return self.field("pages") + self.layout.offset(f"pageAlloc.{name}")

    def mspan(self, name: str, value: int) -> Lie:
        at = self.span + self.layout.offset(f"mspan.{name}")
        return {at: words(value)[: self.layout.width(f"mspan.{name}") or 8]}

    def random_bytes(self, count: int) -> bytes:
        return bytes(self.noise.getrandbits(8) for _ in range(count))

    def arenas(self, count: int, step: int = 1) -> Lie:
        """A list of that many arenas: the real ones, then others that far apart."""
        header = "heapArenas" if self.layout.has("mheap.heapArenas") else "allArenas"
        last = self.arena_count - 1
        listed = words(*(self.arena_index + number + max(0, number - last) * (step - 1) for number in range(count)))
        return {self.room: listed, self.field(header): words(self.room, count, count)}

    def many_spans(self) -> Lie:
        """The real spans, with so many empty entries between that numpy is used."""
        listed = words(*self.spans, *[0] * (SPANS_FOR_NUMPY - 2 * len(self.spans)), *self.spans)
        at = self.room + (3 << 20)
        return {at: listed, self.field("allspans"): words(at, SPANS_FOR_NUMPY, SPANS_FOR_NUMPY)}

    def random_bits(self) -> Lie:
        """As many arenas as are read, and random bits for all of their pages."""
        ranges, bits, chunks = self.room + (1 << 18), self.room + (1 << 20), MOST_ARENAS * 16
        first = self.arena_index * 16
        return {
            **self.arenas(MOST_ARENAS),
            bits: self.random_bytes(1 << 20),
            ranges: words(self.arena, self.arena + (MOST_ARENAS << ARENA_SHIFT)),
            self.page_alloc("inUse"): words(ranges, 1, 1),
            self.page_alloc("chunks"): words(*[bits] * CHUNK_ENTRIES),
            self.page_alloc("start"): words(first),
            self.page_alloc("end"): words(first + chunks),
        }

    def giants(self, count: int = 15_000) -> Lie:
        """Between real spans, spans that overlap, each of 2**25 pages, in arenas that start at address 0."""
        zero = -ARENA_BASE_OFFSETS["amd64"] & (1 << 64) - 1
        listed = [*((zero >> ARENA_SHIFT) + number for number in range(MOST_ARENAS - 1)), self.arena_index]
        table, giants = self.room + (1 << 17), self.room + (2 << 20)
        pointers = [*self.spans[:16], *(giants + 8 * number for number in range(count - 32)), *self.spans[-16:]]
        header = self.arenas(MOST_ARENAS).popitem()
        return {
            self.room: words(*listed),
            header[0]: header[1],
            giants: words(*[1 << 25] * (1 << 15)),
            table: words(*pointers),
            self.field("allspans"): words(table, count, count),
        }


# By name: the lie, and the reason that there has to be (one of several, between bars); None: an account by page comes
# out all the same.
NOT_FOUND = "was not found by the layouts of"
LIES: dict[str, tuple[Callable[[Truth], Lie], str | None]] = {
    "mheap of noise": (lambda t: {t.mheap: t.random_bytes(t.layout.size("mheap"))}, NOT_FOUND),
    "mheap of zeros": (lambda t: {t.mheap: bytes(t.layout.size("mheap"))}, NOT_FOUND),
    "no spans": (lambda t: {t.field("allspans"): words(0, 0, 0)}, NOT_FOUND),
    "spans nowhere": (lambda t: {t.field("allspans"): words(0xDEADBEEF000, 1000, 1000)}, NOT_FOUND),
    "spans without end": (lambda t: {t.field("allspans"): words(t.room, 1 << 62, 1 << 62)}, NOT_FOUND),
    "spans in absent pages": (
        lambda t: {t.field("allspans"): words(t.arena + (48 << 20), 1 << 21, 1 << 21)},
        NOT_FOUND,
    ),
    "more spans than room": (lambda t: {t.field("allspans"): words(t.room, 100, 10)}, NOT_FOUND),
    # By where the heap's random base is, the giants already belie the heap, or only its sums do.
    "spans that are giants": (Truth.giants, f"the spans are larger than the heap|{NOT_FOUND}"),
    "a giant span": (lambda t: t.mspan("npages", 1 << 27), "the spans are larger than the heap"),
    "a span that is larger than memory": (lambda t: t.mspan("npages", 1 << 60), None),
    "a span at 0": (lambda t: t.mspan("startAddr", 0), None),
    "a span over another one": (lambda t: t.mspan("startAddr", t.arena), None),
    "objects without end": (lambda t: t.mspan("elemsize", 1 << 60), None),
    "an arena table of noise": (lambda t: {t.field("arenas"): t.random_bytes(8)}, None),
    "an arena table nowhere": (lambda t: {t.field("arenas"): words(0xDEAD0000)}, None),
    "all arenas that are read": (lambda t: t.arenas(MOST_ARENAS), None),
    "all arenas apart": (lambda t: t.arenas(MOST_ARENAS, 7), None),
    "all arenas, many spans": (lambda t: t.arenas(MOST_ARENAS) | t.many_spans(), None),
    "all arenas apart, many spans": (lambda t: t.arenas(MOST_ARENAS, 7) | t.many_spans(), None),
    "too many arenas": (lambda t: t.arenas(MOST_ARENAS + 1), "is larger than is read here"),
    "arenas of random bits": (Truth.random_bits, "in more pieces than can be told apart"),
    "arenas of random bits, many spans": (
        lambda t: t.random_bits() | t.many_spans(),
        "in more pieces than can be told apart",
    ),
    "chunks nowhere": (lambda t: {t.page_alloc("chunks"): words(*[0xDEAD0000] * CHUNK_ENTRIES)}, "is not mapped"),
    "chunks in an object": (
        lambda t: {t.page_alloc("chunks"): words(*[t.room] * CHUNK_ENTRIES)},
        "the heap contradicts itself",
    ),
    "ranges without end": (
        lambda t: {t.page_alloc("inUse"): words(t.room, 1 << 62, 1 << 62)},
        "list of the heap's ranges",
    ),
    "bounds of everything": (
        lambda t: {t.page_alloc("start"): words(0), t.page_alloc("end"): words(1 << 25)},
        NOT_FOUND,
    ),
    "summaries over everything": (
        lambda t: {t.page_alloc("summary"): words(*[4096, 1 << 34, 1 << 34] * 5)},
        None,
    ),
    "threads of noise": (lambda t: {t.located.allm or t.room: t.random_bytes(24)}, None),
    "a thread that follows itself": (lambda t: {t.located.allm or t.room: words(t.located.allm or 0)}, None),
    "processors without end": (lambda t: {t.located.allp or t.room: words(t.room, 1 << 62, 1 << 62)}, None),
    "a persistent chunk after itself": (
        lambda t: {t.located.persistent or t.room: words(t.located.persistent or 0)},
        None,
    ),
}


def tell(program: support.Program, name: str) -> None:
    """Have the liar tell that lie; it stands still from then on."""
    settled(program.pid)
    with opened(program.pid) as (memory, image):
        located = locate(memory, image, build_of(f"/proc/{program.pid}/exe"))
        lie = LIES[name][0](Truth(memory, located, read_heap(memory, located)))
    assert program.process.stdin
    program.process.stdin.write(" ".join(f"{at:#x}={what.hex()}" for at, what in lie.items()) + "\n")
    program.process.stdin.flush()
    deadline = time.monotonic() + support.HUNG_SECONDS
    while _state(program.pid) != "T":
        assert time.monotonic() < deadline and _state(program.pid) != "Z", support.tail(program.log)
        time.sleep(0.01)


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
