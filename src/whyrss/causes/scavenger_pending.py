"""Idle heap that the scavenger has not given back yet, or wants to keep.

Why it is resident
    Free pages are given back in the background, by a goroutine that takes 1 % of one CPU, and only as far as its goal
    says. The goal is set when a collection ends: a tenth more than the heap had in use then, times what the next
    collection is expected to change (Go 1.13.3 and later), or 95 % of a memory limit. What is below stays for the
    next allocations. Go 1.21 and later leave chunks of 4 MiB that were full alone for one or two collections more,
    which in an idle program come every 2 minutes.

How it is measured
    Free pages that are resident and not released (line heap/retained). Due of these is what HeapSys - HeapReleased
    has above 1.1 * in use when marking ended * NextGC / the goal before. Known error: pages in the processors' page
    caches are counted as retained; under a memory limit NextGC has moved since the goal was set.
    By hand: HeapIdle - HeapReleased of `/debug/pprof/heap?debug=1`, twice, a minute apart: it falls while the
    scavenger is at work. GODEBUG=scavtrace=1 shows what it does.

When it is no problem
    Below the goal it is by design: a note. Above, it is one while a scavenger at work may not be through: until the
    last collection is 3 s ago, and a second for each 20 MiB. A program that collects more often sets new goals all
    the time. It is a note, too, below 32 MiB or a quarter of RSS; below 4 MiB or a twentieth of RSS it is not
    mentioned.

Fix
    To wait; it leaves by itself. debug.FreeOSMemory gives everything that is free back at once. With GOMEMLIMIT
    (Go 1.22 and later) the scavenger also works towards 95 % of it. Go up to 1.12 takes 5 minutes: a later one.

References
    runtime/mgcscavenge.go (gcPaceScavenger, retainExtraPercent, scavengePercent, shouldScavenge); runtime/proc.go
    (forcegcperiod); golang/go issues 16930, 30333, 34048, 14735.
"""

from __future__ import annotations

from whyrss import evidence, scavenger
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.policy import GoVersion
from whyrss.runtime import Runtime
from whyrss.snapshot import Build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/retained"
# Free pages of a heap at work: some spans per size class, and 512 KiB in each processor's page cache.
MENTION_BYTES = 4 << 20
MENTION_SHARE = 20
# Above the goal: a tenth is in the goal already, so a heap that is steady has none.
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4
# Scavengers at work, as measured: from Go 1.19 on they take up to 2 s to start, and the slowest gave 20 MiB back in a
# second. Where more time has passed than what is left would take, it is not at work, or had twice as much to do.
AGE_SECONDS = 3
PACE_BYTES = 20 << 20
# From this release on the scavenger works towards a limit (golang/go issue 62449).
LIMIT_SINCE = 22


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    idle_bytes, rss_bytes = account.root.bytes_of(LINE), account.rss_bytes
    if idle_bytes < MENTION_BYTES or idle_bytes * MENTION_SHARE < rss_bytes:
        return None
    go = GoVersion.parse(snapshot[Build].go_version or "")
    stand = scavenger.standing(snapshot[Runtime], go)
    if stand.goal_bytes is None and stand.limit_goal_bytes is None and not stand.by_age:
        return None  # what is never given back is another cause
    due_bytes = min(idle_bytes, stand.due_bytes)
    much = due_bytes >= PROBLEM_BYTES and due_bytes * PROBLEM_SHARE >= rss_bytes
    problem = much and _is_old(snapshot, due_bytes)
    due = stand.by_age or due_bytes >= MENTION_BYTES
    return Finding(
        cause="scavenger-pending",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=idle_bytes,
        reclaimable_bytes=idle_bytes if problem else 0,
        affects=("rss", "working_set", "limit"),
        confidence="likely",
        summary=_summary(go, stand, due),
        evidence=_evidence(snapshot, account, stand),
        fixes=_fixes(go, stand) if due else [],
    )


def _is_old(snapshot: Snapshot, due_bytes: int) -> bool:
    """Whether a scavenger at work should be through."""
    seconds = snapshot[Runtime].seconds_since_collection(snapshot.taken_at)
    return seconds >= max(AGE_SECONDS, due_bytes / PACE_BYTES)


def _summary(go: GoVersion, stand: scavenger.Standing, due: bool) -> str:
    what = "{bytes} of the {rss} RSS are free heap that the runtime"
    if stand.by_age:
        return f"{what} gives back when it has been unused for 5 minutes. It counts against a limit."
    if not due:
        return f"{what} keeps for the next allocations, by design and no leak. It counts against a limit."
    waits = ", and leaves what was full for a collection or two" if scavenger.keeps_dense_chunks(go) else ""
    return (
        f"{what} has not given back yet: more than it wants to keep, but its scavenger takes 1 % of a CPU{waits}. "
        "It counts against a limit for so long."
    )


def _evidence(snapshot: Snapshot, account: Account, stand: scavenger.Standing) -> list[Evidence]:
    names = [
        ("HeapSys", "heap, used and free (HeapSys)", "bytes"),
        ("HeapReleased", "of it given back (HeapReleased)", "bytes"),
        ("last_heap_in_use_bytes", "in use when marking ended", "bytes"),
        ("last_goal_bytes", "the collector's goal before", "bytes"),
        ("LastGC", "end of the last collection, since 1970", "ns"),
    ]
    if stand.limit_goal_bytes is not None:
        names += [
            ("memory_limit_bytes", "GOMEMLIMIT in force", "bytes"),
            ("mapped_ready_bytes", "Go's memory that counts against it", "bytes"),
        ]
    return [
        evidence.line(snapshot, account, LINE, "free heap that is resident and not released"),
        *_goal(snapshot, stand),
        *evidence.figures(snapshot, *names),
    ]


def _goal(snapshot: Snapshot, stand: scavenger.Standing) -> list[Evidence]:
    """What the scavenger keeps, computed once more from the figures that it computes it from."""
    used = evidence.figures(
        snapshot,
        ("last_heap_in_use_bytes", "", "bytes"),
        ("NextGC", "", "bytes"),
        ("last_goal_bytes", "", "bytes"),
    )
    if stand.goal_bytes is None or len(used) < 3:
        return []
    values = " ".join(f"-v {name}=$({each.check})" for name, each in zip("abc", used, strict=True))
    check = f"awk {values} 'BEGIN {{x = int(a * (b / c)); printf \"%.0f\\n\", x + int(x / 10)}}'"
    return [Evidence("what the scavenger keeps of the heap, used and free", stand.goal_bytes, "bytes", check)]


def _fixes(go: GoVersion, stand: scavenger.Standing) -> list[Fix]:
    wait = "wait: it leaves by itself, with 1 % of a CPU"
    if stand.by_age:
        wait = "wait: it leaves by itself, after 5 to 8 minutes"
    elif scavenger.keeps_dense_chunks(go):
        wait = "wait: it leaves by itself, after one or two collections, which an idle program has every 2 minutes"
    cost = "page faults when the memory is used again"
    fixes = [
        Fix("live", wait, "safe"),
        Fix("code", "debug.FreeOSMemory() after the work that needed the memory", "costs", cost),
    ]
    if stand.by_age:
        fixes.append(Fix("upgrade", "Go 1.16 or later: within seconds, or minutes where it is idle", "safe"))
    elif go.minor >= LIMIT_SINCE and stand.limit_goal_bytes is None:
        text = "GOMEMLIMIT=SIZE, more than the peak has alive: what is above 95 % of it goes back first"
        fixes.append(Fix("env", text, "costs", "collections near the limit"))
    return fixes


CAUSE = Cause("scavenger-pending", "idle heap that is not given back yet", look)
