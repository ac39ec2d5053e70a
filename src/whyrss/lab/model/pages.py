"""The page allocator: which 8 KiB pages of the heap are used, idle or released (runtime/mpagealloc.go).

A page is in exactly one state: used; idle (free, and the kernel was not told); released (free, and given back or,
where the release counts so, never touched). Addresses are page numbers from the base of the heap here.
"""

from __future__ import annotations

from array import array

from whyrss.facts.pageheap import CHUNK_PAGES, DENSE_PAGES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_USED, _FREE = b"\x01", b"\x00"
_IDLE, _NOT_IDLE = b"\x01", b"\x00"


class Pages:
    """`keeps_dense`: whether chunks that were full in this or the last collection are left alone by the background
    scavenger; `searches_from_top`: whether it sees what was freed since the last mark at once."""

    def __init__(self, keeps_dense: bool, searches_from_top: bool) -> None:
        self.used_pages = self.idle_pages = self.released_pages = 0
        self._used = bytearray()
        self._idle = bytearray()
        self._hints: dict[int, int] = {}  # by run length: no free run of that length begins below
        self._keeps_dense = keeps_dense
        self._from_top = searches_from_top
        self._generation = 1
        self._chunk_used = array("H")
        self._chunk_last_used = array("H")
        self._chunk_generation = array("I")
        self._search = 0  # the background scavenger looks at pages below
        self._freed_below = 0

    def __len__(self) -> int:
        return len(self._used)

    def grow(self, pages: int, released: bool) -> None:
        """More pages at the end, a whole number of chunks."""
        self._used += _FREE * pages
        self._idle += (_NOT_IDLE if released else _IDLE) * pages
        if released:
            self.released_pages += pages
        else:
            self.idle_pages += pages
            self._search = len(self._used)
        chunks = pages // CHUNK_PAGES
        for column in (self._chunk_used, self._chunk_last_used, self._chunk_generation):
            column.extend([0] * chunks)

    def find(self, pages: int) -> int:
        """The lowest page at which so many free ones follow each other, -1 where there is none."""
        page = self._used.find(_FREE * pages, self._hints.get(pages, 0))
        self._hints[pages] = page if page >= 0 else max(0, len(self._used) - pages)
        return page

    def released_in(self, page: int, pages: int) -> int:
        """How many of a run of free pages are released."""
        return pages - self._idle.count(_IDLE, page, page + pages)

    def is_used(self, page: int, pages: int) -> bool:
        """Whether all of a run is used, and nothing of it idle."""
        end = page + pages
        return self._used.count(_USED, page, end) == pages and not self._idle.count(_IDLE, page, end)

    def take(self, page: int, pages: int) -> int:
        """Marks free pages as used; returns how many of them were released."""
        idle = self._idle.count(_IDLE, page, page + pages)
        self._used[page : page + pages] = _USED * pages
        if idle:
            self._idle[page : page + pages] = _NOT_IDLE * pages
        self.used_pages += pages
        self.idle_pages -= idle
        self.released_pages -= pages - idle
        self._count(page, pages, 1)
        return pages - idle

    def free(self, page: int, pages: int) -> None:
        """Used pages become idle."""
        end = page + pages
        self._used[page:end] = _FREE * pages
        self._idle[page:end] = _IDLE * pages
        self.used_pages -= pages
        self.idle_pages += pages
        for length, hint in self._hints.items():
            if hint > page - length:
                self._hints[length] = max(0, page - length + 1)
        self._count(page, pages, -1)
        self._freed_below = max(self._freed_below, end)
        if self._from_top:
            self._search = max(self._search, end)

    def next_generation(self) -> None:
        """The end of a mark phase: the scavenger sees what was freed until now."""
        self._generation += 1
        self._search = max(self._search, self._freed_below)
        self._freed_below = 0

    def candidate(self, most_pages: int, huge_page_pages: int, force: bool) -> tuple[int, int] | None:
        """The highest run of idle pages that may be released: (page, pages), at most `most_pages`, but never a part
        of a huge page that is idle as a whole. None where there is none; without `force` only what the background
        scavenger may take."""
        limit = len(self._used) if force else self._search
        while (top := self._idle.rfind(_IDLE, 0, limit)) >= 0:
            chunk = top // CHUNK_PAGES
            if force or self._may_scavenge(chunk):
                return self._run_below(top, chunk * CHUNK_PAGES, most_pages, huge_page_pages)
            limit = chunk * CHUNK_PAGES
        if not force:
            self._search = 0
        return None

    def release(self, page: int, pages: int) -> None:
        """Idle pages become released."""
        self._idle[page : page + pages] = _NOT_IDLE * pages
        self.idle_pages -= pages
        self.released_pages += pages

    def idle_runs(self) -> Iterator[tuple[int, int]]:
        """Every run of idle pages, from the lowest: (page, pages)."""
        end = 0
        while (page := self._idle.find(_IDLE, end)) >= 0:
            end = self._idle.find(_NOT_IDLE, page)
            end = end if end >= 0 else len(self._idle)
            yield page, end - page

    def _run_below(self, top: int, low: int, most_pages: int, huge_page_pages: int) -> tuple[int, int]:
        begin = self._idle.rfind(_NOT_IDLE, low, top + 1) + 1 or low
        page = max(begin, top + 1 - most_pages)
        if huge_page_pages:
            huge = page - page % huge_page_pages
            if begin <= huge and top + 1 >= huge + huge_page_pages:
                page = huge
        return page, top + 1 - page

    def _may_scavenge(self, chunk: int) -> bool:
        """runtime/mgcscavenge.go, shouldScavenge."""
        if not self._keeps_dense:
            return True
        dense = self._chunk_used[chunk] >= DENSE_PAGES
        if self._chunk_generation[chunk] == self._generation:
            return not dense and self._chunk_last_used[chunk] < DENSE_PAGES
        return not dense

    def _count(self, page: int, pages: int, sign: int) -> None:
        while pages:
            chunk = page // CHUNK_PAGES
            here = min(pages, (chunk + 1) * CHUNK_PAGES - page)
            if self._chunk_generation[chunk] != self._generation:
                self._chunk_last_used[chunk] = self._chunk_used[chunk]
                self._chunk_generation[chunk] = self._generation
            self._chunk_used[chunk] += sign * here
            page += here
            pages -= here
