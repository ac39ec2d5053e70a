"""A large block that is there only to make collections rare.

Why it is resident
    Before Go 1.19 had GOMEMLIMIT, programs allocated a large slice that nobody uses: it counts as alive, so the
    heap may grow by as much before the next collection. Nobody writes to it, so it should take no memory. It
    does once something writes to it or copies it, or huge pages fill it.

How it is measured
    The largest object with a span of its own and without pointers, its size and how much of it is resident.
    Hardly resident is less than a sixteenth. Known error: a buffer that was just made and is not filled yet
    looks the same, and a resident ballast cannot be told from an honest buffer of that size: hence "possible".
    Resident it is only mentioned where it is at least half of what is alive and no other object has a quarter
    of its size, since data that is used seldom is one single object.
    By hand: `go tool pprof -sample_index=inuse_space` shows one line with all of it; its resident pages are the
    high bits of /proc/PID/pagemap.

When it is no problem
    Hardly resident it costs nothing, and is a note that explains figures: HeapAlloc, HeapInuse and NextGC are
    larger than RSS. Resident it is a note, too, since it may be in use. Below 32 MiB, or below a tenth of
    HeapInuse, it is not mentioned.

Fix
    Remove it, and set GOMEMLIMIT (Go 1.19 and later), with a higher GOGC, which is what a ballast is for.

References
    runtime/malloc.go (large objects without pointers are not written to);
    open-telemetry/opentelemetry-collector issue 7512; open-telemetry/opentelemetry-collector-contrib issue
    20335; go.dev/doc/gc-guide.
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
    from whyrss.shape import LargeObject
    from whyrss.snapshot import Snapshot

LINE = "heap/live"
# Buffers of servers are smaller, and a ballast of less hardly moves a collection.
MENTION_BYTES = 32 << 20
# Of HeapInuse, one in so many: less does not move the goal by much.
MENTION_SHARE = 10
# Of its pages, one in so many may be resident where nobody uses it: the header of its span, a copy's beginning.
TOUCHED_SHARE = 16
# Of what is alive: a ballast is chosen to outweigh it.
RESIDENT_SHARE = 2
# Of its size: with another large object it is one of several buffers.
NEXT_SHARE = 4
# From this release on there is a memory limit (go.dev/doc/go1.19).
LIMIT_SINCE = 19


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    runtime = snapshot[Runtime]
    in_use_bytes = runtime["HeapInuse"]
    if in_use_bytes < MENTION_BYTES:
        return None
    large = snapshot[Shape].large
    found = next((each for each in large if each.noscan), None)
    if found is None or found.size_bytes < MENTION_BYTES or found.size_bytes * MENTION_SHARE < in_use_bytes:
        return None
    touched = found.resident_bytes * TOUCHED_SHARE >= found.size_bytes
    if touched and not _is_alone(found, large, runtime):
        return None
    return Finding(
        cause="ballast",
        weight=NOTE,
        line=LINE,
        size_bytes=found.resident_bytes if touched else 0,
        reclaimable_bytes=0,
        affects=("rss", "working_set", "limit") if touched else (),
        confidence="possible",
        summary=_summary(touched),
        evidence=_evidence(snapshot, found),
        fixes=_fixes(runtime),
    )


def _is_alone(found: LargeObject, large: list[LargeObject], runtime: Runtime) -> bool:
    """Whether it outweighs all else that is alive, and nothing else is of its kind."""
    others = (each.size_bytes for each in large if each is not found)
    if found.resident_bytes < MENTION_BYTES or max(others, default=0) * NEXT_SHARE >= found.size_bytes:
        return False
    return found.size_bytes * RESIDENT_SHARE >= runtime["heap_marked_bytes"]


def _summary(touched: bool) -> str:
    if touched:
        return (
            "{bytes} of the {rss} RSS are one object without pointers, possibly a heap ballast that was written to, "
            "or filled by huge pages. It counts against a limit."
        )
    return (
        "One large object without pointers is hardly resident, possibly a heap ballast: it makes HeapInuse and the "
        "collector's goal look large, and takes next to nothing of the {rss} RSS. It is no danger by itself."
    )


def _evidence(snapshot: Snapshot, found: LargeObject) -> list[Evidence]:
    awk = 'awk -F: \'/"elem_bytes"/ {on = $2 + 0 == 0} on && /"object_bytes"/ {s += $2} END {printf "%d\\n", s}\''
    check = f"whyrss --json {snapshot.target} | {awk}"
    return [
        *_resident(snapshot, found),
        Evidence("all objects above 32 KiB", _large_bytes(snapshot), "bytes", check),
        *evidence.figures(
            snapshot,
            ("HeapInuse", "HeapInuse", "bytes"),
            ("heap_marked_bytes", "alive after the last collection, resident or not", "bytes"),
        ),
    ]


def _large_bytes(snapshot: Snapshot) -> int:
    return sum(each.object_bytes for each in snapshot[Shape].classes if not each.elem_bytes)


def _resident(snapshot: Snapshot, found: LargeObject) -> list[Evidence]:
    """Of a live process what of the object is resident, by the kernel's page map (Documentation/admin-guide/mm/
    pagemap.rst: bit 63 of each entry)."""
    if not snapshot.target.isdigit():
        return []
    pagemap = f"/proc/{snapshot.target}/pagemap"
    what = f"resident of the {found.size_bytes} bytes of the object"
    check = (
        f"p=$(getconf PAGESIZE); dd if={pagemap} bs=8 skip=$(({found.address} / p)) "
        f"count=$((({found.size_bytes} + p - 1) / p)) status=none | od -An -v -tx1 -w8 | "
        "awk -v p=$p '$8 ~ /^[89a-f]/ {n++} END {printf \"%d\\n\", n * p}'"
    )
    return [Evidence(what, found.resident_bytes, "bytes", check)]


def _fixes(runtime: Runtime) -> list[Fix]:
    if runtime.go_minor >= LIMIT_SINCE:
        text = "if it is a ballast, remove it and set GOMEMLIMIT, which does the same without it"
        return [Fix("code", text, "costs", "more collections where GOMEMLIMIT and GOGC are not set to match")]
    return [Fix("upgrade", "if it is a ballast: Go 1.19 or later, where GOMEMLIMIT replaces it", "safe")]


CAUSE = Cause("ballast", "a large block that is there only to make collections rare", look)
