"""Free heap in holes that are too small for what the program allocates: the heap grows in spite of it.

Why it is resident
    An object above 32 KiB needs free pages side by side. Where what is free lies in shorter runs between pages that
    are in use, new memory is taken from the kernel although there is enough. The holes stay resident: the scavenger
    keeps a tenth more than was in use at the last collection, and they are part of that.

How it is measured
    Resident free pages in runs that are shorter than the program's large objects mostly are, while such objects are
    three quarters of the heap, three quarters of all that is free lie so, and the heap has grown since the last
    collection by what was allocated since. Runs are known by the power of two that they reach, and of objects below
    1 MiB the mean, so there may be more of it. Known error: free pages that were there at the last collection already
    count as grown; garbage that is not swept yet counts as in use.
    By hand: HeapIdle - HeapReleased of `/debug/pprof/heap?debug=1` stays large while HeapSys - HeapReleased grows;
    the sizes that are allocated are in the profile itself.

When it is no problem
    Objects up to 32 KiB come from spans of one page and more, which fit nearly everywhere: a heap of small objects is
    never mentioned, nor one of a few large ones, which are made once. Nor is what the scavenger has to give back by
    its goal. Below 32 MiB or a quarter of RSS it is a note, below 4 MiB or a twentieth of RSS it is not mentioned.

Fix
    Large buffers of few different sizes, kept and used again (sync.Pool); a large slice made at once instead of
    grown. debug.FreeOSMemory gives the holes back, until they are used again.

References
    runtime/mpagealloc.go (the first fit by address); runtime/malloc.go, maxSmallSize; golang/go issues 35848, 14045.
"""

from __future__ import annotations

from whyrss import evidence, scavenger
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.policy import GoVersion
from whyrss.runtime import Runtime
from whyrss.shape import Shape
from whyrss.snapshot import Build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/retained"
# Free pages of a heap at work: some spans per size class, and 512 KiB in each processor's page cache.
MENTION_BYTES = 4 << 20
MENTION_SHARE = 20
# What a heap at work has free between two collections stays below a quarter of RSS.
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4
# Of the heap in use: with more small ones, what is allocated next is likely to fit into the holes.
LARGE_PERCENT = 75
# Fewer are made once: caches, tables.
LARGE_COUNT = 100
# One that is so much larger than the others says nothing of what is allocated.
OUTLIER = 4
# Of the free pages that are not released: with more in long runs the next large object finds a place.
SMALL_PERCENT = 75
# Allocated since the last collection: the holes were there, and were not taken.
GROWN_BYTES = 4 << 20
# What is allocated may differ so much from what the heap has grown by: a quarter.
GROWN_SHARE = 4
PAGE_BYTES = 8 << 10  # runtime/sizeclasses.go, _PageShift = 13


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    line_bytes, rss_bytes = account.root.bytes_of(LINE), account.rss_bytes
    if line_bytes < MENTION_BYTES:
        return None
    shape, runtime = snapshot[Shape], snapshot[Runtime]
    object_bytes = _object_bytes(shape)
    small_bytes = min(line_bytes, _small_bytes(shape, object_bytes))
    if small_bytes < MENTION_BYTES or small_bytes * MENTION_SHARE < rss_bytes:
        return None
    if not _is_most(shape, object_bytes) or not _has_grown(runtime) or not _is_kept(snapshot, small_bytes):
        return None
    problem = small_bytes >= PROBLEM_BYTES and small_bytes * PROBLEM_SHARE >= rss_bytes
    return Finding(
        cause="external-fragmentation",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=small_bytes,
        reclaimable_bytes=small_bytes,
        affects=("rss", "working_set", "limit"),
        confidence="likely",
        summary="{bytes} of the {rss} RSS are free heap in holes that are too small for the program's large objects: "
        "the heap grows in spite of them. They count against a limit.",
        evidence=_evidence(snapshot, account, object_bytes),
        fixes=_fixes(object_bytes),
    )


