"""Memory that Go gave back, and that is there again: the kernel made a huge page around it.

Why it is resident
    A transparent huge page is 2 MiB or nothing. With THP set to always, khugepaged makes one of any 2 MiB block that
    has a single page (khugepaged/max_ptes_none is 511 of 512 by default), and fills the rest with zeroes; the first
    touch of an empty block gets a whole one at once. Go 1.20 and older advise MADV_NOHUGEPAGE around what they
    release; Go 1.21.4 and later advise nothing, so that released memory comes back.

How it is measured
    Pages that the runtime's page map has as released and that are mapped by a huge page, line heap/released/hugepage
    of the account. Known error: before Linux 6.7 it cannot always be told which pages are huge: where there are some,
    and released pages that are there for no other reason, it is not checked. Who made a huge page cannot be seen.
    By hand: AnonHugePages of the heap's mappings in /proc/PID/smaps; it is this cause where RSS is well above
    Sys - HeapReleased by about as much.

When it is no problem
    A heap that soon grows into these pages again finds them ready. Below 32 MiB or a quarter of RSS it is a note,
    below 4 MiB or a twentieth of RSS it is not mentioned.

Fix
    GODEBUG=disablethp=1 (Go 1.21.6 and later), or for the whole machine khugepaged/max_ptes_none = 0, or THP set to
    madvise. On Linux 6.12 and later a lower max_ptes_none also lets the kernel split such pages under pressure; at
    511 it does not (mm/huge_memory.c, thp_underused).

References
    go.dev/doc/gc-guide, Linux transparent huge pages; Documentation/admin-guide/mm/transhuge.rst;
    runtime/mem_linux.go; golang/go issues 8832, 55328, 61718, 64332.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.errors import Missing
from whyrss.facts.hugepages import COLLAPSE, HUGEPAGE
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.policy import GoVersion, huge_fact_of, parse_godebug
from whyrss.read.pagemap import Pages
from whyrss.snapshot import Build, Host, HugePages, Process, Vmas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/released/hugepage"
OTHER_LINE = "heap/released/other"
FILES = "/sys/kernel/mm/transparent_hugepage"
# Two huge pages at the end of what the heap has grown to are there in every program with THP set to always.
MENTION_BYTES = 4 << 20
MENTION_SHARE = 20
# The Go guide to the collector counts on up to half of a small heap; a quarter of RSS changes a limit.
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4
COST = "no huge pages: more TLB misses, some percent of CPU in large heaps"


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    huge_bytes = account.root.bytes_of(LINE)
    if huge_bytes < MENTION_BYTES or huge_bytes * MENTION_SHARE < account.rss_bytes:
        _tell(snapshot, account)
        return None
    go = GoVersion.parse(snapshot[Build].go_version or "")
    if huge_fact_of(go, "heap_advice")[0] in (HUGEPAGE, COLLAPSE):
        return None  # runtime-hugepages
    problem = huge_bytes >= PROBLEM_BYTES and huge_bytes * PROBLEM_SHARE >= account.rss_bytes
    host = snapshot.get(Host)
    return Finding(
        cause="hugepage-refill",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=huge_bytes,
        reclaimable_bytes=huge_bytes,
        affects=("rss", "working_set", "limit"),
        confidence="certain" if host and host.thp == "always" else "likely",
        summary="{bytes} of the {rss} RSS were given back by Go and came back inside huge pages that the kernel "
        "made. They hold nothing, but count against a limit and can end in an OOM kill.",
        evidence=_evidence(snapshot, account, go),
        fixes=_fixes(snapshot, go),
    )


def _tell(snapshot: Snapshot, account: Account) -> None:
    """Raises Missing where pages that may be meant cannot be told from others."""
    pages, vmas = snapshot.get(Pages), snapshot.get(Vmas)
    if pages is None or vmas is None or "huge pages" not in pages.reasons:
        return
    doubtful_bytes = min(account.root.bytes_of(OTHER_LINE), vmas.total_bytes("AnonHugePages"))
    if doubtful_bytes >= MENTION_BYTES and doubtful_bytes * MENTION_SHARE >= account.rss_bytes:
        raise Missing(pages.reasons["huge pages"])


def _evidence(snapshot: Snapshot, account: Account, go: GoVersion) -> list[Evidence]:
    vmas = snapshot[Vmas]
    return [
        evidence.line(snapshot, account, LINE, "released pages inside huge pages"),
        evidence.smaps(snapshot, "AnonHugePages", vmas.total_bytes("AnonHugePages")),
        *evidence.figures(snapshot, ("HeapReleased", "HeapReleased, resident or not", "bytes")),
        *evidence.huge_pages(snapshot),
        evidence.go_version(snapshot, str(go)),
    ]


def _fixes(snapshot: Snapshot, go: GoVersion) -> list[Fix]:
    fixes = []
    if not huge_fact_of(go, "has_disablethp")[0]:
        text = "Go 1.22 or later, with GODEBUG=disablethp=1"
        fixes.append(Fix("upgrade", text, "costs", COST))
    elif not _disabled(snapshot, go):
        text = "GODEBUG=disablethp=1 (Go's documentation says that a later release will not have it)"
        fixes.append(Fix("env", text, "costs", COST, "GODEBUG=disablethp=1"))
    return fixes + _of_the_machine(snapshot)


def _of_the_machine(snapshot: Snapshot) -> list[Fix]:
    """Where THP is set to always; otherwise the program itself, or somebody from outside, asked for huge pages."""
    host, huge = snapshot.get(Host), snapshot.get(HugePages)
    if host is None or host.thp != "always":
        return []
    cost = f"for every program of the machine; {COST}"
    commands = [f"echo madvise > {FILES}/enabled"]
    if huge is None or huge.max_ptes_none:
        commands.insert(0, f"echo 0 > {FILES}/khugepaged/max_ptes_none")
    return [Fix("kernel", command, "costs", cost) for command in commands]


def _disabled(snapshot: Snapshot, go: GoVersion) -> bool:
    """Whether disablethp is set already, as far as its environment can be read."""
    process = snapshot.get(Process)
    try:
        godebug = process.environ.get("GODEBUG", "") if process else ""
    except Missing:
        return False
    return parse_godebug(godebug, go).get("disablethp", "0").strip("-0") != ""


CAUSE = Cause("hugepage-refill", "given back, but refilled by transparent huge pages", look)
