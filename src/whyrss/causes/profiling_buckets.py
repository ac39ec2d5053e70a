"""What the profiles of memory, blocking and mutexes remember: a bucket for each stack that they ever saw.

Why it is resident
    One allocation in 512 KiB is sampled for the heap profile, unasked, and each stack that has not been seen before
    gets a bucket with its frames, outside the heap and for good. Programs whose stacks differ all the time (deep
    recursion, parsers, generated code, a rate of 1) fill memory with them. Go 1.23 keeps up to 128 frames of a
    stack in place of 32.

How it is measured
    BuckHashSys, at most what is resident of the runtime's own memory where the buckets lie: its hash table, and what
    it allocates for good (children "persistent", "profiling buckets" and "guessed" of the line runtime). Known
    error: buckets in pages that are in swap count, if other parts of that memory make up for them; which of the
    three profiles has them is not told.
    By hand: BuckHashSys of `/debug/pprof/heap?debug=1`, or /memory/classes/profiling/buckets:bytes of
    runtime/metrics.

When it is no problem
    Every program has up to 1.4 MiB for the table, and some buckets. Below 32 MiB or an eighth of RSS it is a note,
    below 16 MiB or a twentieth of RSS it is not mentioned.

Fix
    GODEBUG=profstackdepth=32 (Go 1.23 and later) makes the buckets of deep stacks smaller, and fewer, since those
    that differ only farther out share one: 60,000 stacks of 110 frames took 60 MiB by Go 1.27, and next to nothing
    when cut. GODEBUG=memprofilerate=0 takes no samples of memory at all. In the code: no runtime.MemProfileRate
    below its default, no rates for block and mutex profiles where nobody looks at them. What is there already goes
    only with a restart. It is part of what GOMEMLIMIT bounds, so it takes the heap's room.

References
    runtime/mprof.go (stkbucket, newBucket), runtime/extern.go (memprofilerate, profstackdepth); golang/go issues
    42347, 69590, 71308; DataDog/dd-trace-go issue 1025.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.finding import NOTE, PROBLEM, Cause, Finding
from whyrss.fix import Fix
from whyrss.runtime import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "runtime"
# Its table is mapped by itself, the buckets are allocated for good; what is not known by its address is "guessed".
PARTS = ("persistent", "profiling buckets", "guessed")
FIGURE = "BuckHashSys"
# Ten times what a server has whose stacks are ordinary.
MENTION_BYTES = 16 << 20
MENTION_SHARE = 20
# Nobody needs them but whoever looks at a profile: an eighth of RSS is worth a setting.
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 8
# From this release on stacks are kept to a depth of 128, which GODEBUG can bound (go.dev/doc/go1.23).
DEPTH_SINCE = 23
DEPTH_BEFORE = 32


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    rss_bytes = account.rss_bytes
    resident_bytes = sum(account.root.bytes_of(f"{LINE}/{part}") for part in PARTS)
    if resident_bytes < MENTION_BYTES or resident_bytes * MENTION_SHARE < rss_bytes:
        return None
    runtime = snapshot[Runtime]
    size_bytes = min(runtime[FIGURE], resident_bytes)
    if size_bytes < MENTION_BYTES or size_bytes * MENTION_SHARE < rss_bytes:
        return None
    problem = size_bytes >= PROBLEM_BYTES and size_bytes * PROBLEM_SHARE >= rss_bytes
    return Finding(
        cause="profiling-buckets",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=size_bytes,
        reclaimable_bytes=size_bytes if problem else 0,
        affects=("rss", "working_set", "limit"),
        confidence="certain",
        summary="{bytes} of the {rss} RSS are what profiles remember of stacks: outside the heap, for good, and more "
        "with each stack that is new. It counts against a limit and against GOMEMLIMIT, and can end in an OOM kill.",
        evidence=[
            evidence.figure(snapshot, FIGURE, "buckets of the memory, block and mutex profiles (BuckHashSys)"),
            *(
                evidence.line(snapshot, account, f"{LINE}/{part}", f"resident under runtime/{part}")
                for part in PARTS
                if account.root.bytes_of(f"{LINE}/{part}")
            ),
        ],
        fixes=_fixes(runtime),
    )


def _fixes(runtime: Runtime) -> list[Fix]:
    fixes = []
    if runtime.go_minor >= DEPTH_SINCE:
        variable = f"GODEBUG=profstackdepth={DEPTH_BEFORE}"
        text = f"{variable}: buckets of deep stacks as small as before Go 1.23"
        fixes.append(Fix("env", text, "costs", f"profiles show {DEPTH_BEFORE} frames of a stack", variable))
    variable = "GODEBUG=memprofilerate=0"
    text = f"{variable}, unless the program sets runtime.MemProfileRate itself: no samples, no new buckets"
    fixes.append(Fix("env", text, "costs", "no heap profile", variable))
    text = "runtime.MemProfileRate, SetBlockProfileRate, SetMutexProfileFraction: fewer samples, or none"
    fixes.append(Fix("code", text, "costs", "profiles that show less"))
    return fixes


CAUSE = Cause("profiling-buckets", "what profiles remember of every stack", look)
