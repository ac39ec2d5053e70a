"""Free heap in pieces smaller than a page of the kernel's, which cannot be given back.

Why it is resident
    Go's pages have 8 KiB, the kernel's 64 KiB on some builds for arm64, ppc64le and loong64 (16 KiB on others). Only
    whole pages of the kernel's can be released: eight free Go pages side by side, and aligned. One object among them
    keeps them all.

How it is measured
    Free pages that are not released, part of line heap/retained: all of those in free runs that are shorter than a
    page of the kernel's, and of each longer run what its two ends share with a neighbour's page of the kernel's, on
    average one page of Go less than one of these. Known error: of a few long runs that average is off, and what a
    used neighbour makes resident of heap that was never used (heap/released/other) is not in it.
    By hand: `getconf PAGESIZE` above 8192, and HeapIdle - HeapReleased that stays after debug.FreeOSMemory.

When it is no problem
    The heap uses these pages first when it grows again. Below 32 MiB or a quarter of RSS it is a note, below 4 MiB or
    a twentieth of RSS it is not mentioned.

Fix
    A kernel with pages of 4 KiB. Neither debug.FreeOSMemory nor any setting of Go helps; fewer small objects that
    outlive a burst do.

References
    runtime/mgcscavenge.go, fillAligned (physPageSize); golang/go issues 9993, 78962;
    VictoriaMetrics/VictoriaMetrics issue 6457.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.shape import Shape
from whyrss.snapshot import Host

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/retained"
# A page of Go's, by which the runs are counted (runtime/malloc.go, pageShift).
GO_PAGE_BYTES = 8192
# Some runs per size class and processor are free in every heap.
MENTION_BYTES = 4 << 20
MENTION_SHARE = 20
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    page_bytes = snapshot[Host].page_bytes
    if page_bytes <= GO_PAGE_BYTES:
        return None
    short_bytes, end_bytes = _pieces(snapshot[Shape], page_bytes)
    kept_bytes = min(short_bytes + end_bytes, account.root.bytes_of(LINE))
    if kept_bytes < MENTION_BYTES or kept_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    problem = kept_bytes >= PROBLEM_BYTES and kept_bytes * PROBLEM_SHARE >= account.rss_bytes
    return Finding(
        cause="large-pages",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=kept_bytes,
        reclaimable_bytes=kept_bytes,
        affects=("rss", "working_set", "limit"),
        confidence="certain" if short_bytes >= end_bytes else "likely",
        summary=f"{{bytes}} of the {{rss}} RSS are free heap in pieces that do not fill a page of the kernel's, "
        f"{page_bytes >> 10} KiB, and cannot be given back. It counts against a limit and can end in an OOM kill.",
        evidence=_evidence(snapshot, account, page_bytes),
        fixes=[
            Fix("kernel", "a kernel with pages of 4 KiB", "costs", "more TLB misses; the machine restarts"),
            Fix("code", "fewer small objects that outlive a burst: allocate what stays first, or copy it", "safe"),
        ],
    )


def _pieces(shape: Shape, page_bytes: int) -> tuple[int, int]:
    """What is free and not released in runs that are shorter than a page of the kernel's, and in the ends of longer
    ones: at each end between nothing and a page of the kernel's less one of Go's."""
    pages = page_bytes // GO_PAGE_BYTES
    short_bytes = end_bytes = 0
    for exponent, hole in shape.holes.items():
        if exponent < pages.bit_length() - 1:
            short_bytes += hole.idle_bytes
        else:
            end_bytes += min(hole.idle_bytes, hole.runs * (pages - 1) * GO_PAGE_BYTES)
    return short_bytes, end_bytes


def _evidence(snapshot: Snapshot, account: Account, page_bytes: int) -> list[Evidence]:
    kernel = "awk '/^KernelPageSize:/ {print $2 * 1024; exit}'"
    return [
        evidence.line(snapshot, account, LINE, "free heap that is resident and not released"),
        Evidence("the kernel's page", page_bytes, "bytes", f"{snapshot.cat.format('smaps')} | {kernel}"),
        *evidence.figures(
            snapshot,
            ("HeapIdle", "HeapIdle", "bytes"),
            ("HeapReleased", "HeapReleased", "bytes"),
        ),
    ]


CAUSE = Cause("large-pages", "free heap in pieces smaller than the kernel's page", look)
