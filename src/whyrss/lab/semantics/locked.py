"""Memory locked by mlock(2) or mlockall(2): it refuses to be given back."""

from __future__ import annotations

import ctypes
import errno
import os

from whyrss.errors import Missing
from whyrss.facts.kernel import MADV_DONTNEED, MADV_FREE
from whyrss.lab.memory import OS_PAGE_BYTES
from whyrss.lab.semantics.pages import Contents, all_pages, fill, mapped
from whyrss.lab.semantics.row import Experiment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.semantics.row import Measured

LOCKED_BYTES = 8 * OS_PAGE_BYTES  # below the smallest default of RLIMIT_MEMLOCK, 64 KiB of pages of 4 KiB


def measure() -> Measured:
    with mapped(LOCKED_BYTES) as memory:
        fill(memory, all_pages(memory))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mlock(ctypes.c_void_p(memory.base), ctypes.c_size_t(LOCKED_BYTES)):
            raise Missing(f"mlock of {LOCKED_BYTES} bytes: {os.strerror(ctypes.get_errno())}")
        errors = [_word(memory.madvise(memory.base, LOCKED_BYTES, advice)) for advice in (MADV_DONTNEED, MADV_FREE)]
        return {
            "MADV_DONTNEED": errors[0],
            "MADV_FREE": errors[1],
            "rss_after_bytes": memory.kernel_figures()["Rss"],
            "old_pages": Contents(memory, all_pages(memory)).old,
        }


def _word(error: int) -> str:
    return errno.errorcode.get(error, str(error)) if error else "done"


EXPERIMENTS = (
    Experiment(
        name="locked",
        what="MADV_DONTNEED and MADV_FREE on locked memory",
        expected="both fail with EINVAL; RSS and data stay",
        because="A mapping with VM_LOCKED can be given back by neither [madvise(2), EINVAL; mm/madvise.c]",
        measure=measure,
        holds=lambda it: (
            it["MADV_DONTNEED"] == it["MADV_FREE"] == "EINVAL"
            and it["rss_after_bytes"] == LOCKED_BYTES
            and it["old_pages"] == LOCKED_BYTES // OS_PAGE_BYTES
        ),
        needs={"MADV_FREE": True},
    ),
)
