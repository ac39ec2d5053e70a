"""The runtime's own books: descriptors of spans, bits of objects, tables by address.

Why it is resident
    The runtime keeps a descriptor for each span (160 bytes, of 8 KiB and more), two bits for each object (marked,
    allocated), tables that lead from an address to its span, up to Go 1.21 a bitmap of the pointers (a 32nd of the
    heap, from Go 1.20 on a 64th), and buffers for marking. They grow with the heap at its largest and with the number
    of its objects; what is free of them is used again, but hardly any of it is ever given back.

How it is measured
    The resident pages of these structures, which are outside of the heap (line runtime), less what profiles remember
    (BuckHashSys: profiling-buckets). Known error: a page that holds structures of two kinds counts for one of them.
    The runtime's own figures, GCSys, MSpanSys and OtherSys, also count pages that were never touched, and not what
    lies in its globals. Where memory is locked (mlockall), the tables are resident as a whole: then that is said.
    By hand: GCSys + MSpanSys + MCacheSys + OtherSys of `/debug/pprof/heap?debug=1` are an upper bound; of the
    mappings that are no heap in /proc/PID/smaps (named "[anon: Go: ...]" from Go 1.25 and Linux 5.17 on), Rss.

When it is no problem
    Beside a heap of its size it is the price of the heap: 2 to 8 % of it. It stands out where the heap was much
    larger once, or is made of very many small objects, and is a note. Below 8 MiB or a tenth of RSS it is not
    mentioned.

Fix
    Nothing gives it back but a restart. A lower peak keeps it small: GOMEMLIMIT or a lower GOGC, fewer and larger
    objects, bursts in portions.

References
    runtime/mheap.go, mspan, heapArena; runtime/mfixalloc.go; runtime/malloc.go, persistentalloc ("There is no
    associated free operation"); golang/go issues 37927, 43402.
"""

from __future__ import annotations

from whyrss import evidence
from whyrss.finding import NOTE, Cause, Finding
from whyrss.fix import Fix
from whyrss.runtime import Runtime
from whyrss.snapshot import Vmas

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

LINE = "runtime"
# The table of profiles, of which BuckHashSys counts all (runtime/mprof.go, buckHashSize), and where the rest lies.
TABLE = "profiling buckets"
TABLE_BYTES = 179_999 * 8
BUCKETS = ("persistent", "guessed")
# The tables of an empty program take 1 to 5 MiB.
MENTION_BYTES = 8 << 20
# Of healthy programs it is up to 8 %.
MENTION_SHARE = 10
PARTS_SHOWN = 3
# A part that holds less of it says nothing about why.
PART_SHARE = 10


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    total_bytes = account.root.bytes_of(LINE)
    if total_bytes < MENTION_BYTES or total_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    parts = _parts(account, snapshot[Runtime]["BuckHashSys"])
    size_bytes = sum(parts.values())
    if size_bytes < MENTION_BYTES or size_bytes * MENTION_SHARE < account.rss_bytes:
        return None
    largest = [name for name in list(parts)[:PARTS_SHOWN] if parts[name] * PART_SHARE >= size_bytes]
    return Finding(
        cause="runtime-metadata",
        weight=NOTE,
        line=LINE,
        size_bytes=size_bytes,
        reclaimable_bytes=0,
        affects=("rss", "working_set", "limit"),
        confidence="certain",
        summary=f"{{bytes}} of the {{rss}} RSS are the Go runtime's own books, above all {_words(largest)}: "
        f"{_why(snapshot)}. They are not given back and count against a limit.",
        evidence=[
            *(evidence.line(snapshot, account, f"{LINE}/{name}", name) for name in largest),
            *evidence.figures(
                snapshot,
                ("GCSys", "GCSys, resident or not", "bytes"),
                ("MSpanSys", "MSpanSys, resident or not", "bytes"),
                ("OtherSys", "OtherSys, resident or not", "bytes"),
            ),
        ],
        fixes=[
            Fix("code", "a lower peak: fewer and larger objects, bursts in portions", "safe"),
            Fix("env", "GOMEMLIMIT or a lower GOGC, if the peak was garbage", "costs", "more collections"),
            Fix("code", "a restart gives it back, until the next peak", "costs", "what a restart costs"),
        ],
    )


def _parts(account: Account, profiles_bytes: int) -> dict[str, int]:
    """Bytes by name, the largest first, without what profiles remember."""
    line = account.root.find(LINE)
    parts = {child.name: child.bytes for child in line.children if child.name != TABLE} if line else {}
    buckets_bytes = max(0, profiles_bytes - TABLE_BYTES)
    for name in BUCKETS:
        taken_bytes = min(parts.get(name, 0), buckets_bytes)
        buckets_bytes -= taken_bytes
        parts[name] = parts.get(name, 0) - taken_bytes
    return dict(sorted(parts.items(), key=lambda part: -part[1]))


def _why(snapshot: Snapshot) -> str:
    vmas = snapshot.get(Vmas)
    if vmas and any(vma.has_flag("lo") for vma in vmas):
        return "the program locks its memory, so that its tables are resident as a whole"
    return "as many as the heap needed at its largest"


def _words(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


CAUSE = Cause("runtime-metadata", "the runtime's own books", look)
