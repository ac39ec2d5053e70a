"""What is proved of a runtime before anything else is looked for: its heap, `mheap_`, and with it the layout.

The signature (Go 1.12 to 1.27): `mheap_.spanalloc.size` and `cachealloc.size` are the sizes of mspan and mcache,
and both allocators' `stat` point into the one `memstats` (runtime/mheap.go, (*mheap).init; mfixalloc.go). The
probe then follows the heap to its arenas and spans.
"""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.facts.address_space import GO_ARENA_BYTES
from whyrss.goheap.bits import ARENA_BASE_OFFSETS, CHUNK_BYTES, PAGE_BYTES
from whyrss.goheap.region import Region, words_at
from whyrss.goheap.rules import IN_USE, MANUAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from whyrss.goheap.image import Image
    from whyrss.goheap.layout import Layout
    from whyrss.goheap.memory import Memory, Range
    from whyrss.goheap.words import Words

ADDRESS_SPACE_BYTES = 1 << 48  # runtime/malloc.go, heapAddrBits on amd64 and arm64
STATES = {0, 1, 2, 3}  # dead, in use, manual; 3: free (up to Go 1.13); runtime/mheap.go, mSpanState
SAMPLE_SPANS = 32
ARENAS_MAX = 1 << 16  # a heap of 4 TiB
SPANS_MAX = ADDRESS_SPACE_BYTES // PAGE_BYTES
HITS_MAX = 64
# Of the spans looked at, so many have to be sound: one may just be made by a running allocation.
SOUND_SHARE = 0.75


class Core:
    """The proved heap of a process. `arenas` are [start, end) of the memory that the heap has reserved;
    `first_thread` is the address of m0 once it is known, else 0."""

    def __init__(self, memory: Memory, image: Image, layout: Layout, mheap: int) -> None:
        self.memory = memory
        self.image = image
        self.layout = layout
        self.mheap = mheap
        self.first_thread = 0
        self.heap = Region(memory, layout, "mheap", mheap)
        self.memstats = _memstats(self)
        self.arenas = _arenas(self)
        self._highs = {start >> 26 for start, _ in self.arenas}
        _prove(self)

    def in_arenas(self, address: int) -> bool:
        return address >> 26 in self._highs

    def in_image(self, address: int) -> bool:
        """Whether an address is in data or bss of the program."""
        return any(start <= address < end for start, end in self.image.writable)

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """Raises Unreadable."""
        return words_at(self.memory, address, count)

    def spans(self) -> list[Region]:
        """Some of the spans: the first and the last ones of allspans."""
        pointer, count, _ = self.heap.slice("allspans")
        half = SAMPLE_SPANS // 2
        first = self.words(pointer, min(count, half))
        last = self.words(pointer + 8 * max(0, count - half), min(count, half))
        return [Region(self.memory, self.layout, "mspan", at) for at in dict.fromkeys(first + last)]


def find_core(memory: Memory, image: Image, layout: Layout, words: Words) -> Core:
    """The one heap of this layout in the program's data. Raises Missing where there is none, or more than one."""
    found = []
    for tries, address in enumerate(_candidates(image, layout, words)):
        if tries == HITS_MAX:
            break
        try:
            found.append(Core(memory, image, layout, address))
        except Missing:
            continue
    if len(found) != 1:
        raise Missing(f"{len(found) or 'no'} places in its data look like the heap of {layout.name}")
    return found[0]


def _candidates(image: Image, layout: Layout, words: Words) -> Iterator[int]:
    size = layout.offset("fixalloc.size")
    caches, spans = layout.offset("mheap.cachealloc") + size, layout.offset("mheap.spanalloc") + size
    for at in words.find(layout.size("mcache")):
        if words.word(at - caches + spans) == layout.size("mspan"):
            yield at - caches


def _memstats(core: Core) -> int:
    """The address of `memstats`, to which both allocators have to lead."""
    layout, found = core.layout, set()
    for name, struct in (("spanalloc", "mspan"), ("cachealloc", "mcache")):
        allocator = core.heap.sub(name, "fixalloc")
        if allocator.field("size") != layout.size(struct):
            raise Missing("the size of a fixed-size allocator is another one")
        found.add(allocator.field("stat") - layout.offset(f"mstats.{struct}_sys"))
    address = found.pop()
    if found or address % 8 or not core.in_image(address) or not core.in_image(core.mheap):
        raise Missing("the allocators do not count in one memstats")
    return address


def _arenas(core: Core) -> list[Range]:
    """mheap_.allArenas, named heapArenas since Go 1.25: arena indexes."""
    name = "heapArenas" if core.heap.has("heapArenas") else "allArenas"
    pointer, count, capacity = core.heap.slice(name)
    if not 0 < count <= capacity <= ARENAS_MAX:
        raise Missing(f"a heap of {count} arenas")
    base = ARENA_BASE_OFFSETS[core.layout.arch]
    starts = sorted(index * GO_ARENA_BYTES + base & (1 << 64) - 1 for index in core.words(pointer, count))
    if starts[-1] >= ADDRESS_SPACE_BYTES or len(set(starts)) < count:
        raise Missing("arenas out of the address space, or twice")
    return [(start, start + GO_ARENA_BYTES) for start in starts]


def _prove(core: Core) -> None:
    """The probe: sizes that fit each other, and spans that lie in the arenas. Raises Missing."""
    heap = core.heap
    _, count, capacity = heap.slice("allspans")
    if not 0 < count <= capacity <= SPANS_MAX:
        raise Missing(f"a heap of {count} spans")
    if not 0 < heap.field("pagesInUse") * PAGE_BYTES <= len(core.arenas) * GO_ARENA_BYTES:
        raise Missing("more pages in use than there are")
    if core.layout.has("mheap.pages"):
        pages = heap.sub("pages", "pageAlloc")
        base = ARENA_BASE_OFFSETS[core.layout.arch]
        first, end = (core.arenas[at][at] - base & (1 << 64) - 1 for at in (0, -1))
        if not first // CHUNK_BYTES <= pages.field("start") < pages.field("end") <= end // CHUNK_BYTES:
            raise Missing("the page allocator covers what is no arena")
    _prove_spans(core, core.spans())


def _prove_spans(core: Core, spans: Sequence[Region]) -> None:
    sound = live = 0
    for span in spans:
        state = span.field("state")
        if state in (IN_USE, MANUAL):
            live += 1
        elif state in STATES:
            continue
        start, size_bytes = span.field("startAddr"), span.field("npages") * PAGE_BYTES
        inside = size_bytes and core.in_arenas(start) and core.in_arenas(start + size_bytes - 1)
        sound += bool(inside and not start % PAGE_BYTES and state in STATES)
    if not sound or sound < SOUND_SHARE * live:
        raise Missing(f"of {len(spans)} spans looked at, {sound} are sound")
