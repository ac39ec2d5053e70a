"""Has the kernel take lazily freed pages now: plan, apply, verify.

`process_madvise(MADV_PAGEOUT)` on exactly those pages: nothing has to be written anywhere, the kernel drops
them as it would under pressure, and checks itself that each is still clean (process_madvise(2), Linux 5.10).
"""

from __future__ import annotations

import ctypes
import os
from errno import EAGAIN, EINTR, EINVAL, ENOMEM, ENOSYS, EPERM, ESRCH

from whyrss.errors import DeniedError, GoneError, RefusedError, WhyrssError
from whyrss.live.pages import PageMap
from whyrss.read.smaps import parse_smaps
from whyrss.read.status import parse_stat
from whyrss.snapshot import Host, Process, Vma, Vmas
from whyrss.sources.files import LiveFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whyrss.live.pages import Range
    from whyrss.snapshot import Snapshot

SYS_PROCESS_MADVISE = 440  # the same number on every architecture (Linux 5.10)
MADV_PAGEOUT = 21
BATCH_BYTES = 8 << 20  # one call holds the target's mmap lock; 8 MiB were at most 11 ms, 1 GiB up to 700 ms
BATCH_RANGES = 1024  # IOV_MAX, include/uapi/linux/uio.h
DRAINED_BYTES = 256 << 10  # what may stay in the batches of the CPUs: 31 folios each (mm/swap.c)
PASSES = 3
CAP_SYS_PTRACE, CAP_SYS_NICE = 19, 23  # include/uapi/linux/capability.h


class Figures:
    """RSS and LazyFree of a process at one moment, in bytes."""

    __slots__ = ("lazyfree_bytes", "rss_bytes")

    def __init__(self, vmas: Vmas) -> None:
        self.rss_bytes = vmas.total_bytes("Rss")
        self.lazyfree_bytes = vmas.total_bytes("LazyFree")


class Outcome:
    """What was measured before and after; `planned_bytes` is what was asked for in the first pass."""

    __slots__ = ("after", "before", "planned_bytes")

    def __init__(self, before: Figures, after: Figures, planned_bytes: int) -> None:
        self.before = before
        self.after = after
        self.planned_bytes = planned_bytes

    @property
    def reclaimed_bytes(self) -> int:
        """How far RSS fell."""
        return max(0, self.before.rss_bytes - self.after.rss_bytes)

    @property
    def worked(self) -> bool:
        """Nothing worth taking is left, or at least half of what was planned has gone."""
        gone_bytes = self.before.lazyfree_bytes - self.after.lazyfree_bytes
        return self.after.lazyfree_bytes < DRAINED_BYTES or gone_bytes * 2 >= self.planned_bytes > 0


class Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def plan(pid: int, vmas: Vmas, host: Host) -> list[Range]:
    """The ranges that hold lazily freed pages and no others, where swap exists; without swap the whole resident
    part of a mapping may do, since nothing else in it can leave. Raises DeniedError or RefusedError."""
    swap = host.swap_bytes is None or host.swap_bytes > 0
    ranges: list[Range] = []
    with PageMap(pid, host.page_bytes) as pages:
        for vma in vmas:
            if vma.get_bytes("LazyFree"):
                ranges += _ranges(pages, vma, swap)
    return ranges


def _ranges(pages: PageMap, vma: Vma, swap: bool) -> list[Range]:
    if not swap and vma.get_bytes("LazyFree") == vma.get_bytes("Rss"):
        return list(pages.present(vma.start, vma.end))
    try:
        return list(pages.lazily_freed(vma.start, vma.end))
    except DeniedError as error:
        if swap:
            raise RefusedError(
                "this machine has swap, and lazily freed pages cannot be told from others, which it would swap out",
                error.hint,
            ) from None
        return list(pages.present(vma.start, vma.end))


def reclaim(snapshot: Snapshot, pid: int, progress: Callable[[int, int], None] = lambda done, total: None) -> Outcome:
    """Plans and applies until nothing is left, at most three times, and measures. `progress` is told the bytes
    done and planned. Raises RefusedError where the kernel does not allow it, GoneError where the process ended."""
    vmas, host = snapshot[Vmas], snapshot[Host]
    before = after = Figures(vmas)
    planned_bytes = 0
    pidfd = _open(pid, snapshot[Process].start_ticks)
    try:
        for _ in range(PASSES):
            ranges = plan(pid, vmas, host)
            wanted_bytes = sum(end - start for start, end in ranges)
            planned_bytes = planned_bytes or wanted_bytes
            if not wanted_bytes:
                break
            _apply(pidfd, ranges, wanted_bytes, progress)
            vmas = measure(pid)
            after = Figures(vmas)
            if after.lazyfree_bytes < DRAINED_BYTES:
                break
    finally:
        os.close(pidfd)
    return Outcome(before, after, planned_bytes)


