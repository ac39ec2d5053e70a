"""What MADV_FREE did before Linux 4.12, which only such a kernel can show."""

from __future__ import annotations

import os

from whyrss.errors import Missing
from whyrss.facts.kernel import MADV_FREE
from whyrss.lab.pressure import has_swap
from whyrss.lab.semantics.pages import advise, all_pages, fill, mapped
from whyrss.lab.semantics.row import Experiment
from whyrss.policy import kernel_fact_of, parse_kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.semantics.row import Measured


def measure() -> Measured:
    release = os.uname().release
    value, source = kernel_fact_of(parse_kernel(release), "free_pages")
    if value == "lazy":
        raise Missing(f"this kernel is newer ({release}): it frees them lazily, with and without swap [{source}]")
    if has_swap():
        raise Missing("this machine has swap, so its kernel frees them lazily as well")
    with mapped() as memory:
        fill(memory, all_pages(memory))
        before = memory.kernel_figures()
        advise(memory, MADV_FREE)
        return {"rss_before_bytes": before["Rss"], "rss_after_bytes": memory.kernel_figures()["Rss"]}


EXPERIMENTS = (
    Experiment(
        name="free-before-4.12",
        what="MADV_FREE without swap, on Linux before 4.12",
        expected="RSS falls at once, as after MADV_DONTNEED",
        because="The pages stayed on the anonymous lists, which are not scanned without swap, so they were freed "
        "during the call [madvise(2); commits f7ad2a6cb9, 802a3a92ad]",
        measure=measure,
        holds=lambda it: it["rss_after_bytes"] == 0 and int(it["rss_before_bytes"]) > 0,
        needs={"MADV_FREE": True},
    ),
)
