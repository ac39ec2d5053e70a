"""The Go heap of a live process and its resident pages: what an account by page is made of."""

from __future__ import annotations

import os

from whyrss.errors import Missing
from whyrss.goheap.bits import RELEASED
from whyrss.goheap.cache import Cache
from whyrss.goheap.heap import Heap, read_heap
from whyrss.goheap.image import Image
from whyrss.goheap.locate import locate
from whyrss.goheap.memory import ProcessMemory
from whyrss.read.pagemap import Pages
from whyrss.snapshot import Outside
from whyrss.sources.outside import labels
from whyrss.sources.pages import lazy, read_pages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.snapshot import Build, Vmas

    Sections = dict[str, object]


def collect_heap(pid: int, vmas: Vmas, build: Build, page_bytes: int) -> Sections:
    """The sections Heap, Pages and Outside, each there or the Missing that says why not."""
    try:
        with ProcessMemory(pid) as memory, Image.of(memory) as image:
            located = locate(memory, image, build, Cache.of_user())
            memory.forget()
            heap = read_heap(memory, located)
            pages = _pages(pid, vmas, heap, page_bytes)
            return {"Heap": heap, "Pages": pages, "Outside": _outside(pid, memory, vmas, heap, pages)}
    except Missing as missing:
        return dict.fromkeys(("Heap", "Pages", "Outside"), missing)


def _pages(pid: int, vmas: Vmas, heap: Heap, page_bytes: int) -> Pages:
    pages = read_pages(pid, vmas, page_bytes)
    if vmas.total_bytes("LazyFree"):
        try:
            pages.lazy = lazy(pid, _released(heap, pages), vmas, page_bytes)
        except Missing as missing:
            pages.reasons["lazy"] = missing.reason
    return pages


def _released(heap: Heap, pages: Pages) -> Iterator[tuple[int, int]]:
    """What of the released pages is resident."""
    for start, end, kind in heap.pages:
        if kind == RELEASED:
            for low, high, _ in pages.within(start, end):
                yield low, high


def _outside(pid: int, memory: ProcessMemory, vmas: Vmas, heap: Heap, pages: Pages) -> Outside:
    """What is neither the heap's nor a known structure of the runtime's."""
    claimed = sorted([*heap.arenas, *((start, end) for start, end, _ in heap.metadata)])
    points = [end - 1 for _, end in heap.stacks]
    try:
        exe: str | None = os.readlink(f"/proc/{pid}/exe")
    except OSError:
        exe = None
    found = labels(
        vmas, _without(pages, claimed), memory.read, pages.page_bytes, points=points, exe=exe, proc=f"/proc/{pid}"
    )
    return Outside(found)


def _without(pages: Pages, claimed: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The resident runs without the claimed ranges, which are ascending and disjoint."""
    at = 0
    for start, end, _ in pages:
        while at < len(claimed) and claimed[at][1] <= start:
            at += 1
        low, number = start, at
        while number < len(claimed) and claimed[number][0] < end:
            if claimed[number][0] > low:
                yield low, claimed[number][0]
            low = max(low, claimed[number][1])
            number += 1
        if low < end:
            yield low, end
