"""A peak that is over: the process was much larger than it is now, and has given the memory back.

Why it is resident
    It is not: RSS is what it is now. The peak of RSS (VmHWM), HeapSys, Sys and HeapReleased tell of a spike for the
    rest of the process's life, and a graph of them, or of the highest RSS, looks like a leak.

How it is measured
    VmHWM of /proc/PID/status at least twice RSS and 32 MiB above it, while half of the difference or more is heap
    that was given back (HeapReleased). Known error: the kernel's figure may be some pages per thread off; Go up to
    1.16 counts address space that was never used as given back, up to 64 MiB.
    By hand: `grep -E 'VmHWM|VmRSS' /proc/PID/status`, and HeapReleased of `/debug/pprof/heap?debug=1`. Writing 5 to
    /proc/PID/clear_refs sets VmHWM to what is resident now, and shows whether the peak comes again.

When it is no problem
    Always: a note. But a peak that comes again needs its room each time: a container's limit has to be above it, or
    the program is killed there.

Fix
    Nothing for memory that is back already. Against the next peak: less at once, or GOMEMLIMIT (Go 1.19 and later),
    where most of the peak was garbage.

References
    proc(5), VmHWM; Documentation/filesystems/proc.rst (clear_refs); golang/go issue 14735.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.errors import Missing
from whyrss.finding import NOTE, Cause, Finding
from whyrss.read.status import size_bytes
from whyrss.runtime import Runtime
from whyrss.snapshot import Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap"
# Heap that was given back; half of the smallest peak.
MENTION_BYTES = 16 << 20
# What nobody would call a peak: the start of a program, one collection of a small server.
PEAK_BYTES = 32 << 20
# A heap goes up and down by half between two collections with GOGC=100, so RSS may be half of its peak.
PEAK_SHARE = 2
# Of what is gone: the rest was files, or C's.
HEAP_SHARE = 2


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    peak_bytes = size_bytes(snapshot[Status].fields, "VmHWM")
    if peak_bytes is None:
        raise Missing("VmHWM is not among the lines of /proc/PID/status")
    gone_bytes = peak_bytes - account.rss_bytes
    if gone_bytes < PEAK_BYTES or peak_bytes < PEAK_SHARE * account.rss_bytes:
        return None
    if snapshot[Runtime]["HeapReleased"] < max(MENTION_BYTES, gone_bytes // HEAP_SHARE):
        return None
    return Finding(
        cause="past-spike",
        weight=NOTE,
        line=LINE,
        size_bytes=0,
        reclaimable_bytes=0,
        affects=(),
        confidence="likely",
        summary="RSS is {rss} now, and was {first}: a peak that is over, whose memory was given back. "
        "The maximum of a graph is history; only the next peak could end in an OOM kill.",
        evidence=[
            evidence.status(snapshot, "VmHWM", peak_bytes, "the peak of RSS (VmHWM)"),
            evidence.figure(snapshot, "HeapReleased", "heap given back (HeapReleased)"),
            evidence.figure(snapshot, "HeapSys", "heap, used and free (HeapSys)"),
        ],
        fixes=[],
    )


CAUSE = Cause("past-spike", "a peak that is over", look)
