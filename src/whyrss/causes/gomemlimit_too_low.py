"""A memory limit that what is alive does not fit: the collector runs without end.

Why it is resident
    GOMEMLIMIT makes the collector run earlier as memory comes near the limit. It cannot take what is alive:
    when that, with stacks and the runtime's own memory, fills the limit, the goal of the heap is what is there
    already, every allocation makes a collection due, and the program spends its CPU (up to half of it, where
    the runtime's limiter steps in) to free next to nothing. RSS stays above the limit.

How it is measured
    The goal of the heap is at most a tenth above what the last collection found alive, and the goal by GOGC
    alone is at least a quarter above that: so it is the limit that keeps it there. And the limit is below what is
    alive and a fifth, with what Go needs besides: else it is free heap that takes the room (limit-goal-bug). The
    last collection tells whether the program suffers now. Known error: the goal is computed from counters that move
    while they are read; GCCPUFraction is a mean since the start of the program and says little of now, so it is not
    used.
    By hand: GODEBUG=gctrace=1 shows the collections, with the goal and the memory limit's share of CPU;
    /gc/limiter/last-enabled:gc-cycle of runtime/metrics whether the limiter steps in.

When it is no problem
    A program that allocates nothing does not collect either: a note where the last collection is more than 10 s
    ago, and below 32 MiB alive, where a collection costs a few milliseconds. Below 4 MiB it is not mentioned.

Fix
    A limit of at least what is alive and a fifth, with what Go needs besides, or none. In a container whose own
    limit leaves no room for that only a larger one helps.

References
    runtime/mgcpacer.go (memoryLimitHeapGoal), runtime/mgclimit.go; go.dev/doc/gc-guide ("thrashing"); golang/go
    issues 48409, 58106, 59324.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.environment import NO_LIMIT_BYTES
from whyrss.finding import NOTE, PROBLEM, Cause, Finding
from whyrss.fix import Fix
from whyrss.runtime import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/live"
# The smallest goal that a heap has, whatever is alive (runtime/mgcpacer.go, defaultHeapMinimum).
MENTION_BYTES = 4 << 20
# A collection of less takes a few milliseconds of CPU.
PROBLEM_BYTES = 32 << 20
# A heap that may grow by a tenth is collected ten times as often as with GOGC=100.
GOAL_PERCENT = 110
# The goal by GOGC has to be so much above the one in force; with GOGC below it is GOGC that is low, not the limit.
FREE_GOAL_PERCENT = 125
# Between two forced collections of an idle program are 120 s (runtime/proc.go, forcegcperiod).
RECENT_SECONDS = 10
# What a limit should leave for garbage: the collector then runs five times as often as with GOGC=100.
ROOM_PERCENT = 20
# The goal under a limit leaves 3 % of it (runtime/mgcpacer.go, memoryLimitHeapGoalHeadroomPercent).
HEADROOM_PERCENT = 3
# From this release on there is a memory limit (go.dev/doc/go1.19).
LIMIT_SINCE = 19
MIB = 1 << 20


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    runtime = snapshot[Runtime]
    if not _is_limited(runtime) or not _is_held_down(runtime):
        return None
    if _enough_mib(runtime) * MIB <= runtime["memory_limit_bytes"]:
        return None  # what is alive fits: free heap that is not given back takes the room
    marked_bytes = runtime["heap_marked_bytes"]
    problem = marked_bytes >= PROBLEM_BYTES and runtime.seconds_since_collection(snapshot.taken_at) <= RECENT_SECONDS
    return Finding(
        cause="gomemlimit-too-low",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=0,
        reclaimable_bytes=0,
        affects=("limit",),
        confidence="likely",
        summary=_summary(problem),
        evidence=evidence.figures(
            snapshot,
            ("memory_limit_bytes", "GOMEMLIMIT in force", "bytes"),
            ("mapped_ready_bytes", "Go's memory that counts against it", "bytes"),
            ("heap_marked_bytes", "alive after the last collection", "bytes"),
            ("NextGC", "the heap at which the next collection ends (NextGC)", "bytes"),
            ("NumGC", "collections so far", ""),
            ("LastGC", "end of the last one, since 1970", "ns"),
        ),
        fixes=_fixes(runtime),
    )


def _is_limited(runtime: Runtime) -> bool:
    """Whether a memory limit is in force. Raises Missing where that cannot be told."""
    return runtime.go_minor >= LIMIT_SINCE and runtime["memory_limit_bytes"] < NO_LIMIT_BYTES


def _is_held_down(runtime: Runtime) -> bool:
    """Whether the limit alone keeps the goal at what is alive."""
    marked_bytes, goal_bytes = runtime["heap_marked_bytes"], runtime["NextGC"]
    if marked_bytes < MENTION_BYTES or goal_bytes * 100 > marked_bytes * GOAL_PERCENT:
        return False
    return runtime["gc_percent_goal_bytes"] * 100 >= goal_bytes * FREE_GOAL_PERCENT


def _summary(problem: bool) -> str:
    first = (
        "The collector runs again and again and costs CPU: "
        if problem
        else "The collector has next to no room, and would run again and again in a program that allocates: "
    )
    return (
        f"{first}the memory limit (GOMEMLIMIT) is too low for what is alive. It cannot make the {{rss}} RSS smaller, "
        "so it does not keep a container from an OOM kill either."
    )


def _fixes(runtime: Runtime) -> list[Fix]:
    variable = f"GOMEMLIMIT={_enough_mib(runtime)}MiB"
    text = f"{variable} or more: what is alive and {ROOM_PERCENT} %, with what Go needs besides"
    return [
        Fix("env", text, "costs", "memory, which a container's limit has to allow", variable),
        Fix("env", "GOMEMLIMIT=off: GOGC alone", "risky", "the heap may outgrow a container", "GOMEMLIMIT=off"),
    ]


def _enough_mib(runtime: Runtime) -> int:
    """The limit whose goal leaves the room."""
    goal_bytes = runtime["heap_marked_bytes"] * (100 + ROOM_PERCENT) // 100
    free_bytes = runtime["HeapIdle"] - runtime["HeapReleased"]
    other_bytes = max(0, runtime["mapped_ready_bytes"] - free_bytes - runtime["HeapAlloc"])
    return -(-(other_bytes + goal_bytes * 100 // (100 - HEADROOM_PERCENT)) // MIB)


CAUSE = Cause("gomemlimit-too-low", "a memory limit that what is alive does not fit", look)
