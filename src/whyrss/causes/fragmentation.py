"""Few objects keep whole spans: free slots between live objects.

Why it is resident
    A span holds objects of one size class, and its pages can be given back only when all of its slots are free. A
    program that allocated many small objects and dropped most of them keeps the pages of the few that are left.

How it is measured
    The resident pages of spans in use less the bytes of their allocated slots, line heap/slack of the account. Known
    error: slots of garbage that is not swept yet still count as allocated (heap/live). The runtime's own figure,
    HeapInuse - HeapAlloc, also counts pages that were never touched.
    By hand: HeapInuse less HeapAlloc, of `/debug/pprof/heap?debug=1` or `whyrss --json PID`.

When it is no problem
    New objects of the same size class use these slots first, so a program that soon grows again to where it was loses
    nothing. Below 32 MiB, or below a quarter of the heap's resident spans, it is a note; below 4 MiB or a tenth of
    RSS it is not mentioned.

Fix
    Neither the collector nor debug.FreeOSMemory can help. Keep long-lived small objects out of bursts of short-lived
    ones of the same size: allocate them first, copy what is to be kept, pool by size, or restart after the peak.

References
    runtime/mheap.go and mcentral.go (a span is freed when its allocCount is 0); golang/go issues 18896, 21695.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.finding import NOTE, PROBLEM, Cause, Finding
from whyrss.fix import Fix
from whyrss.shape import Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/slack"
# Every heap has some: a partly filled span per size class and processor, 136 classes of 8 to 80 KiB.
MENTION_BYTES = 4 << 20
# Healthy servers show up to 4 %; and one size alone may waste 6 % that nobody can avoid: structures of goroutines, by
# Go 1.27 16 of 480 bytes in a span of 8 KiB, which since Go 1.22 ends with 128 bytes for its bitmap of pointers.
MENTION_SHARE = 10
# Healthy servers of some 100 MiB show up to a fifth; a quarter is more than the size classes' own waste (12.5 %).
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4
CLASSES_SHOWN = 3


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    slack_bytes, live_bytes = account.root.bytes_of(LINE), account.root.bytes_of("heap/live")
    if slack_bytes < MENTION_BYTES or slack_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    problem = slack_bytes >= PROBLEM_BYTES and slack_bytes * PROBLEM_SHARE >= slack_bytes + live_bytes
    return Finding(
        cause="fragmentation",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=slack_bytes,
        reclaimable_bytes=slack_bytes if problem else 0,
        affects=("rss", "working_set", "limit"),
        confidence="certain",
        summary="{bytes} of the {rss} RSS are free slots in spans that few objects keep: fragmentation. It counts "
        "against a limit.",
        evidence=[
            evidence.line(snapshot, account, LINE, "free slots of resident spans"),
            evidence.line(snapshot, account, "heap/live", "allocated slots of resident spans"),
            *evidence.figures(snapshot, ("HeapInuse", "HeapInuse", "bytes"), ("HeapAlloc", "HeapAlloc", "bytes")),
        ],
        fixes=[Fix("code", _advice(snapshot), "safe")],
    )


def _advice(snapshot: Snapshot) -> str:
    """Names the classes that waste most, where the heap's shape is known."""
    shape = snapshot.get(Shape)
    classes = sorted(shape.classes, key=lambda each: -each.slack_bytes)[:CLASSES_SHOWN] if shape else []
    least_bytes = classes[0].slack_bytes // 10 if classes else 0
    sizes = ", ".join(str(each.elem_bytes) for each in classes if each.elem_bytes and each.slack_bytes > least_bytes)
    of = f" (most of it in spans for objects of {sizes} bytes)" if sizes else ""
    return f"keep long-lived objects apart from bursts of short-lived ones of their size{of}"


CAUSE = Cause("fragmentation", "free slots in spans that few objects keep", look)
