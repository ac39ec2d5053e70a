"""Large objects with pointers that are resident although nobody wrote to them: Go 1.24.0 to 1.24.5.

Why it is resident
    Memory that comes fresh from the kernel is zero, and no page of it is resident before it is touched. These
    releases clear a new object above 32 KiB that has pointers all the same, so that a large slice or map is resident
    as a whole from the start, however little of it is used. Other releases leave such memory alone.

How it is measured
    The pages of objects of at least 1 MiB with pointers that are resident and hold nothing but zeros, by a look at
    them (of at most 256 MiB; of more a sample, which is scaled up); part of line heap/live. Known error: memory that
    is used again has to be cleared by every release, and what the program wrote may be zeros too, both of which
    count; objects of 32 KiB to 1 MiB do not.
    By hand: `go version` of the executable. RSS grows by the size of such an object when it is made, while HeapAlloc
    and every other figure of the runtime is the same as with other releases. Its pages: `dd if=/proc/PID/mem bs=4096
    skip=ADDRESS/4096 count=PAGES | od -An -v -tx8 -w4096 | grep -vc '[1-9a-f]'` counts those that are zero.

When it is no problem
    Where the program soon fills these objects anyway. Below 32 MiB or a quarter of RSS it is a note, below 4 MiB or a
    twentieth of RSS it is not mentioned.

Fix
    Go 1.24.6 or later, or 1.25: the same program takes less, without a change.

References
    runtime/malloc.go, mallocgcLarge, Go 1.24.0 to 1.24.5 (CL 614257) and 1.24.6 (commit 390ffce7d60a); golang/go
    issues 72991, 73800; www.datadoghq.com/blog/engineering/go-memory-regression (a fifth more RSS).
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.facts.largeobjects import CLEARS, ROWS
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.policy import GoVersion
from whyrss.shape import Shape, Zeros
from whyrss.snapshot import Build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/live"
# Four of the smallest objects that are looked at.
MENTION_BYTES = 4 << 20
MENTION_SHARE = 20
# What changes a limit.
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4
ZERO = "zeros in resident pages of large objects with pointers"
LOOKED = "resident pages of such objects that were looked at"


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    go = GoVersion.parse(snapshot[Build].go_version or "")
    if not _clears(go):
        return None
    zeros = snapshot[Zeros]
    size_bytes = min(_scaled_bytes(snapshot[Shape], zeros), account.root.bytes_of(LINE))
    if size_bytes < MENTION_BYTES or size_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    problem = size_bytes >= PROBLEM_BYTES and size_bytes * PROBLEM_SHARE >= account.rss_bytes
    return Finding(
        cause="large-zeroed",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=size_bytes,
        reclaimable_bytes=size_bytes,
        affects=("rss", "working_set", "limit"),
        confidence="likely",
        summary=f"{{bytes}} of the {{rss}} RSS are zeros in large objects with pointers, which {go} clears without "
        "need when it makes them. It counts against a limit and can end in an OOM kill.",
        evidence=[
            evidence.go_version(snapshot, str(go)),
            _zeros(snapshot, ZERO, zeros.zero_bytes, 2),
            _zeros(snapshot, LOOKED, zeros.looked_bytes, 1),
            evidence.line(snapshot, account, LINE, "allocated slots of resident spans"),
        ],
        fixes=[Fix("upgrade", "Go 1.24.6 or later, or 1.25 (golang/go issue 73800)", "safe")],
    )


def _clears(go: GoVersion) -> bool:
    release = go.minor, go.patch
    return any(value for since, before, fact, value, _ in ROWS if fact == CLEARS and since <= release < before)


def _scaled_bytes(shape: Shape, zeros: Zeros) -> int:
    """The zeros in all of these objects, by those in what was looked at."""
    resident_bytes = sum(each.resident_bytes for each in shape.large if not each.noscan)
    if not 0 < zeros.looked_bytes < resident_bytes:
        return zeros.zero_bytes
    return zeros.zero_bytes * resident_bytes // zeros.looked_bytes


def _zeros(snapshot: Snapshot, what: str, value: int, place: int) -> Evidence:
    """The first or second number of the recording's pair; of a live process what a second look says."""
    if snapshot.target.isdigit():
        sed = f"""sed -n '/^ *"what": "{what}"/{{n;s/[^0-9]//gp;q}}'"""
        return Evidence(what, value, "bytes", f"whyrss --json {snapshot.target} | {sed}")
    pair = """grep -a -o '"zeros":\\[[0-9]*,[0-9]*' | tr '[' ',' | cut -d,"""
    return Evidence(what, value, "bytes", f"{snapshot.cat.format('heap')} | head -n 1 | {pair} -f{place + 1}")


CAUSE = Cause("large-zeroed", "large objects that Go 1.24.0 to 1.24.5 clears without need", look)
