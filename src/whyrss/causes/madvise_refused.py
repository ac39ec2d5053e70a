"""Memory that Go gave back in vain: the kernel refused madvise.

Why it is resident
    A seccomp filter that does not let madvise through, or a kernel built without CONFIG_ADVISE_SYSCALLS. Go 1.20 and
    older ignore the error and count the memory as released; Go 1.21 and later see that it fails and map new memory
    over the range instead, so that it leaves RSS.

How it is measured
    Pages that the runtime's page map has as released and that are resident for no reason that can be seen: not
    lazily freed, not in a huge page, not locked; line heap/released/other. It has to be half of what was released and
    used before (HeapReleased less an arena of 64 MiB), since a refusal leaves all of it. Known error: that madvise
    fails is concluded, not seen; huge pages below 2 MiB (hugepages-64kB and others, Linux 6.8) look the same. Go 1.20
    and older also advise against huge pages around what they release: where the heap's mappings have the mark of
    that, madvise did work once, and it is at most a note.
    By hand: Seccomp is 2 in /proc/PID/status; `strace -e madvise` shows EPERM or ENOSYS; LazyFree, AnonHugePages and
    VmLck are near 0, and nh is not in the VmFlags of the heap, while HeapReleased does not leave RSS.

When it is no problem
    Below 32 MiB or a quarter of RSS it is a note, below 4 MiB or a twentieth of RSS it is not mentioned. Without a
    filter it is a note, too: nothing but the pages speaks for it.

Fix
    Allow madvise in the profile (the default ones of Docker and Podman do), or Go 1.21 or later.

References
    runtime/mem_linux.go, sysUnused, Go 1.9 to 1.20, and sysUnusedOS, Go 1.21 (commit 5ffdc1f15c); init/Kconfig,
    CONFIG_ADVISE_SYSCALLS; seccomp(2); Documentation/filesystems/proc.rst (VmFlags).
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.policy import GoVersion, maps_anew
from whyrss.read.pagemap import Pages
from whyrss.runtime import Runtime
from whyrss.snapshot import Build, Host, Status, Vmas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "heap/released/other"
# What moves between the reading of the page map and that of the pages stays below it.
MENTION_BYTES = 4 << 20
MENTION_SHARE = 20
# As for the other reasons why released memory stays: what changes a limit.
PROBLEM_BYTES = 32 << 20
PROBLEM_SHARE = 4
# The runtime counts the part of the last arena that it never used as released too (runtime/malloc.go).
ARENA_BYTES = 64 << 20
# A refusal leaves all of it; half allows for what was released before the filter was there.
LEAST_SHARE = 2
# With larger pages a released page shares the kernel's with used ones: large-pages.
GO_PAGE_BYTES = 8192
FILTER = "2"  # SECCOMP_MODE_FILTER (Documentation/userspace-api/seccomp_filter.rst)
ADVISED = ("nh", "hg")  # VmFlags of what MADV_NOHUGEPAGE and MADV_HUGEPAGE have marked
# The runtime's own tables that are marked so are no larger; a heap that was released has it all over.
ADVISED_BYTES = 4 << 20


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    kept_bytes = account.root.bytes_of(LINE)
    if kept_bytes < MENTION_BYTES or kept_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    go = GoVersion.parse(snapshot[Build].go_version or "")
    if maps_anew(go) or snapshot[Host].page_bytes > GO_PAGE_BYTES:
        return None
    if kept_bytes * LEAST_SHARE < snapshot[Runtime]["HeapReleased"] - ARENA_BYTES:
        return None
    _tell(snapshot)
    filtered, worked = _filtered(snapshot), _advised_bytes(snapshot) >= ADVISED_BYTES
    if worked and not filtered:
        return None
    large = kept_bytes >= PROBLEM_BYTES and kept_bytes * PROBLEM_SHARE >= account.rss_bytes
    sure = filtered and not worked
    return Finding(
        cause="madvise-refused",
        weight=PROBLEM if large and sure else NOTE,
        line=LINE,
        size_bytes=kept_bytes,
        reclaimable_bytes=kept_bytes,
        affects=("rss", "working_set", "limit"),
        confidence="likely" if sure else "possible",
        summary="{bytes} of the {rss} RSS were given back by Go in vain: the kernel seems to refuse madvise"
        f"{', by a seccomp filter' if filtered else ''}. It counts against a limit and can end in an OOM kill.",
        evidence=_evidence(snapshot, account, go),
        fixes=_fixes(filtered),
    )


def _tell(snapshot: Snapshot) -> None:
    """Raises Missing where lazily freed or huge pages may be among those without a reason."""
    vmas = snapshot[Vmas]
    if "LazyFree" not in vmas.fields:
        raise Missing("smaps of this kernel has no LazyFree (Linux 4.12 or later has)")
    reasons = snapshot[Pages].reasons
    for name, field in (("lazy", "LazyFree"), ("huge pages", "AnonHugePages")):
        if name in reasons and vmas.total_bytes(field) >= MENTION_BYTES:
            raise Missing(reasons[name])


def _filtered(snapshot: Snapshot) -> bool:
    """Raises Missing where its status cannot be read."""
    return snapshot[Status].fields.get("Seccomp") == FILTER


def _advised_bytes(snapshot: Snapshot) -> int:
    """Rss of the mappings on which an advice about huge pages was taken."""
    return sum(vma.get_bytes("Rss") for vma in snapshot[Vmas] if any(map(vma.has_flag, ADVISED)))


def _evidence(snapshot: Snapshot, account: Account, go: GoVersion) -> list[Evidence]:
    vmas, seccomp = snapshot[Vmas], snapshot[Status].fields.get("Seccomp", "")
    found = [
        evidence.line(snapshot, account, LINE, "released pages that are resident for no visible reason"),
        *evidence.figures(snapshot, ("HeapReleased", "HeapReleased, which Go believes to be gone", "bytes")),
        evidence.smaps(snapshot, "LazyFree", vmas.total_bytes("LazyFree")),
        evidence.smaps(snapshot, "AnonHugePages", vmas.total_bytes("AnonHugePages")),
        evidence.smaps(snapshot, "Locked", vmas.total_bytes("Locked")),
        evidence.flagged(
            snapshot, f"({'|'.join(ADVISED)})", _advised_bytes(snapshot), "Rss of mappings whose advice was taken"
        ),
        evidence.go_version(snapshot, str(go)),
    ]
    if seccomp.isdigit():
        found.insert(1, evidence.state(snapshot, "Seccomp", int(seccomp[:4]), "Seccomp (2: a filter)"))
    return found


def _fixes(filtered: bool) -> list[Fix]:
    upgrade = Fix("upgrade", "Go 1.21 or later, which maps new memory where madvise fails", "safe")
    if filtered:
        return [Fix("kernel", "allow madvise in the seccomp profile", "safe"), upgrade]
    return [upgrade, Fix("kernel", "a kernel with CONFIG_ADVISE_SYSCALLS", "safe")]


CAUSE = Cause("madvise-refused", "given back, but the kernel refused madvise", look)
