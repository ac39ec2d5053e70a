"""Objects that the program can reach: no cause but its own data.

Why it is resident
    What can be reached from globals and stacks is in use, and no setting of Go makes it smaller. If it is more
    than it should be, the program holds on to it: a cache without a bound, a map that never shrinks (golang/go
    issue 20135), a slice of a much larger one, objects in a pool, goroutines that never end.

How it is measured
    The allocated slots of resident pages (line heap/live) without what other causes explain of them, above all
    garbage, which is HeapAlloc less what the last collection found alive (heapMarked). Known error: what has
    been allocated since the last collection counts as garbage; what has died since counts as alive. Before the
    first collection nothing is known, and this is silent.
    By hand: /gc/heap/live:bytes of runtime/metrics (Go 1.21 and later), or `go tool pprof
    -sample_index=inuse_space` on `/debug/pprof/heap`, which shows what the last collection left, by where it
    was allocated.

When it is no problem
    It never is one by itself: the heap is what it is, and this is a note. Below 4 MiB or a fifth of RSS it is
    not mentioned.

Fix
    In the code: a heap profile names the lines that allocated what is alive. Two profiles of different times
    (`-diff_base`) show what grows.

References
    runtime/mgcpacer.go (heapMarked), runtime/sizeclasses.go; go.dev/doc/gc-guide, go.dev/blog/pprof.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.finding import NOTE, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.runtime import Runtime
from whyrss.shape import Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.shape import SizeClass
    from whyrss.snapshot import Snapshot

LINE = "heap/live"
# The smallest goal that a heap has, whatever is alive (runtime/mgcpacer.go, defaultHeapMinimum).
MENTION_BYTES = 4 << 20
# Less does not explain RSS: others do.
MENTION_SHARE = 5
CLASSES_SHOWN = 3
# A size that holds less of the objects says nothing about what they are.
CLASS_SHARE = 10


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    line_bytes = account.root.bytes_of(LINE)
    if line_bytes < MENTION_BYTES or line_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    runtime = snapshot[Runtime]
    marked_bytes = runtime["heap_marked_bytes"]
    live_bytes = line_bytes - max(0, runtime["HeapAlloc"] - marked_bytes)
    small = live_bytes < MENTION_BYTES or live_bytes * MENTION_SHARE < account.rss_bytes
    if small or not runtime["NumGC"]:
        return None
    return Finding(
        cause="live-heap",
        weight=NOTE,
        line=LINE,
        size_bytes=live_bytes,
        reclaimable_bytes=0,
        affects=("rss", "working_set", "limit"),
        confidence="certain",
        summary="{bytes} of the {rss} RSS are objects that the program can reach: the heap is what it is, and no "
        "setting makes it smaller. It counts against a limit.",
        evidence=[
            evidence.figure(snapshot, "heap_marked_bytes", "alive after the last collection, resident or not"),
            evidence.line(snapshot, account, LINE, "allocated slots of resident spans"),
            *_sizes(snapshot),
        ],
        fixes=[Fix("code", f"look for what holds them: {_profile()}", "safe")],
    )


def _profile() -> str:
    return "go tool pprof -sample_index=inuse_space http://HOST:PORT/debug/pprof/heap"


def _sizes(snapshot: Snapshot) -> list[Evidence]:
    """The sizes of object that make up most of it, garbage included; nothing where the shape is not known."""
    shape = snapshot.get(Shape)
    by_size: dict[int, list[int]] = {}
    for each in shape.classes if shape else []:
        found = by_size.setdefault(each.elem_bytes, [0, 0])
        _add(found, each)
    all_bytes = sum(size_bytes for size_bytes, _ in by_size.values())
    largest = sorted(by_size.items(), key=lambda item: -item[1][0])[:CLASSES_SHOWN]
    return [
        _size(snapshot, elem_bytes, *found)
        for elem_bytes, found in largest
        if found[0] and found[0] * CLASS_SHARE >= all_bytes
    ]


def _add(found: list[int], each: SizeClass) -> None:
    found[0] += each.object_bytes
    found[1] += each.objects


def _size(snapshot: Snapshot, elem_bytes: int, size_bytes: int, objects: int) -> Evidence:
    of = f"of {elem_bytes} bytes" if elem_bytes else "larger than 32 KiB"
    awk = f'awk -F: \'/"elem_bytes"/ {{on = $2 + 0 == {elem_bytes}}} on && /"object_bytes"/ {{s += $2}} '
    check = f'whyrss --json {snapshot.target} | {awk}END {{printf "%d\\n", s}}\''
    return Evidence(f"{objects} objects {of}", size_bytes, "bytes", check)


CAUSE = Cause("live-heap", "objects that the program can reach", look)
