"""Stacks of goroutines: many at once, or deep ones.

Why it is resident
    A stack begins with 2 KiB, from Go 1.19 on with the average of what the last collection found
    (adaptivestackstart), and doubles when it is full. Recursion without a bound and large arrays in variables make
    it deep. A collection halves a stack of which less than a quarter is in use (GODEBUG=gcshrinkstackoff=1 forbids
    it), and only collections give back those of goroutines that have ended.

How it is measured
    The resident pages of spans for stacks, line heap/stacks, without what goroutine-leak explains of them. Deep are
    the stacks of those goroutines whose maker's have 64 KiB or more each on the average. Known error: a stack is
    counted in its whole size there, while the pages that its goroutine has not come to are not resident.
    By hand: StackInuse of `/debug/pprof/heap?debug=1`, and the number of goroutines at the head of
    `/debug/pprof/goroutine?debug=1`, whose longest stacks with the most goroutines are the deep ones.

When it is no problem
    Many goroutines with ordinary stacks are at work, or wait for the network, and take what they need: a note. So
    are deep stacks below 32 MiB or a quarter of RSS. Below 4 MiB or a twentieth of RSS it is not mentioned.

Fix
    In the code: a loop with a list of its own in place of recursion, a bound for what a request may nest, buffers on
    the heap in place of arrays in variables; fewer goroutines at once. Without gcshrinkstackoff. Free stacks go with
    the next collection.

References
    runtime/stack.go (newstack, shrinkstack, gcComputeStartingStackSize), runtime/extern.go (gcshrinkstackoff,
    adaptivestackstart); golang/go issues 18138, 18625, 20010, 61052; go.dev/doc/go1.19.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.goroutines import Goroutines
from whyrss.snapshot import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.goroutines import Site
    from whyrss.snapshot import Snapshot

LINE = "heap/stacks"
MENTION_BYTES = 4 << 20
# Of healthy programs the stacks are up to 2 %.
MENTION_SHARE = 20
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4
# A handler of HTTP with TLS and JSON takes 8 to 32 KiB; more is deep recursion or large arrays in variables.
DEEP_BYTES = 64 << 10
# Of the line, one in so many: what most of it is, is what it is about.
MOST_SHARE = 2
DEEP, KEPT, MANY = "deep", "kept", "many"
# A site with less of the stacks says nothing about why.
SITE_SHARE = 10
SITES_SHOWN = 3
NO_SHRINKING = "gcshrinkstackoff=1"


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    line_bytes, rss_bytes = account.root.bytes_of(LINE), account.rss_bytes
    if line_bytes < MENTION_BYTES or line_bytes * MENTION_SHARE < rss_bytes:
        return None
    goroutines = snapshot[Goroutines]
    deep = [site for site in goroutines.sites if site.stack_bytes >= site.count * DEEP_BYTES]
    deep.sort(key=lambda site: -site.stack_bytes)
    deep_bytes = min(line_bytes, sum(site.stack_bytes for site in deep))
    problem = deep_bytes >= PROBLEM_BYTES and deep_bytes * PROBLEM_SHARE >= rss_bytes
    kept_bytes = line_bytes - goroutines.stack_bytes
    about = DEEP if problem or deep_bytes * MOST_SHARE >= line_bytes else ""
    about = about or (KEPT if kept_bytes * MOST_SHARE >= line_bytes else MANY)
    return Finding(
        cause="goroutine-stacks",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=line_bytes,
        reclaimable_bytes=deep_bytes if problem else 0,
        affects=("rss", "working_set", "limit"),
        confidence="certain",
        summary=_summary(goroutines, deep, about),
        evidence=_evidence(snapshot, account, goroutines, deep),
        fixes=_fixes(snapshot, deep, about),
    )


def _summary(goroutines: Goroutines, deep: list[Site], about: str) -> str:
    count = goroutines.live - goroutines.system
    what = f"are the stacks of {count} goroutines"
    if about == DEEP:
        count = sum(site.count for site in deep)
        what = f"are stacks, and {count} goroutines have deep ones, above all those made by {deep[0].maker}"
    elif about == KEPT:
        what = "are stacks, most of them left by goroutines that have ended, until the next collection"
    return f"{{bytes}} of the {{rss}} RSS {what}. It counts against a limit."


def _evidence(snapshot: Snapshot, account: Account, goroutines: Goroutines, deep: list[Site]) -> list[Evidence]:
    sites = sorted(enumerate(goroutines.sites, 1), key=lambda item: (item[1] not in deep, -item[1].stack_bytes))
    found = [
        evidence.line(snapshot, account, LINE, "resident stacks of goroutines"),
        evidence.goroutines(snapshot, "live", goroutines.live, "goroutines, the runtime's included"),
        evidence.goroutines(snapshot, "stack_bytes", goroutines.stack_bytes, "all their stacks", "bytes"),
    ]
    if goroutines.dead_stack_bytes:
        what = "stacks of goroutines that have ended"
        found.append(evidence.goroutines(snapshot, "dead_stack_bytes", goroutines.dead_stack_bytes, what, "bytes"))
    for number, site in sites[:SITES_SHOWN]:
        if site.stack_bytes * SITE_SHARE >= goroutines.stack_bytes:
            what = f"stacks of the {site.count} made by {site.maker}"
            found.append(evidence.site(snapshot, number, "stack_bytes", site.stack_bytes, what, "bytes"))
    return found


def _fixes(snapshot: Snapshot, deep: list[Site], about: str) -> list[Fix]:
    text = {
        DEEP: f"less recursion and fewer large arrays in variables in what {deep[0].maker if deep else ''} starts: "
        "curl 'http://HOST:PORT/debug/pprof/goroutine?debug=1' shows the stacks",
        KEPT: "debug.FreeOSMemory() after a peak, where collections are rare",
        MANY: "fewer goroutines at once: a pool of workers, or a semaphore before `go`",
    }[about]
    fixes = [Fix("code", text, "costs", "a collection")] if about == KEPT else [Fix("code", text, "safe")]
    if _never_shrinks(snapshot):
        text = f"remove {NO_SHRINKING} from GODEBUG: each collection halves stacks that are hardly used"
        fixes.insert(0, Fix("env", text, "costs", "stacks that grow again are copied"))
    return fixes


def _never_shrinks(snapshot: Snapshot) -> bool:
    """Whether the environment forbids it; where that cannot be read, it is not known to."""
    process = snapshot.get(Process)
    try:
        return process is not None and NO_SHRINKING in process.environ.get("GODEBUG", "").split(",")
    except Missing:
        return False


CAUSE = Cause("goroutine-stacks", "stacks of many goroutines, or deep ones", look)
