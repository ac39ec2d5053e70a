"""What the kernel says of a process, read without whyrss, and what this process may do to others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

# A page that is freed waits in a batch of its CPU before it counts as LazyFree (include/linux/pagevec.h,
# PAGEVEC_SIZE is 31 since Linux 6.10, 15 before); the pages of these programs are small ones.
BATCH_PAGES = 31
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
BATCHES_BYTES = BATCH_PAGES * PAGE_BYTES * (os.cpu_count() or 1)

# What a program that waits for input may touch of its own meanwhile: stacks and buffers, tens of pages.
IDLE_BYTES = 256 << 10

# The Go runtime now and then keeps one step of its page allocator back from debug.FreeOSMemory: up to 4 MiB of it
# (runtime/mpagealloc.go, pallocChunkBytes), seen in about one run of thirty.
KEPT_BACK_BYTES = 4 << 20

# include/uapi/linux/capability.h
CAP_SYS_ADMIN, CAP_SYS_NICE = 21, 23


def smaps_bytes(pid: int, field: str, name: str = "smaps", within: tuple[int, int] = (0, 1 << 64)) -> int:
    """The sum of the lines of that field over the mappings that begin in `within`."""
    total_kib, inside = 0, False
    for line in Path(f"/proc/{pid}/{name}").read_text(errors="replace").splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            inside = within[0] <= int(first.split("-")[0], 16) < within[1]
        elif inside and first == f"{field}:":
            total_kib += int(rest[0])
    return total_kib * 1024


def assert_untouched(pid: int, before_bytes: tuple[int, int]) -> None:
    """RSS and LazyFree of an idle process are what they were.  Its own background work may touch a few pages, and
    those that it freed and that wait in a CPU's batch may come to be counted."""
    rss_bytes, lazyfree_bytes = rss_and_lazyfree(pid)
    assert abs(rss_bytes - before_bytes[0]) <= IDLE_BYTES
    assert -IDLE_BYTES <= lazyfree_bytes - before_bytes[1] <= BATCHES_BYTES


def rss_and_lazyfree(pid: int) -> tuple[int, int]:
    return smaps_bytes(pid, "Rss"), smaps_bytes(pid, "LazyFree")


def settled_bytes(pid: int, field: str, at_least: int, seconds: float = 120.0) -> int:
    """The sum of a field once it is as large as that and stands still for a second."""
    deadline = time.monotonic() + seconds
    before, now = -1, smaps_bytes(pid, field)
    while before != now or now < at_least:
        assert time.monotonic() < deadline, f"{field} is {now} after {seconds} s, not {at_least}"
        time.sleep(1)
        before, now = now, smaps_bytes(pid, field)
    return now


def was_stopped(pid: int) -> bool:
    """Whether this child was stopped or continued by a signal since it was last asked: the kernel keeps that
    for its parent (waitid(2))."""
    return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WCONTINUED | os.WNOHANG) is not None


def has_swap() -> bool:
    return len(Path("/proc/swaps").read_text().splitlines()) > 1


def needs_reclaim() -> None:
    """Skip where the kernel would rightly refuse to reclaim: without CAP_SYS_NICE, and where there is swap
    without CAP_SYS_ADMIN, which shows the flags of page frames."""
    needed = [CAP_SYS_NICE, CAP_SYS_ADMIN] if has_swap() else [CAP_SYS_NICE]
    if not all(may(capability) for capability in needed):
        pytest.skip("needs CAP_SYS_NICE, and CAP_SYS_ADMIN where there is swap: run as root")


def may(capability: int) -> bool:
    """Whether this process has that capability."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False
