"""Shared mappings: the pages belong to the file or to the shared memory, not to the process."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

from whyrss.facts.kernel import MADV_DONTNEED, MADV_FREE
from whyrss.lab.memory import OS_PAGE_BYTES
from whyrss.lab.pressure import resident
from whyrss.lab.semantics.pages import OLD, content
from whyrss.lab.semantics.row import Experiment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.semantics.row import Measured

SIZE_BYTES = 4 << 20
PAGES = SIZE_BYTES // OS_PAGE_BYTES


class Shared:
    """Shared anonymous memory, filled."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SIZE_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._memory[:] = b"".join(content(page, OLD) for page in range(PAGES))

    def rss_bytes(self) -> int:
        return resident([(self._address, SIZE_BYTES)]).rss_bytes

    def advise(self, advice: int) -> str:
        try:
            self._memory.madvise(advice)
        except OSError as error:
            return errno.errorcode.get(error.errno or 0, os.strerror(error.errno or 0))
        return "done"

    def old_pages(self) -> int:
        pages = (self._memory[page * OS_PAGE_BYTES : (page + 1) * OS_PAGE_BYTES] for page in range(PAGES))
        return sum(found == content(page, OLD) for page, found in enumerate(pages))


def dontneed() -> Measured:
    shared = Shared()
    before_bytes = shared.rss_bytes()
    answer = shared.advise(MADV_DONTNEED)
    after_bytes = shared.rss_bytes()
    old_pages = shared.old_pages()
    return {
        "MADV_DONTNEED": answer,
        "rss_before_bytes": before_bytes,
        "rss_after_bytes": after_bytes,
        "pages": PAGES,
        "old_pages": old_pages,
        "rss_when_read_bytes": shared.rss_bytes(),
    }


def free() -> Measured:
    shared = Shared()
    return {"MADV_FREE": shared.advise(MADV_FREE), "rss_after_bytes": shared.rss_bytes()}


EXPERIMENTS = (
    Experiment(
        name="shared-dontneed",
        what="MADV_DONTNEED on shared memory",
        expected="RSS falls at once, but the pages stay: the data is there again when it is read",
        because="Only this process's view of them goes, the memory is not returned [madvise(2), MADV_DONTNEED]",
        measure=dontneed,
        holds=lambda it: (
            it["MADV_DONTNEED"] == "done"
            and it["rss_before_bytes"] == it["rss_when_read_bytes"] == SIZE_BYTES
            and it["rss_after_bytes"] == 0
            and it["old_pages"] == it["pages"]
        ),
    ),
    Experiment(
        name="shared-free",
        what="MADV_FREE on shared memory",
        expected="it fails with EINVAL; RSS stays",
        because="MADV_FREE is for private anonymous pages alone [madvise(2), MADV_FREE]",
        measure=free,
        holds=lambda it: it["MADV_FREE"] == "EINVAL" and it["rss_after_bytes"] == SIZE_BYTES,
        needs={"MADV_FREE": True},
    ),
)
