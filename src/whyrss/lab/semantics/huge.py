"""Transparent huge pages: one is split where a part of it is given back, and freed whole where it is freed whole."""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.facts.kernel import MADV_DONTNEED, MADV_FREE
from whyrss.lab.semantics.pages import BATCH_BYTES, Contents, advise, all_pages, fill, mapped
from whyrss.lab.semantics.row import LAZY, Experiment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.semantics.row import Measured

THP = "/sys/kernel/mm/transparent_hugepage"
HUGE_PAGES = 2


def free_part() -> Measured:
    return _advise(MADV_FREE, quarters=1)


def dontneed_part() -> Measured:
    return _advise(MADV_DONTNEED, quarters=1)


def free_whole() -> Measured:
    return _advise(MADV_FREE, quarters=4)


def _advise(advice: int, quarters: int) -> Measured:
    """Two huge pages, of which that many quarters are given back: a quarter is half of the first one."""
    huge_bytes = _huge_page_bytes()
    size_bytes = HUGE_PAGES * huge_bytes
    with mapped(size_bytes, huge=True) as memory:
        fill(memory, all_pages(memory))
        before = memory.kernel_figures()
        if before["AnonHugePages"] < size_bytes:
            raise Missing("the kernel gave no huge pages: memory is fragmented, or they are off for this process")
        advise(memory, advice, 0, size_bytes * quarters // 4)
        after = memory.kernel_figures()
        rest = all_pages(memory)[len(all_pages(memory)) * quarters // 4 :]
        return {
            "huge_page_bytes": huge_bytes,
            "advised_bytes": size_bytes * quarters // 4,
            "huge_before_bytes": before["AnonHugePages"],
            "huge_after_bytes": after["AnonHugePages"],
            "rss_after_bytes": after["Rss"],
            "lazyfree_after_bytes": after["LazyFree"],
            "changed_pages": len(rest) - Contents(memory, rest).old,
        }


def _huge_page_bytes() -> int:
    """Raises Missing where this kernel gives none on request."""
    try:
        with open(f"{THP}/enabled", encoding="ascii") as file:
            enabled = file.read()
        with open(f"{THP}/hpage_pmd_size", encoding="ascii") as file:
            size_bytes = int(file.read())
    except OSError:
        raise Missing("this kernel has no transparent huge pages") from None
    if "[never]" in enabled:
        raise Missing(f"{THP}/enabled is never")
    return size_bytes


def _rest_is_whole(it: Measured, huge_left: int, gone_bytes: int) -> bool:
    huge_bytes = int(it["huge_page_bytes"])
    return (
        it["huge_before_bytes"] == HUGE_PAGES * huge_bytes
        and it["huge_after_bytes"] == huge_left * huge_bytes
        and it["rss_after_bytes"] == HUGE_PAGES * huge_bytes - gone_bytes
        and it["changed_pages"] == 0
    )


EXPERIMENTS = (
    Experiment(
        name="huge-free-part",
        what="MADV_FREE on half of a huge page",
        expected="that huge page is split: AnonHugePages falls by it, half of it is LazyFree, RSS stays",
        because="What is freed in part is split first, as a mark is of a whole page "
        "[mm/huge_memory.c, madvise_free_huge_pmd]",
        measure=free_part,
        holds=lambda it: (
            _rest_is_whole(it, huge_left=1, gone_bytes=0)
            and 0 <= int(it["advised_bytes"]) - int(it["lazyfree_after_bytes"]) <= BATCH_BYTES
        ),
        needs=LAZY,
    ),
    Experiment(
        name="huge-dontneed-part",
        what="MADV_DONTNEED on half of a huge page",
        expected="that huge page is split: AnonHugePages falls by it, RSS by the half",
        because="The mapping is split, and the rest of it goes on as small pages "
        "[Documentation/mm/transhuge.rst, partial unmap]",
        measure=dontneed_part,
        holds=lambda it: _rest_is_whole(it, huge_left=1, gone_bytes=int(it["advised_bytes"])),
    ),
    Experiment(
        name="huge-free-whole",
        what="MADV_FREE on whole huge pages",
        expected="they stay huge, and all of it is LazyFree; RSS stays",
        because="A huge page that is freed whole is marked as one [mm/huge_memory.c, madvise_free_huge_pmd]",
        measure=free_whole,
        holds=lambda it: (
            _rest_is_whole(it, huge_left=HUGE_PAGES, gone_bytes=0)
            and it["lazyfree_after_bytes"] == it["advised_bytes"]
        ),
        needs=LAZY,
    ),
)
