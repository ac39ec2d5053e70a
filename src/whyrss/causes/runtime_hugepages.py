"""Memory that Go gave back, inside huge pages that its own release brings about: Go 1.21.0 to 1.21.3.

Why it is resident
    Go 1.20 and older keep huge pages off what they release (MADV_NOHUGEPAGE). Go 1.21.1 to 1.21.3 no longer do, and
    have no setting against it yet: with THP set to always, khugepaged makes huge pages over what was released. They
    also call MADV_COLLAPSE (Linux 6.1 and later) on chunks of 4 MiB that are dense again, whatever THP is set to,
    which fills in the few pages between. Go 1.21.0 advises MADV_HUGEPAGE on all new heap, so that with THP set to
    madvise, too, the first page that is used of 2 MiB brings all of them.

How it is measured
    As hugepage-refill: pages that the runtime's page map has as released and that are mapped by a huge page, line
    heap/released/hugepage. The release of Go tells the two apart. Known error: who made a huge page cannot be seen;
    with Go 1.21.0 only heap that was never used can be among them, since it advises MADV_NOHUGEPAGE before it
    releases.
    By hand: `go version` of the executable, and AnonHugePages of the heap's mappings in /proc/PID/smaps; with Go
    1.21.0 their VmFlags have hg.

When it is no problem
    Below 32 MiB or a quarter of RSS it is a note, below 4 MiB or a twentieth of RSS it is not mentioned. These
    releases should be left behind all the same.

Fix
    Go 1.21.4 or later, which advises nothing on the heap. With THP set to always that is not enough: khugepaged does
    the same to it (hugepage-refill), and GODEBUG=disablethp=1 is of Go 1.21.6.

References
    runtime/mpagealloc.go, grow, and mgcscavenge.go, scavengeOne, Go 1.21.0 (commit 8fa9e3beee); mgcscavenge.go,
    alloc, Go 1.21.1 (06df3292a8) and 1.21.4 (ef6993f327); mem_linux.go, Go 1.21.6 (c915215af6); golang/go issues
    55328, 61718, 63334, 64332.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.facts.hugepages import COLLAPSE, HUGEPAGE
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.policy import GoVersion, huge_fact_of
from whyrss.snapshot import Build, Host, Vmas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/released/hugepage"
# Two huge pages at the end of what the heap has grown to are there in every program of Go 1.21.0.
MENTION_BYTES = 4 << 20
MENTION_SHARE = 20
# As for hugepage-refill: what changes a limit.
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    huge_bytes = account.root.bytes_of(LINE)
    if huge_bytes < MENTION_BYTES or huge_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    go = GoVersion.parse(snapshot[Build].go_version or "")
    advice = huge_fact_of(go, "heap_advice")[0]
    if advice not in (HUGEPAGE, COLLAPSE):
        return None
    problem = huge_bytes >= PROBLEM_BYTES and huge_bytes * PROBLEM_SHARE >= account.rss_bytes
    return Finding(
        cause="runtime-hugepages",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=huge_bytes,
        reclaimable_bytes=huge_bytes,
        affects=("rss", "working_set", "limit"),
        confidence="certain" if advice == HUGEPAGE else "likely",
        summary=f"{{bytes}} of the {{rss}} RSS were given back and are there inside huge pages, which {go} does "
        f"not keep off and asks for with {advice}. They hold nothing, but count against a limit and can end in an "
        "OOM kill.",
        evidence=_evidence(snapshot, account, go),
        fixes=[_upgrade(snapshot)],
    )


def _upgrade(snapshot: Snapshot) -> Fix:
    """By whether the kernel would go on alone; where that cannot be told, the release that has it off for sure."""
    host = snapshot.get(Host)
    if host and host.thp and host.thp != "always":
        return Fix("upgrade", "Go 1.21.4 or later, which asks for no huge pages (golang/go issue 63334)", "safe")
    text = "Go 1.21.6 or later with GODEBUG=disablethp=1, which keeps khugepaged off (golang/go issue 64332)"
    return Fix("upgrade", text, "costs", "no huge pages: more TLB misses")


def _evidence(snapshot: Snapshot, account: Account, go: GoVersion) -> list[Evidence]:
    vmas = snapshot[Vmas]
    asked_bytes = sum(vma.get_bytes("Rss") for vma in vmas if vma.has_flag("hg"))
    asked = evidence.flagged(snapshot, "hg", asked_bytes, "Rss of mappings with MADV_HUGEPAGE (hg)")
    return [
        evidence.go_version(snapshot, str(go)),
        evidence.line(snapshot, account, LINE, "released pages inside huge pages"),
        evidence.smaps(snapshot, "AnonHugePages", vmas.total_bytes("AnonHugePages")),
        *([asked] if asked_bytes else []),
        *evidence.figures(snapshot, ("HeapReleased", "HeapReleased, resident or not", "bytes")),
        *evidence.huge_pages(snapshot),
    ]


CAUSE = Cause("runtime-hugepages", "given back inside huge pages that Go 1.21.0 to 1.21.3 asks for", look)
