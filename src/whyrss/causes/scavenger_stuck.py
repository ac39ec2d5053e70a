"""Idle heap that the scavenger will never give back: its goal is of a peak, and no collection sets another.

Why it is resident
    The background scavenger keeps a tenth more than what was in use when the last collection's marking ended, garbage
    included. With GOGC=off and no memory limit no other collection comes, not even the one that is forced every 2
    minutes: what a runtime.GC() at the peak made free is kept for good. After the very first collection the goal is
    as high with any GOGC, until the second.

How it is measured
    Free pages that are resident and not released (line heap/retained), at least half of them below the scavenger's
    goal, while gcPercent is -1 and no memory limit is set, or fewer than two collections have ended. Known error:
    pages in the processors' page caches are counted as retained; that the program itself calls runtime.GC again
    cannot be foreseen.
    By hand: HeapIdle - HeapReleased, NumGC and NextGC (above 2^62 for "off") of `/debug/pprof/heap?debug=1`.

When it is no problem
    A program that runs with GOGC=off for speed and uses the memory again soon. With any other GOGC it is a note,
    since the second collection is forced after 2 minutes. Below 32 MiB or a quarter of RSS it is a note, below 4 MiB
    or a twentieth of RSS it is not mentioned.

Fix
    GOMEMLIMIT (Go 1.22 and later) gives the scavenger a goal that does not wait for a collection, and so does
    any GOGC, which brings the next one. debug.FreeOSMemory gives the memory back once.

References
    runtime/mgcscavenge.go, gcPaceScavenger (retainExtraPercent; lastHeapInUse is set at the end of marking);
    runtime/proc.go, forcegcperiod, and mgc.go, gcTrigger.test (none is forced while gcPercent is below 0); golang/go
    issue 38404; issue 62449 for the limit before Go 1.22.
"""

from __future__ import annotations

from whyrss import evidence, scavenger
from whyrss.environment import GOGC_OFF
from whyrss.finding import NOTE, PROBLEM, Cause, Finding
from whyrss.fix import Fix
from whyrss.policy import GoVersion
from whyrss.runtime import Runtime
from whyrss.settings import gc_percent, memory_limit_bytes
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
# From this release on the scavenger works towards a limit (golang/go issue 62449).
LIMIT_SINCE = 22


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    idle_bytes = account.root.bytes_of(LINE)
    if idle_bytes < MENTION_BYTES or idle_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    why = _why(snapshot)
    if not why or not _is_kept(snapshot, idle_bytes):
        return None
    off = gc_percent(snapshot) == GOGC_OFF
    problem = off and idle_bytes >= PROBLEM_BYTES and idle_bytes * PROBLEM_SHARE >= account.rss_bytes
    return Finding(
        cause="scavenger-stuck",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=idle_bytes,
        reclaimable_bytes=idle_bytes,
        affects=("rss", "working_set", "limit"),
        confidence="certain" if off else "likely",
        summary=f"{{bytes}} of the {{rss}} RSS are free heap that the runtime will not give back: {why}. "
        "It counts against a limit.",
        evidence=[
            evidence.line(snapshot, account, LINE, "free heap that is resident and not released"),
            *evidence.figures(
                snapshot,
                ("gc_percent", "GOGC in force (-1: off)", "percent"),
                ("NumGC", "collections so far", ""),
                ("last_heap_in_use_bytes", "in use when the last one's marking ended", "bytes"),
            ),
        ],
        fixes=_fixes(snapshot),
    )


def _why(snapshot: Snapshot) -> str:
    """In words why there will be no lower goal, or nothing where there may be one. Raises Missing."""
    collections = snapshot[Runtime]["NumGC"]
    if gc_percent(snapshot) == GOGC_OFF and memory_limit_bytes(snapshot) is None:
        since = "the last collection" if collections else "the start"
        return f"its scavenger keeps what was in use at {since}, and with GOGC=off no other collection comes"
    if collections < 2:
        return "until the second collection its scavenger keeps what was in use at the peak"
    return ""


def _is_kept(snapshot: Snapshot, idle_bytes: int) -> bool:
    """Whether most of it stays by the scavenger's goal, where a release has one. Raises Missing."""
    stand = scavenger.standing(snapshot[Runtime], GoVersion.parse(snapshot[Build].go_version or ""))
    return not stand.by_age and stand.due_bytes * 2 < idle_bytes


def _fixes(snapshot: Snapshot) -> list[Fix]:
    cost = "page faults when the memory is used again"
    fixes = []
    if snapshot[Runtime].go_minor >= LIMIT_SINCE:
        fixes.append(Fix("env", "GOMEMLIMIT=SIZE: gives the scavenger a goal", "costs", "collections near the limit"))
    if gc_percent(snapshot) == GOGC_OFF:
        fixes.append(Fix("env", "GOGC=100 (or any number) instead of off", "costs", "collections", "GOGC=100"))
    fixes.append(Fix("code", "debug.FreeOSMemory() after the work that needed the memory", "costs", cost))
    return fixes


CAUSE = Cause("scavenger-stuck", "idle heap that is never given back: no collection comes", look)
