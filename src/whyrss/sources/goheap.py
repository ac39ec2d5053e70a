"""The Go heap of a live process and its resident pages: what an account by page is made of."""

from __future__ import annotations

import os
import time

from whyrss.errors import Missing
from whyrss.goheap.bits import RELEASED
from whyrss.goheap.cache import Cache
from whyrss.goheap.counters import minor_of_name
from whyrss.goheap.heap import TRIES, Heap, read_heap
from whyrss.goheap.image import Image
from whyrss.goheap.locate import FOR_THE_WALK, locate
from whyrss.goheap.memory import ProcessMemory
from whyrss.goheap.spans import allspans, engine_for
from whyrss.goheap.values import Values
from whyrss.read.pagemap import Pages
from whyrss.runtime import Runtime
from whyrss.snapshot import Deferred, Outside
from whyrss.sources.later import Later
from whyrss.sources.outside import labels
from whyrss.sources.pages import lazy, read_pages
from whyrss.sources.threads import stack_pointers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whyrss.goheap.locate import Located
    from whyrss.shape import Shape
    from whyrss.snapshot import Build, Vmas

    Sections = dict[str, object]

# A thread may be stopped in the middle of an allocation, while the runtime's figures disagree; 1 of 20 to 1 of 60
# stops of a program that does nothing but allocate.
STOPS = 5
BETWEEN_STOPS_S = 0.002


def collect_heap(
    pid: int,
    vmas: Vmas,
    build: Build,
    page_bytes: int,
    same: Callable[[], None],
    vmas_again: Callable[[], Vmas] | None = None,
) -> Sections:
    """The sections Heap, Pages and Outside, and what follows from them, each there or the Missing that says why not.
    `same` raises TargetError where the PID is another process's by now.

    With `vmas_again`, which reads the mappings, the process is held while it is read, and the sections Vmas, of the
    same moment, and Held are there too. Raises what that raises, and RefusedError where it cannot be held.
    """
    sections: Sections = {}
    try:
        with ProcessMemory(pid) as memory, Image.of(memory) as image:
            located = locate(memory, image, build, Cache.of_user(), wanted=FOR_THE_WALK)
            if vmas_again:
                heap, vmas, pages = _held(pid, memory, located, vmas_again, page_bytes, sections)
                sections["Vmas"] = vmas
            else:
                heap, pages = _read(pid, memory, located, vmas, page_bytes)
            sections["Outside"] = _outside(pid, memory, vmas, heap, pages)
            sections |= derived(heap, pages)
            return sections | Later(pid, build, same).sections(lambda: _shape(heap, pages), pages)
    except Missing as missing:
        return sections | not_read(missing)


def derived(heap: Heap, pages: Pages) -> Sections:
    """The sections Heap and Pages, and what follows from them: Runtime and Shape."""
    figures = {**heap.memstats, **heap.pacing}
    minor = minor_of_name(heap.layout)
    runtime = Runtime(figures, "memory", minor, walked=heap.walked, places=heap.places)
    return {"Heap": heap, "Pages": pages, "Runtime": runtime, "Shape": Deferred(lambda: _shape(heap, pages))}


def not_read(missing: Missing) -> Sections:
    """All sections of a heap that could not be read."""
    return dict.fromkeys(("Heap", "Pages", "Outside", "Runtime", "Shape", "Goroutines", "Zeros"), missing)


def _shape(heap: Heap, pages: Pages) -> Shape:
    from whyrss.goheap.shape import shape_of

    return shape_of(heap, pages)


def _read(
    pid: int, memory: ProcessMemory, located: Located, vmas: Vmas, page_bytes: int, tries: int = TRIES
) -> tuple[Heap, Pages]:
    memory.forget()
    heap = read_heap(memory, located, tries)
    return heap, _pages(pid, vmas, heap, page_bytes)


def _held(
    pid: int,
    memory: ProcessMemory,
    located: Located,
    vmas_again: Callable[[], Vmas],
    page_bytes: int,
    sections: Sections,
) -> tuple[Heap, Vmas, Pages]:
    """A reading of the process while it stands still, repeated where it stood in the middle of an allocation. Adds
    the section Held."""
    from whyrss.sources.freeze import Frozen, Held

    spans = allspans(Values(memory, located.layout), located.mheap)
    engine_for(len(spans) // 8)  # may have to import numpy, which takes longer than all that is read
    held = sections["Held"] = Held()
    while True:
        with Frozen(pid, held):
            vmas = vmas_again()
            heap, pages = _read(pid, memory, located, vmas, page_bytes, tries=1)  # nothing moves: again is no better
        if heap.consistent or held.stops == STOPS:
            return heap, vmas, pages
        time.sleep(BETWEEN_STOPS_S)


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
    points = [*(end - 1 for _, end in heap.stacks), *stack_pointers(pid)]
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
