"""A heap that may outgrow its container: nobody told Go of the container's limit.

Why it is resident
    Go does not look at the memory cgroup. By GOGC alone the heap grows to its goal, twice what is alive with
    GOGC=100, also where the container's limit comes before it: then the kernel kills a program most of whose
    heap is garbage.

How it is measured
    What the processes of the container have now that the kernel cannot simply take (RSS without files, text and
    lazily freed pages; the anonymous memory of the other processes in the cgroup), and what the heap has still
    to grow to its goal (NextGC - HeapAlloc, less the free pages it has for that), against the smallest limit on
    the way up. Known error: memory of the kernel (page tables, sockets) and tmpfs are charged, too, and not in
    it; a goal that is lowered by the next collection is not foreseen.
    By hand: memory.max (v1: memory.limit_in_bytes) of the cgroup in /proc/PID/cgroup, and NextGC - HeapAlloc of
    `/debug/pprof/heap?debug=1` added to RssAnon of /proc/PID/status.

When it is no problem
    Where the sum stays below 90 % of the limit, or there is no limit below the memory of the machine, nothing
    is said. Below 16 MiB of heap the cgroup is not even read. With less than a tenth of the limit in use it is
    a note, since the program may never come near it, and with a Go before 1.19, which has no such setting.

Fix
    GOMEMLIMIT: the limit less what is not Go's, less a tenth for the kernel's share. It takes no memory away,
    the collector just runs earlier where there is no room. Where what is alive leaves no room for that, only a
    larger limit helps. Before Go 1.19: a lower GOGC.

References
    runtime/mgcpacer.go (memoryLimitHeapGoal); go.dev/doc/gc-guide ("leave an additional 5-10% of headroom");
    golang/go issue 75164 (a default by the cgroup, not decided); Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.environment import GOGC_OFF, NO_LIMIT_BYTES
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.read.cgroup import FILES, Cgroup
from whyrss.runtime import Runtime
from whyrss.settings import OFF_GOAL_BYTES, gc_percent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/live"
# Containers have limits from some 32 MiB on, half of which a heap has to hold before GOGC=100 can go beyond.
MENTION_BYTES = 16 << 20
# What the kernel itself takes of a limit, and what a sample a moment later may be off.
DANGER_PERCENT = 90
# Of the limit: below, the program has not shown that it ever comes near.
NEAR_PERCENT = 10
# go.dev/doc/gc-guide: leave 5 to 10 %; the kernel's share is not measured here, hence the 10.
RESERVE_PERCENT = 10
# A limit of less than what is alive and a fifth makes the collector run without end.
ROOM_PERCENT = 20
# From this release on there is such a setting (go.dev/doc/go1.19).
LIMIT_SINCE = 19
# What the kernel takes by itself when memory is tight.
TAKEN_LINES = ("files", "image", "heap/released/lazyfree", "c/lazyfree")
# hierarchy.folder_of, where the process is in no cgroup of that kind.
NO_CGROUP = "names no hierarchy with the memory controller"
MIB = 1 << 20


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    if account.root.bytes_of(LINE) < MENTION_BYTES or _is_limited(snapshot[Runtime]):
        return None
    cgroup = _cgroup(snapshot)
    limit_bytes = _limit_bytes(cgroup) if cgroup else None
    if cgroup is None or limit_bytes is None:
        return None
    kept_bytes = account.rss_bytes - sum(account.root.bytes_of(line) for line in TAKEN_LINES)
    others_bytes = max(0, (cgroup.anon_bytes or 0) - account.rss_bytes)
    growth_bytes = _growth_bytes(snapshot, account)
    in_danger = kept_bytes + others_bytes + growth_bytes > limit_bytes * DANGER_PERCENT // 100
    if not in_danger:
        return None
    outside_bytes = others_bytes + max(0, kept_bytes - _gos_bytes(account))
    near = kept_bytes * 100 >= limit_bytes * NEAR_PERCENT
    return Finding(
        cause="no-gomemlimit",
        weight=PROBLEM if near and snapshot[Runtime].go_minor >= LIMIT_SINCE else NOTE,
        line=LINE,
        size_bytes=0,
        reclaimable_bytes=0,
        affects=("limit",),
        confidence="likely",
        summary=_summary(snapshot),
        evidence=_evidence(snapshot, limit_bytes),
        fixes=_fixes(snapshot, limit_bytes, outside_bytes),
    )


def _is_limited(runtime: Runtime) -> bool:
    """Whether a memory limit is in force. Raises Missing where that cannot be told."""
    return runtime.go_minor >= LIMIT_SINCE and runtime["memory_limit_bytes"] < NO_LIMIT_BYTES


def _cgroup(snapshot: Snapshot) -> Cgroup | None:
    """None where the process is in no memory cgroup. Raises Missing where that could not be found out."""
    try:
        return snapshot[Cgroup]
    except Missing as missing:
        if NO_CGROUP in missing.reason:
            return None
        raise


def _limit_bytes(cgroup: Cgroup) -> int | None:
    """The limit, None where there is none below the memory of the machine. Raises Missing."""
    if cgroup.limit_bytes is None:
        name = FILES[cgroup.version].limit
        if name in cgroup.unread and not _is_root(cgroup):
            raise Missing(f"cgroup {cgroup.path}: {name}: {cgroup.unread[name]}")
        return None
    return cgroup.limit_bytes if cgroup.host_bytes is None or cgroup.limit_bytes < cgroup.host_bytes else None


def _is_root(cgroup: Cgroup) -> bool:
    """The root of the second version has no such file (Documentation/admin-guide/cgroup-v2.rst)."""
    return cgroup.path == "/"


def _growth_bytes(snapshot: Snapshot, account: Account) -> int:
    """What RSS gains until the heap is at its goal: free pages that are resident already are taken first."""
    runtime = snapshot[Runtime]
    free_bytes = account.root.bytes_of("heap/retained") + account.root.bytes_of("heap/released")
    return max(0, runtime["NextGC"] - runtime["HeapAlloc"] - free_bytes)


def _gos_bytes(account: Account) -> int:
    released = account.root.bytes_of("heap/released/lazyfree")
    return account.root.bytes_of("heap") + account.root.bytes_of("runtime") - released


def _summary(snapshot: Snapshot) -> str:
    until = "with GOGC=off the heap just grows"
    if gc_percent(snapshot) != GOGC_OFF:
        until = f"the heap may grow beyond {DANGER_PERCENT} % of it before the next collection"
    missing = "no GOMEMLIMIT is set"
    if snapshot[Runtime].go_minor < LIMIT_SINCE:
        missing = "this Go has no GOMEMLIMIT (1.19 or later has)"
    return (
        f"An OOM kill is possible: Go does not know of the container's limit, {until}, and {missing}. "
        "RSS is {rss} now."
    )


def _evidence(snapshot: Snapshot, limit_bytes: int) -> list[Evidence]:
    sed = """sed -n 's/^ *"limit_bytes": \\([0-9]*\\).*/\\1/p'"""
    names = [("HeapAlloc", "objects, alive and garbage (HeapAlloc)", "bytes")]
    if snapshot[Runtime]["NextGC"] <= OFF_GOAL_BYTES:
        names.append(("NextGC", "the heap at which the next collection ends (NextGC)", "bytes"))
    names.append(("memory_limit_bytes", "GOMEMLIMIT in force (2^63 - 1: none)", ""))
    return [
        Evidence("the container's limit", limit_bytes, "bytes", f"whyrss --json {snapshot.target} | {sed}"),
        *evidence.figures(snapshot, *names),
    ]


def _fixes(snapshot: Snapshot, limit_bytes: int, outside_bytes: int) -> list[Fix]:
    runtime = snapshot[Runtime]
    room_bytes = limit_bytes * (100 - RESERVE_PERCENT) // 100 - outside_bytes
    needed_bytes = runtime["heap_marked_bytes"] * (100 + ROOM_PERCENT) // 100 + _other_bytes(runtime)
    if room_bytes < needed_bytes:
        least = -(-(needed_bytes + outside_bytes) * 100 // (100 - RESERVE_PERCENT) // MIB)
        text = f"a limit of at least {least} MiB for the container, what is alive leaves no room, then GOMEMLIMIT"
        return [Fix("limit", text, "costs", "memory of the machine")]
    if runtime.go_minor < LIMIT_SINCE:
        return _fixes_before(runtime, room_bytes)
    variable = f"GOMEMLIMIT={room_bytes // MIB}MiB"
    text = f"{variable}: the container's limit, less what is not Go's, less {RESERVE_PERCENT} %"
    return [Fix("env", text, "costs", "more collections, only where there is no room", variable)]


def _fixes_before(runtime: Runtime, room_bytes: int) -> list[Fix]:
    """For a Go without a memory limit: the GOGC by which the goal fits, for what is alive now."""
    marked_bytes = max(1, runtime["heap_marked_bytes"])
    percent = (room_bytes - _other_bytes(runtime) - marked_bytes) * 100 // marked_bytes
    text = f"GOGC={percent}, for as long as no more is alive than now"
    return [
        Fix("env", text, "costs", "more collections", f"GOGC={percent}"),
        Fix("upgrade", "Go 1.19 or later, which has GOMEMLIMIT", "safe"),
    ]


def _other_bytes(runtime: Runtime) -> int:
    """What of Go's memory is neither objects nor free heap: by mappedReady, before Go 1.19 by Sys, which contains
    pages that were never touched, too."""
    free_bytes = runtime["HeapIdle"] - runtime["HeapReleased"]
    ready_bytes = runtime.get("mapped_ready_bytes")
    if ready_bytes is None:
        ready_bytes = runtime["Sys"] - runtime["HeapReleased"]
    return max(0, ready_bytes - free_bytes - runtime["HeapAlloc"])


CAUSE = Cause("no-gomemlimit", "a container's limit that Go does not know of", look)
