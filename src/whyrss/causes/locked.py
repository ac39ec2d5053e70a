"""Memory that Go gave back in vain: it is locked.

Why it is resident
    mlockall(MCL_CURRENT | MCL_FUTURE) locks all memory of the process, also what is mapped later. On locked memory
    madvise fails with EINVAL. Go 1.20 and older ignore that; Go 1.21 and later map new memory over the range, which
    MCL_FUTURE makes resident at once. Even heap that was never used is.

How it is measured
    Resident pages that the runtime's page map has as released or never used, in mappings with VmFlags lo: line
    heap/released/locked. Known error: locked memory of the runtime and of libraries that nobody uses is not in it.
    By hand: VmLck in /proc/PID/status above 0 and lo in the VmFlags of the heap's mappings; HeapReleased is what Go
    believes to have given back.

When it is no problem
    Programs that must not wait for a page fault lock on purpose and count on it. Below 32 MiB or a quarter of RSS it
    is a note, below 4 MiB or a twentieth of RSS it is not mentioned.

Fix
    Lock what needs it (mlock of the pages with the secrets) instead of everything. Where all has to be locked:
    MCL_ONFAULT (Linux 4.4 and later) with Go 1.21 or later, whose new mapping then becomes resident by use only
    (measured: RSS falls from 135 MiB to 5 MiB; with Go 1.19 it stays).

References
    mlock(2), MCL_ONFAULT; madvise(2), EINVAL; runtime/mem_linux.go, sysUnusedOS (commit 5ffdc1f15c); golang/go issue
    28114; openbao/openbao issue 354; etcd-io/bbolt issue 760.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.policy import GoVersion, maps_anew
from whyrss.read.status import size_bytes
from whyrss.snapshot import Build, Status, Vmas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/released/locked"
# A heap grows by 4 MiB at a time, of which the rest is there unused when it is locked.
MENTION_BYTES = 4 << 20
MENTION_SHARE = 20
# An arena of 64 MiB that Go up to 1.16 maps and a small program locks unused is above it, and should be known.
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    locked_bytes = account.root.bytes_of(LINE)
    if locked_bytes < MENTION_BYTES or locked_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    problem = locked_bytes >= PROBLEM_BYTES and locked_bytes * PROBLEM_SHARE >= account.rss_bytes
    return Finding(
        cause="locked",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=locked_bytes,
        reclaimable_bytes=locked_bytes,
        affects=("rss", "working_set", "limit"),
        confidence="certain",
        summary="{bytes} of the {rss} RSS were given back by Go in vain: the memory is locked (mlockall). It counts "
        "against a limit, cannot be taken or swapped, and can end in an OOM kill.",
        evidence=_evidence(snapshot, account),
        fixes=_fixes(snapshot),
    )


def _evidence(snapshot: Snapshot, account: Account) -> list[Evidence]:
    status = snapshot.get(Status)
    locked_bytes = size_bytes(status.fields, "VmLck") if status else None
    resident_bytes = sum(vma.get_bytes("Rss") for vma in snapshot[Vmas] if vma.has_flag("lo"))
    found = [
        evidence.line(snapshot, account, LINE, "released pages in locked mappings"),
        evidence.flagged(snapshot, "lo", resident_bytes, "Rss of locked mappings (VmFlags lo)"),
        *evidence.figures(snapshot, ("HeapReleased", "HeapReleased, which Go believes to be gone", "bytes")),
    ]
    if locked_bytes is not None:
        found.append(evidence.status(snapshot, "VmLck", locked_bytes, "VmLck, address space that is locked"))
    return found


def _fixes(snapshot: Snapshot) -> list[Fix]:
    text = "lock only the pages that need it (mlock), or turn locking off (disable_mlock in Vault and OpenBao)"
    some = Fix("code", text, "costs", "what is not locked can reach swap, where there is any")
    on_fault, cost = "mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)", "page faults at first use"
    if _maps_anew(snapshot):
        return [some, Fix("code", f"{on_fault}: what Go releases then leaves RSS", "costs", cost)]
    return [some, Fix("upgrade", f"Go 1.21 or later, and {on_fault}", "costs", cost)]


def _maps_anew(snapshot: Snapshot) -> bool:
    """False also where the release is not known: to name the one that is needed is never wrong."""
    try:
        return maps_anew(GoVersion.parse(snapshot[Build].go_version or ""))
    except Missing:
        return False


CAUSE = Cause("locked", "given back, but locked in memory", look)
