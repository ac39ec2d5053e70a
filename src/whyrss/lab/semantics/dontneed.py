"""MADV_DONTNEED, what Go uses up to 1.11 and from 1.16 on: the pages are gone when the call returns."""

from __future__ import annotations

from whyrss.facts.kernel import MADV_DONTNEED
from whyrss.lab.semantics.pages import SIZE_BYTES, Contents, advise, all_pages, fill, mapped
from whyrss.lab.semantics.row import Experiment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.semantics.row import Measured


def measure() -> Measured:
    with mapped() as memory:
        fill(memory, all_pages(memory))
        before = memory.kernel_figures()
        advise(memory, MADV_DONTNEED)
        after = memory.kernel_figures()
        found = Contents(memory, all_pages(memory))
        return {
            "rss_before_bytes": before["Rss"],
            "rss_after_bytes": after["Rss"],
            "pages": len(all_pages(memory)),
            "zero_pages": found.zero,
        }


EXPERIMENTS = (
    Experiment(
        name="dontneed",
        what="MADV_DONTNEED on private memory",
        expected="RSS falls to 0 at once; every page reads zeros",
        because="The pages are unmapped and freed during the call, the next touch gets a page of zeros "
        "[madvise(2), MADV_DONTNEED]",
        measure=measure,
        holds=lambda it: (
            it["rss_before_bytes"] == SIZE_BYTES and it["rss_after_bytes"] == 0 and it["zero_pages"] == it["pages"]
        ),
    ),
)
