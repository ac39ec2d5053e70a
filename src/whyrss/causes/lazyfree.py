"""Pages that were given back with MADV_FREE and that the kernel has not taken.

Why it is resident
    MADV_FREE (Linux >= 4.5) only marks pages as free to take. They stay in RSS until memory is tight or they
    are written again. Go 1.12 to 1.15 return heap memory this way, later versions do with
    GODEBUG=madvdontneed=0, and so do other allocators (jemalloc). HeapReleased grows while RSS stays.

How it is measured
    The kernel's own count, LazyFree in /proc/PID/smaps, summed over the heap's VMAs (or all others); by page the
    released pages of the heap that are resident and lazily freed, which is the same number. Known error: pages
    still in a CPU's batch (at most 31 folios per CPU) are not counted yet; pages written again are rightly not
    counted. Linux before 4.12 has no such field: not checked then.
    By hand: LazyFree in /proc/PID/smaps_rollup.

When it is no problem
    The kernel takes these pages before it kills anything, and the working set of cAdvisor and the kubelet does
    not contain them. It is a problem for whoever graphs, limits or scales by RSS. Below 1 MiB it is not
    mentioned, below 16 MiB or a twentieth of RSS it is a note.

Fix
    Now, without a restart: `whyrss reclaim PID`. For good: GODEBUG=madvdontneed=1 for Go 1.12 to 1.15, Go 1.16
    or later, or removing madvdontneed=0.

References
    madvise(2); Documentation/filesystems/proc.rst (LazyFree); go.dev/doc/go1.12, go.dev/doc/go1.16;
    golang/go issues 22439, 37585, 42330; google/cadvisor issue 2242.
"""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.snapshot import Build, Process, Vmas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

# Less than this says nothing: stray pages of every allocator that uses MADV_FREE.
MENTION_BYTES = 1 << 20
# Two of Go's 4 MiB chunks times a margin of two: what a healthy heap moves between two collections.
PROBLEM_BYTES = 16 << 20
# A graph of RSS that is off by less than a twentieth misleads nobody.
PROBLEM_SHARE = 20

# The releases that use MADV_FREE unasked (facts/go.py, "default_advice"; runtime/mem_linux.go, sysUnused).
FREE_BY_DEFAULT = ("go1.12", "go1.13", "go1.14", "go1.15")

GO_LINE = "heap/released/lazyfree"
OTHER_LINE = "c/lazyfree"


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    vmas = snapshot[Vmas]
    if len(vmas) and "LazyFree" not in vmas.fields:
        raise Missing("smaps of this kernel has no LazyFree (Linux 4.12 or later has)")
    line = max((GO_LINE, OTHER_LINE), key=account.root.bytes_of)
    size_bytes = account.root.bytes_of(line)
    if size_bytes < MENTION_BYTES:
        return None
    problem = size_bytes >= PROBLEM_BYTES and size_bytes * PROBLEM_SHARE >= account.rss_bytes
    return Finding(
        cause="lazyfree",
        weight=PROBLEM if problem else NOTE,
        line=line,
        size_bytes=size_bytes,
        reclaimable_bytes=size_bytes,
        affects=("rss",),
        confidence="certain",
        summary=_summary(line),
        evidence=_evidence(snapshot, vmas),
        fixes=_fixes(snapshot, line),
    )


def _summary(line: str) -> str:
    by = "by Go " if line == GO_LINE else ""
    return (
        f"{{bytes}} of the {{rss}} RSS were given back {by}with MADV_FREE; "
        "the kernel has not needed them yet. It is no leak and no danger: the kernel takes them before any OOM kill, "
        "and the kubelet's working set does not count them."
    )


def _asked_for(snapshot: Snapshot) -> str:
    """Where madvdontneed=0 was asked for: "GODEBUG", "-ldflags", or "" where it is not seen. (What Go makes of
    the setting, version by version, is `whyrss policy`; that the pages are lazily freed is measured.)"""
    process, build = snapshot.get(Process), snapshot.get(Build)
    try:
        if process and "madvdontneed=0" in process.environ.get("GODEBUG", "").split(","):
            return "GODEBUG"
    except Missing:
        pass
    linked = build.settings.get("-ldflags", "") if build else ""
    return "-ldflags" if "runtime.godebugDefault" in linked and "madvdontneed=0" in linked else ""


def _evidence(snapshot: Snapshot, vmas: Vmas) -> list[Evidence]:
    total = snapshot.cat.format("smaps") + " | awk '/^LazyFree:/ {s += $2} END {printf \"%d\\n\", s * 1024}'"
    rss = snapshot.cat.format("smaps") + " | awk '/^Rss:/ {s += $2} END {printf \"%d\\n\", s * 1024}'"
    return [
        Evidence("LazyFree in smaps, all mappings", vmas.total_bytes("LazyFree"), "bytes", total),
        Evidence("Rss in smaps, all mappings", vmas.total_bytes("Rss"), "bytes", rss),
    ]


def _fixes(snapshot: Snapshot, line: str) -> list[Fix]:
    fixes = []
    if snapshot.target.isdigit():
        text = f"whyrss reclaim {snapshot.target}"
        fixes.append(Fix("live", text, "costs", "page faults where the memory is used again"))
    if line == GO_LINE:
        fixes += _go_fixes(_asked_for(snapshot), snapshot.get(Build))
    return fixes


def _go_fixes(asked_for: str, build: Build | None) -> list[Fix]:
    cost = "page faults and CPU when freed memory is used again"
    text = {
        "GODEBUG": "remove madvdontneed=0 from GODEBUG",
        "-ldflags": "GODEBUG=madvdontneed=1, or build without -X runtime.godebugDefault=madvdontneed=0",
    }.get(asked_for, "GODEBUG=madvdontneed=1")
    fixes = [Fix("env", text, "costs", cost, "GODEBUG=madvdontneed=1")]
    if build and build.go_version and build.go_version.startswith(FREE_BY_DEFAULT):
        fixes.append(Fix("upgrade", "Go 1.16 or later, which returns memory with MADV_DONTNEED", "safe"))
    return fixes


CAUSE = Cause("lazyfree", "given back with MADV_FREE, not taken by the kernel", look)
