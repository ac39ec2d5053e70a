"""Resident pages as runs of addresses, from the regions of PAGEMAP_SCAN or the entries of /proc/PID/pagemap.

Documentation/admin-guide/mm/pagemap.rst; include/uapi/linux/fs.h (PAGEMAP_SCAN, Linux 6.7). A run is three words:
start, end, flags. Runs are kept as the kernel writes them, in one array, since a large heap has 100,000s of them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right

from whyrss.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Run = tuple[int, int, int]
    Excess = tuple[int, int, int]

# Flags of a run. The first three have the bits of the kernel's categories FILE, PRESENT and HUGE (uapi/linux/fs.h),
# so that what it writes about an anonymous mapping needs no second pass: there PRESENT means ANON.
FILE_OR_SHARED = 1 << 2
ANON = 1 << 3
HUGE = 1 << 6  # mapped by one entry of the page middle directory
LAZY = 1 << 16  # anonymous and not swap-backed: freed with MADV_FREE, perhaps written again since
FLAGS = FILE_OR_SHARED | ANON | HUGE | LAZY

WORDS = 3
ENTRY_BYTES = 8
# In the last byte of an entry: mapped here alone (since Linux 4.2), a file's or shared (since 3.5), present.
_ALONE, _FILE, _PRESENT = 0x01, 0x20, 0x80
_KINDS = {ord("a"): ANON, ord("f"): FILE_OR_SHARED, ord("z"): 0}


class Pages:
    """The resident pages of a process: `runs` (start, end, flags; ascending, each within one mapping, neighbours
    alike merged, the zero page left out). `method` is PAGEMAP_SCAN or pagemap. `reasons` says in words what could
    not be told, and `excess` where: (start, end, bytes) of the mappings whose runs hold that many bytes of zero
    pages that were not told from others. `swapped_bytes` is what smaps says; `lazy` are the lazily freed ranges among
    those that were asked about."""

    __slots__ = ("_starts", "excess", "lazy", "method", "page_bytes", "reasons", "runs", "swapped_bytes")

    def __init__(self, runs: array[int], page_bytes: int, swapped_bytes: int, method: str) -> None:
        self.runs = runs
        self.page_bytes = page_bytes
        self.swapped_bytes = swapped_bytes
        self.method = method
        self.reasons: dict[str, str] = {}
        self.excess: list[Excess] = []
        self.lazy: list[tuple[int, int]] = []
        self._starts: array[int] | None = None

    def __len__(self) -> int:
        return len(self.runs) // WORDS

    def __iter__(self) -> Iterator[Run]:
        runs = self.runs
        return zip(runs[0::WORDS], runs[1::WORDS], runs[2::WORDS], strict=True)

    @property
    def resident_bytes(self) -> int:
        """All runs together, less what is known to be zero pages among them."""
        runs = self.runs
        return sum(runs[1::WORDS]) - sum(runs[0::WORDS]) - sum(size for _, _, size in self.excess)

    def within(self, start: int, end: int) -> Iterator[Run]:
        """The parts of the runs that lie in [start, end)."""
        if self._starts is None:
            self._starts = self.runs[0::WORDS]
        runs = self.runs
        at = max(0, bisect_right(self._starts, start) - 1) * WORDS
        while at < len(runs) and runs[at] < end and start < end:
            if runs[at + 1] > start:
                yield max(start, runs[at]), min(end, runs[at + 1]), runs[at + 2]
            at += WORDS


def check_runs(runs: array[int], page_bytes: int) -> None:
    """Raises FormatError where runs from a file are not ascending, disjoint, whole pages with known flags."""
    if len(runs) % WORDS:
        raise FormatError("pages: the last run is cut")
    before = 0
    for start, end, flags in zip(runs[0::WORDS], runs[1::WORDS], runs[2::WORDS], strict=True):
        if not before <= start < end or start % page_bytes or end % page_bytes or flags & ~FLAGS:
            raise FormatError(f"pages: {start:#x} to {end:#x}, flags {flags:#x}, is no run after {before:#x}")
        before = end


def append(runs: array[int], regions: array[int]) -> None:
    """Adds the regions that continue `runs`, as one run with the last one where they touch and are alike."""
    if runs and regions and runs[-2] == regions[0] and runs[-1] == regions[2]:
        runs[-2] = regions[1]
        regions = regions[WORDS:]
    runs.extend(regions)


def _kind(entry: int, anonymous: bool) -> int:
    if not entry & _PRESENT:
        return ord("n")
    if anonymous:
        return ord("a") if entry & (_ALONE | _FILE) == _ALONE else ord("z")
    return ord("f") if entry & _FILE else ord("a")


_TABLES = {anonymous: bytes(_kind(entry, anonymous) for entry in range(256)) for anonymous in (False, True)}


def runs_of_entries(data: bytes, start: int, page_bytes: int, anonymous: bool) -> array[int]:
    """The runs in entries of pagemap for the pages from address `start`. In a mapping that holds nothing but
    anonymous pages, what may be the zero page has no flags: it counts as mapped more than once (or, where it is a
    huge one, as a file's), but so does a page that is shared with a child."""
    import re

    kinds = data[ENTRY_BYTES - 1 :: ENTRY_BYTES].translate(_TABLES[anonymous])
    runs = array("Q")
    for match in re.finditer(b"a+|f+|z+", kinds):
        low, high = match.span()
        runs.extend((start + low * page_bytes, start + high * page_bytes, _KINDS[kinds[low]]))
    return runs


def size_bytes(runs: array[int], flags: int | None = None) -> int:
    """All runs together, or those with exactly these flags."""
    triples = zip(runs[0::WORDS], runs[1::WORDS], runs[2::WORDS], strict=True)
    return sum(end - start for start, end, which in triples if flags is None or which == flags)


def without_zero(runs: array[int], keep: bool) -> array[int]:
    """The runs without those that may be the zero page; with `keep` those are anonymous pages like the others."""
    kept = array("Q")
    for at in range(0, len(runs), WORDS):
        run = runs[at : at + WORDS]
        if run[2] or keep:
            run[2] |= 0 if run[2] else ANON
            append(kept, run)
    return kept


def mark_huge(runs: array[int], huge_bytes: int, size: int) -> array[int] | None:
    """The runs with HUGE on their whole aligned blocks of `size` bytes, where these are exactly the `huge_bytes`
    that smaps counts; None where it cannot be told which of them are meant."""
    marked = array("Q")
    found = 0
    for at in range(0, len(runs), WORDS):
        start, end, flags = runs[at : at + WORDS]
        low, high = -(-start // size) * size, end // size * size
        if low >= high:
            marked.extend((start, end, flags))
            continue
        found += high - low
        for first, last, extra in ((start, low, 0), (low, high, HUGE), (high, end, 0)):
            if first < last:
                marked.extend((first, last, flags | extra))
    return marked if found == huge_bytes else None
