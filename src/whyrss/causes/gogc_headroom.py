"""Garbage that the collector has not come to yet: GOGC lets the heap grow so far.

Why it is resident
    A collection begins when the heap has grown by GOGC percent of what was alive after the last one: with
    GOGC=100 it doubles, with GOGC=400 it becomes five times as large. Until then garbage stays where it is, and
    most of RSS may be garbage.

How it is measured
    HeapAlloc less what the last collection found alive (heapMarked), at most the line heap/live. Known error:
    what was allocated since and is still in use counts as well, so right before a collection it is an upper
    bound; and heapMarked counts whole slots, while the line counts only those whose pages are resident. Before
    the first collection all of the heap is in it.
    By hand: HeapAlloc less /gc/heap/live:bytes of runtime/metrics (Go 1.21 and later), or less the last figure
    of "A->B->C MB" in a line of GODEBUG=gctrace=1; NextGC of `/debug/pprof/heap?debug=1` is where the heap
    goes.

When it is no problem
    With GOGC up to 100, or under a memory limit, which the garbage has to fit, it is by design: a note. With a
    higher GOGC it is a note below 64 MiB of garbage, below 30 % of RSS, and where GOGC=100 would hardly take
    anything off (less than 32 MiB or a tenth of RSS). Below 4 MiB or a twentieth of RSS it is not mentioned.

Fix
    GOGC=100 or lower; or GOMEMLIMIT (Go 1.19 and later), which keeps the GOGC as long as there is room. Both
    trade memory for CPU. To allocate less makes both smaller.

References
    runtime/mgcpacer.go (commit: heapMarked + (heapMarked + stacks + globals) * GOGC / 100 from Go 1.18 on,
    before that heapMarked * (1 + GOGC / 100)); go.dev/doc/gc-guide; golang/go issues 18896, 55041; etcd-io/etcd
    issue 8472.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.environment import GOGC_DEFAULT, GOGC_OFF, NO_LIMIT_BYTES
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.runtime import Runtime
from whyrss.settings import gc_percent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/live"
# The smallest goal that a heap has, whatever is alive (runtime/mgcpacer.go, defaultHeapMinimum).
MENTION_BYTES = 4 << 20
MENTION_SHARE = 20
# A server of some 100 MiB makes as much between two collections with GOGC=100, and nobody would call that too much.
PROBLEM_BYTES = 64 << 20
PROBLEM_PERCENT = 30
# What GOGC=100 would take off: below, the change is not worth its CPU. It also keeps 101 from being an alarm.
EXCESS_BYTES = 32 << 20
EXCESS_SHARE = 10
# From this release on there is a memory limit (go.dev/doc/go1.19).
LIMIT_SINCE = 19
# The goal under a limit leaves 3 % of it (runtime/mgcpacer.go, memoryLimitHeapGoalHeadroomPercent).
ROOM_PERCENT = 3
MIB = 1 << 20


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    live_bytes, rss_bytes = account.root.bytes_of(LINE), account.rss_bytes
    if live_bytes < MENTION_BYTES:
        return None
    runtime = snapshot[Runtime]
    garbage_bytes = min(live_bytes, max(0, runtime["HeapAlloc"] - runtime["heap_marked_bytes"]))
    if garbage_bytes < MENTION_BYTES or garbage_bytes * MENTION_SHARE < rss_bytes:
        return None
    excess_bytes = _excess_bytes(snapshot, garbage_bytes)
    much = garbage_bytes >= PROBLEM_BYTES and garbage_bytes * 100 >= rss_bytes * PROBLEM_PERCENT
    problem = much and excess_bytes >= EXCESS_BYTES and excess_bytes * EXCESS_SHARE >= rss_bytes
    return Finding(
        cause="gogc-headroom",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=garbage_bytes,
        reclaimable_bytes=excess_bytes if problem else 0,
        affects=("rss", "working_set", "limit"),
        confidence="certain",
        summary=_summary(snapshot, problem),
        evidence=[
            evidence.figure(snapshot, "HeapAlloc", "objects, alive and garbage (HeapAlloc)"),
            evidence.figure(snapshot, "heap_marked_bytes", "alive after the last collection"),
            *_settings(snapshot),
        ],
        fixes=_fixes(snapshot, excess_bytes, rss_bytes) if problem else [],
    )


def _excess_bytes(snapshot: Snapshot, garbage_bytes: int) -> int:
    """What of the garbage would not be there under GOGC=100; 0 where a limit bounds it, or nothing was collected
    yet, so that it is not known what is garbage."""
    runtime = snapshot[Runtime]
    percent = gc_percent(snapshot)
    if GOGC_OFF < percent <= GOGC_DEFAULT or _is_limited(runtime) or not runtime["NumGC"]:
        return 0
    return min(garbage_bytes, max(0, runtime["HeapAlloc"] - _usual_goal_bytes(runtime)))


def _is_limited(runtime: Runtime) -> bool:
    """Whether a memory limit is in force. Raises Missing where that cannot be told."""
    return runtime.go_minor >= LIMIT_SINCE and runtime["memory_limit_bytes"] < NO_LIMIT_BYTES


def _usual_goal_bytes(runtime: Runtime) -> int:
    """The goal under GOGC=100; before Go 1.18 stacks and globals are not part of it, and not kept."""
    roots_bytes = (runtime.get("stack_scan_bytes") or 0) + (runtime.get("globals_scan_bytes") or 0)
    return 2 * runtime["heap_marked_bytes"] + roots_bytes


def _summary(snapshot: Snapshot, problem: bool) -> str:
    what = "{bytes} of the {rss} RSS are garbage, or new since the last collection: "
    ending = (
        "It is no leak, but counts against a limit and can end in an OOM kill."
        if problem
        else "That is by design and no leak; it counts against a limit."
    )
    return f"{what}{_why(snapshot)}. {ending}"


def _why(snapshot: Snapshot) -> str:
    """What lets the heap grow."""
    percent = gc_percent(snapshot)
    if not snapshot[Runtime]["NumGC"]:
        return "no collection has run yet"
    if percent == GOGC_OFF:
        limited = _is_limited(snapshot[Runtime])
        return f"with GOGC=off {'only the memory limit brings the' if limited else 'there is no'} next one"
    return f"with GOGC={percent} the next comes when the heap is {1 + percent / 100:.3g} times what is alive"


def _settings(snapshot: Snapshot) -> list[Evidence]:
    names = [("gc_percent", "GOGC in force (-1: off)", "percent"), ("NumGC", "collections so far", "")]
    if gc_percent(snapshot) != GOGC_OFF:
        names.insert(0, ("NextGC", "the heap at which the next collection ends (NextGC)", "bytes"))
    return evidence.figures(snapshot, *names)


def _fixes(snapshot: Snapshot, excess_bytes: int, rss_bytes: int) -> list[Fix]:
    less = f"{100 * excess_bytes // rss_bytes} % less RSS than now"
    cost = "more collections"
    text = f"GOGC={GOGC_DEFAULT}: a collection when the heap is twice what is alive; {less}"
    fixes = [Fix("env", text, "costs", cost, f"GOGC={GOGC_DEFAULT}")]
    runtime = snapshot[Runtime]
    if runtime.go_minor >= LIMIT_SINCE:
        variable = f"GOMEMLIMIT={_limit_mib(runtime)}MiB"
        text = f"{variable}: the same peak, but GOGC={_word(gc_percent(snapshot))} for as long as the heap is smaller"
        fixes.append(Fix("env", text, "costs", f"{cost} near the limit", variable))
    return fixes


def _word(percent: int) -> str:
    return "off" if percent == GOGC_OFF else str(percent)


def _limit_mib(runtime: Runtime) -> int:
    """The limit under which the heap's goal is that of GOGC=100: with what Go needs besides objects."""
    free_bytes = runtime["HeapIdle"] - runtime["HeapReleased"]
    other_bytes = max(0, runtime["mapped_ready_bytes"] - free_bytes - runtime["HeapAlloc"])
    return -(-(other_bytes + _usual_goal_bytes(runtime) * 100 // (100 - ROOM_PERCENT)) // MIB)


CAUSE = Cause("gogc-headroom", "garbage that GOGC lets wait for the next collection", look)
