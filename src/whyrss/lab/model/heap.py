"""The page heap over real memory: spans are taken, freed and released; the kernel hears of it (runtime/mheap.go)."""

from __future__ import annotations

from array import array

from whyrss.facts.kernel import MADV_HUGEPAGE, MADV_NOHUGEPAGE
from whyrss.facts.pageheap import ARENA_BYTES, CHUNK_PAGES, HEAP_BASE, PAGE_BYTES
from whyrss.lab.memory import OS_PAGE_BYTES, Memory, madvise
from whyrss.lab.model.pages import Pages
from whyrss.lab.unused import Unused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from whyrss.lab.memory import Madvise
    from whyrss.lab.model.settings import Settings

ABSENT, PRESENT, LAZY = 0, 1, 2  # what the model believes of a page of the kernel's


class Heap:
    """`before_taking(growth_bytes, released_bytes)` is asked before a span is taken that costs so much memory: there
    the scavenger makes room."""

    def __init__(self, settings: Settings, advise: Madvise = madvise) -> None:
        self.settings = settings
        self.memory = Memory(HEAP_BASE, advise)
        self.pages = Pages(settings.flag("keeps_dense_chunks"), settings.word("searches_from") == "top")
        self.unused = Unused(settings.go, settings.policy.chosen)
        self.padding_bytes = int(settings.number("padding_bytes"))
        self.mapped_bytes = 0
        self.before_taking: Callable[[int, int], None] = lambda growth_bytes, released_bytes: None
        self.freed_at = array("f")  # by page, in the model's seconds: only the scavengers by age look at it
        self.believed = bytearray(self.padding_bytes // OS_PAGE_BYTES)  # by page of the kernel's
        self._by_age = settings.word("scavenger") != "goal"
        self._edges = settings.word("huge_pages") == "edges" and settings.huge_page_bytes

    @property
    def retained_bytes(self) -> int:
        """What the runtime believes that the kernel holds for the heap (heapRetained)."""
        return (self.pages.used_pages + self.pages.idle_pages) * PAGE_BYTES

    @property
    def released_bytes(self) -> int:
        """HeapReleased: with what is mapped and not heap (yet), where the release counts that as released."""
        beyond = self.mapped_bytes - len(self.pages) * PAGE_BYTES if self.settings.flag("fresh_is_released") else 0
        return self.pages.released_pages * PAGE_BYTES + beyond

    @property
    def resident_bytes(self) -> int:
        """What the kernel should hold, by what was touched and advised; without huge pages and memory pressure."""
        return (len(self.believed) - self.believed.count(ABSENT)) * OS_PAGE_BYTES

    @property
    def lazyfree_bytes(self) -> int:
        return self.believed.count(LAZY) * OS_PAGE_BYTES

    def take(self, pages: int) -> int:
        """A span: its first page. Grows the heap where no free run is long enough."""
        growth_bytes = 0
        page = self.pages.find(pages)
        if page < 0:
            growth_bytes = self._grow(pages)
            page = self.pages.find(pages)
        released = self.pages.released_in(page, pages)
        if growth_bytes or released:
            self.before_taking(growth_bytes, released * PAGE_BYTES)
        if self.pages.take(page, pages):
            self._used(page, pages)
        return page

    def free(self, page: int, pages: int, now_s: float) -> None:
        self.pages.free(page, pages)
        if self._by_age:
            self.freed_at[page : page + pages] = array("f", [now_s]) * pages

    def release(self, page: int, pages: int) -> None:
        """sysUnused of idle pages."""
        self.pages.release(page, pages)
        address, size_bytes = self.address(page), pages * PAGE_BYTES
        if self._edges:
            self._protect_edges(address, size_bytes)
        self.unused(self.memory, address, size_bytes)
        self._believe_released(page, pages)

    def touch(self, page: int, offset_bytes: int, size_bytes: int) -> None:
        """The program writes into every page of the kernel's in that range of a span."""
        address = self.address(page) + offset_bytes
        self.memory.touch(address, size_bytes)
        first = (address - self.memory.base) // OS_PAGE_BYTES
        end = -(-(address - self.memory.base + size_bytes) // OS_PAGE_BYTES)
        self.believed[first:end] = bytes((PRESENT,)) * (end - first)

    def address(self, page: int) -> int:
        return self.memory.base + self.padding_bytes + page * PAGE_BYTES

    def _grow(self, pages: int) -> int:
        """More of the address space becomes heap, in whole chunks. Returns the bytes."""
        step = -(-pages // CHUNK_PAGES) * CHUNK_PAGES
        needed_bytes = (len(self.pages) + step) * PAGE_BYTES
        if needed_bytes > self.mapped_bytes - self.padding_bytes:
            self._map(needed_bytes)
        self.pages.grow(step, self.settings.flag("fresh_is_released"))
        self.freed_at.extend([0.0] * step)
        self.believed += bytes(step * PAGE_BYTES // OS_PAGE_BYTES)
        return step * PAGE_BYTES

    def _map(self, needed_bytes: int) -> None:
        step_bytes = int(self.settings.number("map_bytes"))
        wanted_bytes = -(-needed_bytes // step_bytes) * step_bytes + self.padding_bytes
        reserved_bytes = self.memory.end - self.memory.base
        if wanted_bytes > reserved_bytes:
            self.memory.reserve(-(-(wanted_bytes - reserved_bytes) // ARENA_BYTES) * ARENA_BYTES)
        self.memory.map(self.memory.base + self.mapped_bytes, wanted_bytes - self.mapped_bytes)
        self.mapped_bytes = wanted_bytes

    def _used(self, page: int, pages: int) -> None:
        """sysUsed: whole huge pages of the range may be huge again, in the releases that forbade it before."""
        if not self._edges:
            return
        begin = -(-self.address(page) // self._edges) * self._edges
        end = self.address(page + pages) // self._edges * self._edges
        if begin < end:
            self.memory.madvise(begin, end - begin, MADV_HUGEPAGE)

    def _protect_edges(self, address: int, size_bytes: int) -> None:
        """The huge pages that the range covers in part stay small, else one used page could bring them back."""
        huge = self._edges
        for edge in (address, address + size_bytes):
            if edge % huge:
                self.memory.madvise(edge // huge * huge, huge, MADV_NOHUGEPAGE)

    def _believe_released(self, page: int, pages: int) -> None:
        first, end = ((self.address(at) - self.memory.base) // OS_PAGE_BYTES for at in (page, page + pages))
        if self.unused.advice == "MADV_FREE":
            lazy = self.believed[first:end].replace(bytes((PRESENT,)), bytes((LAZY,)))
            self.believed[first:end] = lazy
        else:
            self.believed[first:end] = bytes(end - first)
