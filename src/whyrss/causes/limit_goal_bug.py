"""Idle heap above the memory limit that the background scavenger ignores: Go 1.19 to 1.21.

Why it is resident
    With GOMEMLIMIT the scavenger is to keep Go's memory below 95 % of the limit. These releases compute 95 times the
    limit instead, which is never reached, so it does nothing for the limit. What is above it goes back only when a
    goroutine allocates pages, or by the other goal, which follows from the collector's. A program that allocates no
    more, and whose other goal says "keep", stays above its limit.

How it is measured
    A memory limit is set, and Go's memory that counts against it (Sys - HeapReleased) is above 95 % of it: what is
    above, as far as it is free heap that is resident (line heap/retained), less what the other goal gives back by
    itself (1.1 * in use when marking ended * NextGC / the goal before). Known error: the limit counts pages that were
    never touched, too.
    By hand: `go version` of the executable; Sys - HeapReleased of `/debug/pprof/heap?debug=1` against GOMEMLIMIT, and
    HeapIdle - HeapReleased, twice, a minute apart: it does not fall.

When it is no problem
    A program that allocates gives back what is above its limit while it does so: there is little above it. Below
    32 MiB or a quarter of RSS it is a note, below 4 MiB or a twentieth of RSS it is not mentioned.

Fix
    Go 1.22 or later. debug.FreeOSMemory gives the memory back once.

References
    runtime/mgcscavenge.go, gcPaceScavenger (memoryLimit * (100.0 - reduceExtraPercent)), Go 1.19 to 1.21; golang/go
    issue 62449, commit 729f214e3a.
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
# A program that allocates stays within the 5 % between the goal and the limit, and a little above.
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    go, runtime = GoVersion.parse(snapshot[Build].go_version or ""), snapshot[Runtime]
    limit_bytes = scavenger.limit(runtime, go)
    if limit_bytes is None or scavenger.limit_goal_share(go) <= 1:
        return None
    size_bytes = min(account.root.bytes_of(LINE), _kept_bytes(runtime, go, limit_bytes))
    if size_bytes < MENTION_BYTES or size_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    problem = size_bytes >= PROBLEM_BYTES and size_bytes * PROBLEM_SHARE >= account.rss_bytes
    return Finding(
        cause="limit-goal-bug",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=size_bytes,
        reclaimable_bytes=size_bytes,
        affects=("rss", "working_set", "limit"),
        confidence="likely",
        summary=f"{{bytes}} of the {{rss}} RSS are free heap above {scavenger.LIMIT_PERCENT} % of the memory limit: "
        f"the scavenger of {go.release} ignores the limit. A container's limit just above GOMEMLIMIT can end in an "
        "OOM kill.",
        evidence=_evidence(snapshot, account, go),
        fixes=_fixes(),
    )


def _kept_bytes(runtime: Runtime, go: GoVersion, limit_bytes: int) -> int:
    """What a right goal would give back, and this release does not."""
    excess_bytes = runtime["mapped_ready_bytes"] - limit_bytes * scavenger.LIMIT_PERCENT // 100
    return excess_bytes - scavenger.standing(runtime, go).due_bytes


def _evidence(snapshot: Snapshot, account: Account, go: GoVersion) -> list[Evidence]:
    return [
        evidence.go_version(snapshot, str(go)),
        evidence.line(snapshot, account, LINE, "free heap that is resident and not released"),
        *evidence.figures(
            snapshot,
            ("memory_limit_bytes", "GOMEMLIMIT in force", "bytes"),
            ("mapped_ready_bytes", "Go's memory that counts against it", "bytes"),
            ("last_heap_in_use_bytes", "in use when marking ended", "bytes"),
            ("NextGC", "the heap at which the next collection ends (NextGC)", "bytes"),
            ("last_goal_bytes", "the collector's goal before", "bytes"),
        ),
    ]


def _fixes() -> list[Fix]:
    cost = "page faults when the memory is used again"
    return [
        Fix("upgrade", "Go 1.22 or later, whose scavenger works for the limit (golang/go issue 62449)", "safe"),
        Fix("code", "debug.FreeOSMemory() after the work that needed the memory", "costs", cost),
    ]


CAUSE = Cause("limit-goal-bug", "a memory limit that the scavenger of Go 1.19 to 1.21 ignores", look)
