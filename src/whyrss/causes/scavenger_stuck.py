"""Idle heap that the scavenger will never give back: it has no goal.

Why it is resident
    The background scavenger works towards a goal that is set at the end of a collection, from the collector's own
    goal. With GOGC=off and no memory limit there is none, nor is there one before the second collection, and then
    free pages are kept for good.

How it is measured
    Free pages that are resident and not released (line heap/retained), while gcPercent is -1 and no memory limit is
    set, or the last goal is 0 because fewer than two collections have ended. Known error: pages in the processors'
    page caches are counted as retained.
    By hand: HeapIdle - HeapReleased, NumGC and NextGC (above 2^62 for "off") of `/debug/pprof/heap?debug=1`.

When it is no problem
    A program that runs with GOGC=off for speed and uses the memory again soon. Below 32 MiB or a quarter of RSS it is
    a note, below 4 MiB or a twentieth of RSS it is not mentioned.

Fix
    GOMEMLIMIT (Go 1.19 and later) gives the scavenger a goal; so does any GOGC. debug.FreeOSMemory gives the memory
    back once.

References
    runtime/mgcscavenge.go, gcPaceScavenger ("If we're called before the first GC completed, disable scavenging");
    runtime/mgcpacer.go, gcPercent; golang/go issue 38404.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.environment import GOGC_OFF
from whyrss.finding import NOTE, PROBLEM, Cause, Finding
from whyrss.fix import Fix
from whyrss.runtime import Runtime
from whyrss.settings import gc_percent, memory_limit_bytes

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
# From this release on a limit can be the goal (go.dev/doc/go1.19).
LIMIT_SINCE = 19


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    idle_bytes = account.root.bytes_of(LINE)
    if idle_bytes < MENTION_BYTES or idle_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    why = _why(snapshot)
    if not why:
        return None
    problem = idle_bytes >= PROBLEM_BYTES and idle_bytes * PROBLEM_SHARE >= account.rss_bytes
    return Finding(
        cause="scavenger-stuck",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=idle_bytes,
        reclaimable_bytes=idle_bytes,
        affects=("rss", "working_set", "limit"),
        confidence="certain",
        summary=f"{{bytes}} of the {{rss}} RSS are free heap that the runtime will not give back: {why}. "
        "It counts against a limit.",
        evidence=[
            evidence.line(snapshot, account, LINE, "free heap that is resident and not released"),
            *evidence.figures(
                snapshot,
                ("gc_percent", "GOGC in force (-1: off)", "percent"),
                ("NumGC", "collections so far", ""),
            ),
        ],
        fixes=_fixes(snapshot),
    )


def _why(snapshot: Snapshot) -> str:
    """In words why there is no goal, or nothing where there is one. Raises Missing."""
    if gc_percent(snapshot) == GOGC_OFF and memory_limit_bytes(snapshot) is None:
        return "GOGC is off and there is no memory limit, so its scavenger has no goal"
    if snapshot[Runtime]["NumGC"] < 2:
        return "its scavenger has no goal before the second collection"
    return ""


def _fixes(snapshot: Snapshot) -> list[Fix]:
    cost = "page faults when the memory is used again"
    fixes = []
    if snapshot[Runtime].go_minor >= LIMIT_SINCE:
        fixes.append(Fix("env", "GOMEMLIMIT=SIZE: gives the scavenger a goal", "costs", "collections near the limit"))
    if gc_percent(snapshot) == GOGC_OFF:
        fixes.append(Fix("env", "GOGC=100 (or any number) instead of off", "costs", "collections", "GOGC=100"))
    fixes.append(Fix("code", "debug.FreeOSMemory() after the work that needed the memory", "costs", cost))
    return fixes


CAUSE = Cause("scavenger-stuck", "idle heap that is never given back: the scavenger has no goal", look)
