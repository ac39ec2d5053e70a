"""What memory pressure does to pages given to MADV_FREE, by a limit on a cgroup of its own where one can be made."""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.facts.kernel import MADV_FREE, MADV_PAGEOUT
from whyrss.lab.group import Group
from whyrss.lab.memory import OS_PAGE_BYTES
from whyrss.lab.pressure import NO_WAY, RESERVE_BYTES, has_swap, press
from whyrss.lab.semantics.pages import (
    BASE,
    BATCH_BYTES,
    NEW,
    SIZE_BYTES,
    Contents,
    advise,
    all_pages,
    fill,
    lazily_freed,
    mapped,
)
from whyrss.lab.semantics.row import LAZY, Experiment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.semantics.row import Measured

EVERY = 4
# The kernel takes the oldest pages of the list first, and pressure leaves RESERVE_BYTES. So memory that is given
# to MADV_FREE after what is looked at stays in its place.
YOUNGER_BASE = BASE + (1 << 30)
YOUNGER_BYTES = 2 * RESERVE_BYTES


def taken() -> Measured:
    return _under_pressure(write=False)


def survive() -> Measured:
    return _under_pressure(write=True)


def _under_pressure(write: bool) -> Measured:
    with Group() as group, mapped() as memory, mapped(YOUNGER_BYTES, base=YOUNGER_BASE) as younger:
        lazily_freed(memory)
        written = all_pages(memory)[::EVERY] if write else range(0)
        fill(memory, written, NEW)
        lazily_freed(younger)
        before = memory.kernel_figures()
        ranges = [(each.base, each.end - each.base) for each in (memory, younger)]
        pressed = press(0, ranges, group)
        if pressed.way == NO_WAY:
            raise Missing("; ".join(pressed.notes))
        after = memory.kernel_figures()
        others = Contents(memory, sorted(set(all_pages(memory)) - set(written)))
        found: Measured = {
            "by": pressed.way,
            "rss_before_bytes": before["Rss"],
            "rss_after_bytes": after["Rss"],
            "zero_pages": others.zero,
            "old_pages": others.old,
            "lost_pages": others.lost + others.new,
        }
        if write:
            found |= {"written_pages": len(written), "new_pages": Contents(memory, written).new}
        return found


def pageout() -> Measured:
    if has_swap():
        raise Missing("there is swap, and MADV_PAGEOUT would write to it what is in use")
    with mapped() as memory:
        pages = all_pages(memory)
        fill(memory, pages)
        half_bytes = SIZE_BYTES // 2
        advise(memory, MADV_FREE, 0, half_bytes)
        before = memory.kernel_figures()
        advise(memory, MADV_PAGEOUT)
        after = memory.kernel_figures()
        return {
            "freed_bytes": half_bytes,
            "rss_before_bytes": before["Rss"],
            "rss_after_bytes": after["Rss"],
            "zero_pages": Contents(memory, pages[: len(pages) // 2]).zero,
            "kept_pages": Contents(memory, pages[len(pages) // 2 :]).old,
        }


def _accounts(it: Measured) -> bool:
    """Each page that left RSS reads zeros, each that stayed is as it was, and some left."""
    gone_pages = (int(it["rss_before_bytes"]) - int(it["rss_after_bytes"])) // OS_PAGE_BYTES
    pages = int(it["zero_pages"]) + int(it["old_pages"]) + int(it.get("written_pages", 0))
    return 0 < gone_pages == it["zero_pages"] and pages == SIZE_BYTES // OS_PAGE_BYTES and it["lost_pages"] == 0


EXPERIMENTS = (
    Experiment(
        name="free-taken",
        what="Memory pressure after MADV_FREE",
        expected="the kernel takes the pages: RSS falls, and each page that went reads zeros",
        because="Reclaim drops a lazily freed page that is still clean, without writing it anywhere "
        "[madvise(2), MADV_FREE; mm/vmscan.c, shrink_folio_list]",
        measure=taken,
        holds=_accounts,
        needs=LAZY,
    ),
    Experiment(
        name="free-written-survives",
        what="Memory pressure after every fourth page was written again",
        expected="the written pages hold what was written; the others that went read zeros",
        because="Reclaim finds a page dirty that was written after MADV_FREE, and keeps it "
        "[madvise(2), MADV_FREE; mm/rmap.c, try_to_unmap_one]",
        measure=survive,
        holds=lambda it: _accounts(it) and 0 < int(it["written_pages"]) == it["new_pages"],
        needs=LAZY,
    ),
    Experiment(
        name="free-pageout",
        what="MADV_PAGEOUT on memory of which half was given to MADV_FREE, without swap",
        expected="that half leaves RSS and reads zeros; the other half stays as it is",
        because="A lazily freed page needs no swap to be reclaimed, any other anonymous page does "
        "[madvise(2), MADV_PAGEOUT; mm/vmscan.c, shrink_folio_list]",
        measure=pageout,
        holds=lambda it: (
            it["rss_before_bytes"] == SIZE_BYTES
            and 0 <= int(it["rss_after_bytes"]) - (SIZE_BYTES - int(it["freed_bytes"])) <= BATCH_BYTES
            and int(it["zero_pages"]) == (SIZE_BYTES - int(it["rss_after_bytes"])) // OS_PAGE_BYTES
            and it["kept_pages"] == SIZE_BYTES // 2 // OS_PAGE_BYTES
        ),
        needs={**LAZY, "MADV_PAGEOUT": True},
    ),
)
