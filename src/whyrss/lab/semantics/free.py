"""MADV_FREE, what Go 1.12 to 1.15 use: pages stay resident, and whole, until the kernel needs them."""

from __future__ import annotations

from whyrss.facts.kernel import MADV_FREE
from whyrss.lab.memory import OS_PAGE_BYTES
from whyrss.lab.semantics.pages import (
    BATCH_BYTES,
    NEW,
    SIZE_BYTES,
    Contents,
    advise,
    all_pages,
    fill,
    lazily_freed,
    mapped,
    undisturbed,
)
from whyrss.lab.semantics.row import LAZY, Experiment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.semantics.row import Measured

EVERY = 4  # each fourth page is written again
WRITTEN_BYTES = SIZE_BYTES // EVERY


def keep() -> Measured:
    with mapped() as memory:
        fill(memory, all_pages(memory))
        before = memory.kernel_figures()
        with undisturbed(memory):
            advise(memory, MADV_FREE)
            after = memory.kernel_figures()
        return {
            "rss_before_bytes": before["Rss"],
            "rss_after_bytes": after["Rss"],
            "lazyfree_bytes": after["LazyFree"],
        }


def read() -> Measured:
    with mapped() as memory:
        with undisturbed(memory):
            lazily_freed(memory)
            found = Contents(memory, all_pages(memory))
            after = memory.kernel_figures()
        return {"pages": len(all_pages(memory)), "old_pages": found.old, "lazyfree_bytes": after["LazyFree"]}


def write() -> Measured:
    with mapped() as memory:
        with undisturbed(memory):
            lazily_freed(memory)
            before = memory.kernel_figures()
            fill(memory, all_pages(memory)[::EVERY], NEW)
            after = memory.kernel_figures()
        return {
            "written_bytes": len(all_pages(memory)[::EVERY]) * OS_PAGE_BYTES,
            "lazyfree_before_bytes": before["LazyFree"],
            "lazyfree_after_bytes": after["LazyFree"],
            "rss_after_bytes": after["Rss"],
        }


def _is_lazy(lazyfree: int | str, freed_bytes: int) -> bool:
    return freed_bytes - BATCH_BYTES <= int(lazyfree) <= freed_bytes


EXPERIMENTS = (
    Experiment(
        name="free-keeps",
        what="MADV_FREE on private memory",
        expected="RSS stays; LazyFree shows all of it, less the CPU's batch of at most 31 pages",
        because="The pages are only marked clean and not swap-backed, and moved to the inactive file list "
        "[madvise(2), MADV_FREE; mm/swap.c, lru_lazyfree]",
        measure=keep,
        holds=lambda it: (
            it["rss_before_bytes"] == it["rss_after_bytes"] == SIZE_BYTES
            and _is_lazy(it["lazyfree_bytes"], SIZE_BYTES)
        ),
        needs=LAZY,
    ),
    Experiment(
        name="free-readable",
        what="Reading what was given to MADV_FREE",
        expected="every page still holds its data, and reading does not cancel the freeing",
        because="Until the kernel takes a page it stays mapped; only a write makes it dirty [madvise(2), MADV_FREE]",
        measure=read,
        holds=lambda it: it["old_pages"] == it["pages"] and _is_lazy(it["lazyfree_bytes"], SIZE_BYTES),
        needs=LAZY,
    ),
    Experiment(
        name="free-written",
        what="Writing every fourth page again",
        expected="LazyFree falls by the written pages, page by page; RSS stays",
        because="A write makes the page dirty again, and a dirty page is not counted and not taken "
        "[madvise(2), MADV_FREE; fs/proc/task_mmu.c, smaps_account]",
        measure=write,
        holds=lambda it: (
            it["written_bytes"] == WRITTEN_BYTES
            and _is_lazy(it["lazyfree_before_bytes"], SIZE_BYTES)
            and _is_lazy(it["lazyfree_after_bytes"], SIZE_BYTES - WRITTEN_BYTES)
            and it["rss_after_bytes"] == SIZE_BYTES
        ),
        needs=LAZY,
    ),
)