def _object_bytes(shape: Shape) -> int:
    """How large large objects mostly are, in whole pages as they take them; 0 where they are not most of the heap."""
    classes = [each for each in shape.classes if not each.elem_bytes]
    count, all_bytes = sum(each.spans for each in classes), sum(each.span_bytes for each in classes)
    listed = sorted(-(-each.size_bytes // PAGE_BYTES) * PAGE_BYTES for each in shape.large)
    others, others_bytes = count - len(listed), all_bytes - sum(listed)
    if count < LARGE_COUNT or others < 0:
        return 0
    median_bytes = others_bytes // others if others * 2 >= count else listed[count // 2 - others]
    usual_bytes = others_bytes + sum(min(size, OUTLIER * median_bytes) for size in listed)
    in_use_bytes = sum(each.span_bytes for each in shape.classes)
    return median_bytes if usual_bytes * 100 >= in_use_bytes * LARGE_PERCENT else 0


def _small_bytes(shape: Shape, object_bytes: int) -> int:
    least = _fitting_pages(object_bytes)
    return sum(hole.idle_bytes for power, hole in shape.holes.items() if 1 << power < least)


def _fitting_pages(object_bytes: int) -> int:
    """Of the powers of two the least by which a run of free pages may hold it: of shorter ones not even the longest
    can."""
    power = 0
    while (PAGE_BYTES << power + 1) - PAGE_BYTES < object_bytes:
        power += 1
    return 1 << power


def _is_most(shape: Shape, object_bytes: int) -> bool:
    """Whether next to nothing is free in longer runs."""
    idle_bytes = sum(hole.idle_bytes for hole in shape.holes.values())
    return _small_bytes(shape, object_bytes) * 100 >= idle_bytes * SMALL_PERCENT


def _has_grown(runtime: Runtime) -> bool:
    """Whether what was allocated since the last collection made the heap larger."""
    new_bytes = runtime["HeapAlloc"] - runtime["heap_marked_bytes"]
    grown_bytes = runtime["HeapSys"] - runtime["HeapReleased"] - runtime["last_heap_in_use_bytes"]
    return new_bytes >= GROWN_BYTES and abs(grown_bytes - new_bytes) * GROWN_SHARE <= new_bytes


def _is_kept(snapshot: Snapshot, small_bytes: int) -> bool:
    """Whether most of it stays by the scavenger's goal."""
    go = GoVersion.parse(snapshot[Build].go_version or "")
    return scavenger.standing(snapshot[Runtime], go).due_bytes * 2 < small_bytes


def _evidence(snapshot: Snapshot, account: Account, object_bytes: int) -> list[Evidence]:
    shape = snapshot[Shape]
    large_bytes = sum(each.span_bytes for each in shape.classes if not each.elem_bytes)
    return [
        evidence.line(snapshot, account, LINE, f"free heap, resident and not released{_holes(shape, object_bytes)}"),
        Evidence(
            f"spans of objects above 32 KiB, mostly about {object_bytes >> 10} KiB",
            large_bytes,
            "bytes",
            _large(snapshot),
        ),
        *evidence.figures(
            snapshot,
            ("HeapAlloc", "objects, alive and garbage (HeapAlloc)", "bytes"),
            ("heap_marked_bytes", "alive after the last collection", "bytes"),
            ("HeapSys", "heap, used and free (HeapSys)", "bytes"),
            ("HeapReleased", "of it given back (HeapReleased)", "bytes"),
            ("last_heap_in_use_bytes", "in use at the last collection", "bytes"),
        ),
    ]


def _holes(shape: Shape, object_bytes: int) -> str:
    """Where it lies, in words: no command but whyrss shows the runs of free pages."""
    least = _fitting_pages(object_bytes)
    runs = sum(hole.runs for power, hole in shape.holes.items() if 1 << power < least and hole.idle_bytes)
    return f", in {runs} holes below {least * PAGE_BYTES >> 10} KiB"


def _large(snapshot: Snapshot) -> str:
    """The command that sums the spans of large objects."""
    awk = """awk -F: '/"elem_bytes"/ {on = $2 + 0 == 0} on && /"span_bytes"/ {s += $2} END {printf "%d\\n", s}'"""
    return f"whyrss --json {snapshot.target} | {awk}"


def _fixes(object_bytes: int) -> list[Fix]:
    cost = "page faults when the memory is used again"
    text = f"few different sizes for large buffers (about {object_bytes >> 10} KiB), which are kept and used again"
    return [
        Fix("code", text, "safe"),
        Fix("code", "debug.FreeOSMemory() after the work that left the holes", "costs", cost),
    ]


CAUSE = Cause("external-fragmentation", "free heap in holes too small for what is allocated", look)