def measure(pid: int) -> Vmas:
    """smaps again. Raises GoneError."""
    try:
        vmas = parse_smaps(LiveFiles().read(f"proc/{pid}/smaps", 2 << 30))
    except OSError as error:
        raise GoneError(f"process {pid} ended ({error.strerror})") from None
    if not len(vmas):
        raise GoneError(f"process {pid} ended while its memory was taken")
    return vmas


def batches(ranges: list[Range]) -> Iterator[list[Range]]:
    """The ranges in groups of at most BATCH_BYTES and BATCH_RANGES; a longer range is cut."""
    batch: list[Range] = []
    room_bytes = BATCH_BYTES
    for start, end in ranges:
        at = start
        while at < end:
            upto = min(end, at + room_bytes)
            batch.append((at, upto))
            room_bytes -= upto - at
            at = upto
            if not room_bytes or len(batch) == BATCH_RANGES:
                yield batch
                batch, room_bytes = [], BATCH_BYTES
    if batch:
        yield batch


def _apply(pidfd: int, ranges: list[Range], total_bytes: int, progress: Callable[[int, int], None]) -> None:
    done = 0
    for batch in batches(ranges):
        error = _madvise(pidfd, batch)
        if error == ENOMEM:  # a mapping went away meanwhile: the rest of the batch one by one
            for one in batch:
                error = _madvise(pidfd, [one])
                if error not in (0, ENOMEM, EAGAIN, EINTR):
                    break
        if error not in (0, ENOMEM, EAGAIN, EINTR):
            raise _refusal(error)
        done += sum(end - start for start, end in batch)
        progress(done, total_bytes)


def _madvise(pidfd: int, ranges: list[Range]) -> int:
    """0, or the errno. The call may stop early and say how far it came; then the rest is asked for."""
    libc = ctypes.CDLL(None, use_errno=True)
    at = 0
    while at < len(ranges):
        rest = ranges[at:]
        vector = (Iovec * len(rest))(*[Iovec(start, end - start) for start, end in rest])
        advised = libc.syscall(SYS_PROCESS_MADVISE, pidfd, vector, ctypes.c_size_t(len(rest)), MADV_PAGEOUT, 0)
        if advised < 0:
            return ctypes.get_errno()
        whole = 0
        while at < len(ranges) and whole + ranges[at][1] - ranges[at][0] <= advised:
            whole += ranges[at][1] - ranges[at][0]
            at += 1
        if at < len(ranges) and not whole:
            at += 1  # it came only part of the way through this range; the next pass looks again
    return 0


def _open(pid: int, start_ticks: int) -> int:
    """A pidfd of the process that was measured, not of another that has its PID now."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno == ESRCH:
            raise GoneError(f"no process {pid}") from None
        raise RefusedError(f"process {pid} cannot be held: {error.strerror}", "needs Linux 5.10 or later") from None
    try:
        same = parse_stat(LiveFiles().read(f"proc/{pid}/stat")).start_ticks == start_ticks
    except OSError:
        same = False
    if not same:
        os.close(pidfd)
        raise GoneError(f"process {pid} ended, and was not touched")
    return pidfd


def _refusal(error: int) -> WhyrssError:
    if error == EPERM:
        return RefusedError("the kernel does not allow process_madvise on this process", _capabilities())
    if error == ENOSYS:
        return RefusedError("this kernel has no process_madvise", "needs Linux 5.10 or later")
    if error == EINVAL:
        return RefusedError("this kernel's process_madvise does not know MADV_PAGEOUT", "needs Linux 5.10 or later")
    if error == ESRCH:
        return GoneError("the process ended while its memory was taken")
    return RefusedError(f"process_madvise: {os.strerror(error)}")


def _capabilities() -> str:
    """Which of the two capabilities are missing here."""
    needed = {"CAP_SYS_NICE": CAP_SYS_NICE, "CAP_SYS_PTRACE": CAP_SYS_PTRACE}
    lacking = [name for name, bit in needed.items() if not _effective() >> bit & 1]
    return f"needs {' and '.join(lacking)}" if lacking else "needs CAP_SYS_NICE in the target's user namespace"


def _effective() -> int:
    for line in LiveFiles().read("proc/self/status").split(b"\n"):
        if line.startswith(b"CapEff:"):
            return int(line.split()[1], 16)
    return 0
