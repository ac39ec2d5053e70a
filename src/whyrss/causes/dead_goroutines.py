"""Structures of goroutines that have ended: the runtime keeps each that it ever made.

Why it is resident
    A goroutine is described by a structure, the runtime's type g, of 384 to 480 bytes on the heap. When it ends the
    structure is kept for the next `go` statement and never freed, so there are as many as there were goroutines at
    once at the highest peak. Their stacks are freed by the next collection.

How it is measured
    The runtime's list of all goroutines: the structures that are not in use, by what one takes of the heap, at most
    the line heap/live. They are not read where so many were never made. Known error: each is counted in whole
    although its page may not be resident.
    By hand: `go tool pprof -sample_index=inuse_space` on `/debug/pprof/heap` shows them under runtime.malg, those in
    use included; `whyrss --json PID` has the numbers of live and dead ones.

When it is no problem
    While at most ten are dead for each that lives, a peak of the same height may come again and would need them;
    this is silent then. Below 32 MiB or a quarter of RSS it is a note, below 4 MiB or a twentieth of RSS it is not
    mentioned.

Fix
    Bound how many run at once: a fixed number of workers, a semaphore before the `go` statement
    (golang.org/x/sync/errgroup, SetLimit). What is there already goes only with a restart. Each collection looks at
    all of them, so fewer also save CPU.

References
    runtime/proc.go (allgs, gfput, gfget), runtime/HACKING.md ("All g, m, and p objects are heap allocated, but are
    never freed"), runtime/mgcmark.go (markrootFreeGStacks); golang/go issues 9869, 34457, 65864, 66564.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.goroutines import Goroutines
from whyrss.runtime import Runtime

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/live"
# 10,000 goroutines: less is what a busy server may need at any moment.
MENTION_BYTES = 4 << 20
MENTION_SHARE = 20
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4
# Load varies by some times between day and night, which is no peak that went by.
DEAD_PER_LIVE = 10
# The largest slot in which a g lies: 376 bytes in Go 1.12, 456 in Go 1.27 (runtime/runtime2.go), and room for more.
SLOT_BYTES = 512


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    line_bytes, rss_bytes = account.root.bytes_of(LINE), account.rss_bytes
    made_bytes = snapshot[Runtime]["goroutines_made"] * SLOT_BYTES
    if line_bytes < MENTION_BYTES or made_bytes < MENTION_BYTES or made_bytes * MENTION_SHARE < rss_bytes:
        return None
    goroutines = snapshot[Goroutines]
    size_bytes = min(line_bytes, goroutines.dead * goroutines.g_bytes)
    if size_bytes < MENTION_BYTES or size_bytes * MENTION_SHARE < rss_bytes:
        return None
    if goroutines.dead < goroutines.live * DEAD_PER_LIVE:
        return None
    problem = size_bytes >= PROBLEM_BYTES and size_bytes * PROBLEM_SHARE >= rss_bytes
    return Finding(
        cause="dead-goroutines",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=size_bytes,
        reclaimable_bytes=size_bytes if problem else 0,
        affects=("rss", "working_set", "limit"),
        confidence="certain",
        summary=f"{{bytes}} of the {{rss}} RSS are the structures of {goroutines.dead} goroutines that have ended: "
        "Go keeps them for the next peak, and never gives them back. It counts against a limit, but does not grow "
        "while no peak is higher.",
        evidence=_evidence(snapshot, account, goroutines),
        fixes=[
            Fix("code", "bound how many run at once: a pool of workers, or a semaphore before `go`", "safe"),
            Fix("code", "a restart gives them back, until the next peak", "costs", "what a restart costs"),
        ],
    )


def _evidence(snapshot: Snapshot, account: Account, goroutines: Goroutines) -> list[Evidence]:
    found = [
        evidence.goroutines(snapshot, "dead", goroutines.dead, "goroutines that have ended"),
        evidence.goroutines(snapshot, "live", goroutines.live, "that have not"),
        evidence.goroutines(snapshot, "g_bytes", goroutines.g_bytes, "of the heap for each", "bytes"),
        evidence.line(snapshot, account, LINE, "allocated slots of resident spans"),
    ]
    if goroutines.dead_stack_bytes:
        stacks = "stacks kept with them, until the next collection (heap/stacks)"
        found.append(evidence.goroutines(snapshot, "dead_stack_bytes", goroutines.dead_stack_bytes, stacks, "bytes"))
    return found


CAUSE = Cause("dead-goroutines", "structures of goroutines that have ended", look)
