"""Goroutines that wait for something that does not come, each with its stack.

Why it is resident
    A goroutine ends when its function returns, and nothing else ends it: the collector keeps one that waits on a
    channel that nobody has, with its stack, its structure, and all that it refers to. Requests, retries or
    subscriptions that each leave one behind add up until the memory is gone.

How it is measured
    The goroutines by the function that made them. Of one, at least 1000 wait for a channel, a select, a lock or a
    semaphore since before the last collection; they are at least 90 % of those that it made, and all such together
    at least 90 % of the program's goroutines. The bytes are their stacks, line heap/stacks. Known error: workers of
    a pool that has nothing to do look the same, hence "likely"; and where more than a tenth of the goroutines do
    something else, a leak is not told from them. Not counted are what they refer to on the heap, their structures,
    and those in "IO wait" or "sleep": these are idle connections and timers. Before the first collection this is
    silent.
    By hand: `curl 'http://HOST:PORT/debug/pprof/goroutine?debug=1'`, and again later: the count at the top of its
    first stack grows; the full stacks (debug=2) say for how many minutes each waits.

When it is no problem
    Below 32 MiB of stacks or a quarter of RSS it is a note, since a pool may be meant to be as large. Below 8 MiB or
    a twentieth of RSS it is not mentioned.

Fix
    In the code: whoever starts a goroutine has to be able to end it. Close the channel, give it a context and cancel
    that, buffer the channel of an answer that may come too late, unlock in all paths. From Go 1.27 on the profile
    /debug/pprof/goroutineleak has those that can never be woken (Go 1.26: GOEXPERIMENT=goroutineleakprofile).

References
    runtime/runtime2.go (waitReason; g.waitsince, which runtime/mgcmark.go sets); runtime/pprof (goroutine,
    goroutineleak); go.dev/doc/diagnostics; syncthing/syncthing issue 2589.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.goroutines import Goroutines
from whyrss.runtime import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.goroutines import Site
    from whyrss.snapshot import Snapshot

LINE = "heap/stacks"
# 1000 goroutines of 8 KiB, which is what a handler of a server needs.
MENTION_BYTES = 8 << 20
# Of healthy programs the stacks are up to 2 %.
MENTION_SHARE = 20
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4
# Pools of workers are smaller, since more than some for each processor do not work faster.
LEAST_COUNT = 1000
# An idle connection has a goroutine or two that wait for a channel, and one in "IO wait", which is a third at least.
STUCK_PERCENT = 90
# What only another goroutine of the program can end (runtime/runtime2.go, waitReasonStrings of Go 1.12 to 1.27); up
# to Go 1.19 the locks wait in "semacquire". With " (nil chan)", " (durable)", " (leaked)" and so on they are the
# same; a coroutine is an iter.Pull that was not stopped.
BLOCKED = (
    *("chan receive", "chan send", "select", "semacquire", "sync.Cond.Wait", "sync.Mutex.Lock", "sync.RWMutex.Lock"),
    *("sync.RWMutex.RLock", "sync.WaitGroup.Wait", "coroutine"),
)
# The collector has found that nothing can wake it (status _Gleaked, Go 1.26 and later).
LEAKED = "(leaked)"
# From this release on there is a profile of these (runtime/pprof).
LEAK_PROFILE_SINCE = 27
SITES_SHOWN = 3


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    line_bytes, rss_bytes = account.root.bytes_of(LINE), account.rss_bytes
    if line_bytes < MENTION_BYTES or line_bytes * MENTION_SHARE < rss_bytes:
        return None
    goroutines = snapshot[Goroutines]
    sites = _suspects(goroutines)
    size_bytes = min(line_bytes, sum(site.stack_bytes for _, site in sites))
    if size_bytes < MENTION_BYTES or size_bytes * MENTION_SHARE < rss_bytes:
        return None
    if goroutines.unnamed:
        raise Missing(f"who made the goroutines cannot be told: {goroutines.unnamed}")
    problem = size_bytes >= PROBLEM_BYTES and size_bytes * PROBLEM_SHARE >= rss_bytes
    leaked = sum(count for _, site in sites for state, count in site.states.items() if state.endswith(LEAKED))
    return Finding(
        cause="goroutine-leak",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=size_bytes,
        reclaimable_bytes=size_bytes if problem else 0,
        affects=("rss", "working_set", "limit"),
        confidence="certain" if _is_most(leaked, goroutines.live - goroutines.system) else "likely",
        summary=_summary(sites),
        evidence=_evidence(snapshot, account, goroutines, sites),
        fixes=_fixes(snapshot, sites[0][1]),
    )


def _suspects(goroutines: Goroutines) -> list[tuple[int, Site]]:
    """The sites of which nearly all are stuck, each with its place among all sites; empty where something else is
    as usual as these."""
    sites = [(number, site) for number, site in enumerate(goroutines.sites, 1) if _stuck(site) >= LEAST_COUNT]
    sites = [(number, site) for number, site in sites if _is_most(_stuck(site), site.count)]
    together = sum(_stuck(site) for _, site in sites)
    return sites if _is_most(together, goroutines.live - goroutines.system) else []


def _stuck(site: Site) -> int:
    """How many wait for the program itself, and did already when it was last collected."""
    blocked = sum(count for state, count in site.states.items() if state.partition(" (")[0] in BLOCKED)
    return min(blocked, site.waiting_since_gc)


def _is_most(part: int, whole: int) -> bool:
    return part > 0 and part * 100 >= whole * STUCK_PERCENT


def _summary(sites: list[tuple[int, Site]]) -> str:
    count = sum(_stuck(site) for _, site in sites)
    first = sites[0][1]
    makers = f"{'most of them ' if len(sites) > 1 else ''}made by {first.maker}"
    return (
        f"{{bytes}} of the {{rss}} RSS are the stacks of {count} goroutines, {makers}, that wait ({_state(first)}) "
        "since before the last collection: a leak, unless a pool is meant to be as large. It counts against a limit, "
        "and if it grows it ends in an OOM kill."
    )


def _state(site: Site) -> str:
    """The state of most of them; the first by name of several."""
    return min(site.states, key=lambda state: (-site.states[state], state))


def _evidence(
    snapshot: Snapshot, account: Account, goroutines: Goroutines, sites: list[tuple[int, Site]]
) -> list[Evidence]:
    found = [
        evidence.line(snapshot, account, LINE, "resident stacks of goroutines"),
        evidence.goroutines(snapshot, "live", goroutines.live, "goroutines, the runtime's included"),
    ]
    for number, site in sites[:SITES_SHOWN]:
        since, stacks = f"of {site.count} made by {site.maker} wait since before the last collection", "their stacks"
        found.append(evidence.site(snapshot, number, "waiting_since_gc", site.waiting_since_gc, since))
        found.append(evidence.site(snapshot, number, "stack_bytes", site.stack_bytes, stacks, "bytes"))
    return found


def _fixes(snapshot: Snapshot, site: Site) -> list[Fix]:
    runtime = snapshot.get(Runtime)
    known = runtime is not None and runtime.go_minor >= LEAK_PROFILE_SINCE
    profile = "/debug/pprof/goroutineleak" if known else "/debug/pprof/goroutine"
    text = (
        f"let those of {site.maker} end: close the channel or cancel the context that they wait for; "
        f"curl 'http://HOST:PORT{profile}?debug=1' shows the lines where they wait"
    )
    return [Fix("code", text, "safe")]


CAUSE = Cause("goroutine-leak", "goroutines that wait for something that does not come", look)
