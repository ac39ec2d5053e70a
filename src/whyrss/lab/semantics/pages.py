"""Real pages for an experiment: memory by itself in the address space, each page with a content of its own."""

from __future__ import annotations

import contextlib
import os

from whyrss.errors import Missing
from whyrss.facts.kernel import MADV_FREE, MADV_HUGEPAGE, MADV_NOHUGEPAGE
from whyrss.lab.memory import OS_PAGE_BYTES, Memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Where nothing else is, so that no other mapping is merged with it; aligned to any huge page below 1 GiB, and
# below 256 GiB, which is all that an arm64 kernel with 39 bits of addresses has.
BASE = 0x20_0000_0000
SIZE_BYTES = 16 << 20

# A page given to MADV_FREE waits in a batch of its CPU before it has its mark: up to 31 folios (PAGEVEC_SIZE,
# include/linux/pagevec.h, Linux 6.10; 15 before). An experiment stays on one CPU, and its folios are single pages.
BATCH_PAGES = 31
BATCH_BYTES = BATCH_PAGES * OS_PAGE_BYTES

OLD, NEW = 1, 2  # which writing a content is of


@contextlib.contextmanager
def mapped(size_bytes: int = SIZE_BYTES, huge: bool = False, base: int = BASE) -> Iterator[Memory]:
    """Private anonymous memory that nothing has touched yet."""
    memory = Memory(base)
    memory.reserve(size_bytes)
    try:
        memory.map(base, size_bytes)
        memory.madvise(base, size_bytes, MADV_HUGEPAGE if huge else MADV_NOHUGEPAGE)
        yield memory
    finally:
        memory.free()


def content(page: int, writing: int) -> bytes:
    """A page that is different for each number and writing, and never one of zeros."""
    return (page << 8 | writing).to_bytes(8, "little") * (OS_PAGE_BYTES // 8)


def fill(memory: Memory, pages: Iterable[int], writing: int = OLD) -> None:
    for page in pages:
        memory.write(memory.base + page * OS_PAGE_BYTES, content(page, writing))


def all_pages(memory: Memory) -> range:
    return range((memory.end - memory.base) // OS_PAGE_BYTES)


class Contents:
    """How many pages hold what was written first, what was written again, zeros, and none of these."""

    __slots__ = ("lost", "new", "old", "zero")

    def __init__(self, memory: Memory, pages: Iterable[int]) -> None:
        self.old = self.new = self.zero = self.lost = 0
        nothing = bytes(OS_PAGE_BYTES)
        for page in pages:
            found = memory.read(memory.base + page * OS_PAGE_BYTES, OS_PAGE_BYTES)
            self.old += found == content(page, OLD)
            self.new += found == content(page, NEW)
            self.zero += found == nothing
            self.lost += found not in (nothing, content(page, OLD), content(page, NEW))


def advise(memory: Memory, advice: int, start: int = 0, size_bytes: int | None = None) -> None:
    """Raises Missing where the kernel refuses."""
    size_bytes = memory.end - memory.base - start if size_bytes is None else size_bytes
    error = memory.madvise(memory.base + start, size_bytes, advice)
    if error:
        raise Missing(f"madvise({advice}) was refused: {os.strerror(error)}")


def freed_by_kernel() -> int:
    """The lazily freed pages that the kernel has taken since the machine started (/proc/vmstat, pglazyfreed)."""
    with open("/proc/vmstat", encoding="ascii") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("pglazyfreed ")), 0)


@contextlib.contextmanager
def undisturbed(memory: Memory) -> Iterator[None]:
    """Raises Missing at the end where the kernel took pages because the machine itself is short of memory."""
    before = memory.kernel_figures()["Rss"], freed_by_kernel()
    yield
    if memory.kernel_figures()["Rss"] < before[0] and freed_by_kernel() > before[1]:
        raise Missing("the machine is short of memory: the kernel took lazily freed pages meanwhile")


def lazily_freed(memory: Memory) -> None:
    """Fills all of it, and gives all of it to MADV_FREE."""
    fill(memory, all_pages(memory))
    advise(memory, MADV_FREE)
