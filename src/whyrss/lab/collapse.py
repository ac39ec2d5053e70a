"""Makes huge pages of a process's Go heap at once, as khugepaged does by and by with THP set to always."""

from __future__ import annotations

import ctypes
import os
from errno import EACCES, ENOSYS, EPERM, ESRCH

from whyrss.errors import GoneError, RefusedError
from whyrss.facts.address_space import HUGE_PAGE_BYTES
from whyrss.facts.kernel import MADV_COLLAPSE, SYS_PROCESS_MADVISE
from whyrss.live.reclaim import Iovec
from whyrss.mappings import AddressMap
from whyrss.policy import kernel_fact_of, parse_kernel
from whyrss.snapshot import Build, Process, Vmas
from whyrss.sources.proc import ProcSource

NEEDED = "needs CAP_SYS_PTRACE, CAP_SYS_NICE and Linux 6.1"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whyrss.snapshot import Snapshot


def collapse(pid: int) -> int:
    """Asks for a huge page in every aligned 2 MiB of the Go heap that has a resident page, and returns how many the
    kernel made or found. What the program has protected by MADV_NOHUGEPAGE is refused, and left. Raises RefusedError
    where the kernel cannot (Linux 6.1), or may not for us, and GoneError."""
    return collapse_blocks(pid, list(heap_blocks(ProcSource(pid).collect())))


def collapse_blocks(pid: int, blocks: Iterable[int]) -> int:
    """The same for the huge pages at these addresses."""
    if not kernel_fact_of(parse_kernel(os.uname().release), "MADV_COLLAPSE")[0]:
        raise RefusedError("this kernel has no MADV_COLLAPSE", NEEDED)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        raise GoneError(f"no process {pid}") from None
    try:
        return sum(_collapse(pidfd, start) for start in blocks)
    finally:
        os.close(pidfd)


def heap_blocks(snapshot: Snapshot) -> Iterator[int]:
    """The addresses of the aligned 2 MiB blocks in mappings of the Go heap."""
    vmas, process = snapshot[Vmas], snapshot.get(Process)
    for vma, line in AddressMap(vmas, snapshot[Build], process.exe if process else None, snapshot).lines():
        if line[0] == "heap":
            first = -(-vma.start // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES
            yield from range(first, vma.end - HUGE_PAGE_BYTES + 1, HUGE_PAGE_BYTES)


def _collapse(pidfd: int, start: int) -> bool:
    """False where there is nothing to make one of, or the program does not want it."""
    libc = ctypes.CDLL(None, use_errno=True)
    vector = Iovec(start, HUGE_PAGE_BYTES)
    done = libc.syscall(SYS_PROCESS_MADVISE, pidfd, ctypes.byref(vector), ctypes.c_size_t(1), MADV_COLLAPSE, 0)
    error = ctypes.get_errno() if done < 0 else 0
    if error == ESRCH:
        raise GoneError("the process ended while its huge pages were made")
    if error in (EACCES, EPERM, ENOSYS):
        raise RefusedError(f"process_madvise(MADV_COLLAPSE): {os.strerror(error)}", NEEDED)
    return not error
