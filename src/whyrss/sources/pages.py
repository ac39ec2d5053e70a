"""The resident pages of a live process, mapping by mapping, as smaps counts them.

By the ioctl PAGEMAP_SCAN (Linux 6.7, include/uapi/linux/fs.h), without its category FILE a quarter of the cost of
reading pagemap, else by pagemap. Nothing of the target is touched, and its mmap lock is never held for long: one
call looks at no more than 64 MiB of resident pages in 1 GiB of address space (3 ms where all are zero pages).
"""

from __future__ import annotations

import fcntl
import os
from array import array
from errno import EACCES, EFAULT, EINVAL, ENOSYS, ENOTTY, EPERM

from whyrss.errors import Missing
from whyrss.read import pagemap
from whyrss.read.pagemap import ANON, FILE_OR_SHARED, HUGE, WORDS, Pages
from whyrss.sources.kpageflags import ENTRY_BYTES, FrameFlags, frames_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from whyrss.snapshot import Vma, Vmas

    Ioctl = Callable[[int, int, array[int], bool], int]
    Range = tuple[int, int]

# _IOWR('f', 16, struct pm_scan_arg), the same on amd64 and arm64; the struct is 12 words.
PAGEMAP_SCAN, ARGUMENT_BYTES = 0xC0606610, 96
PAGE_IS_FILE, PAGE_IS_PRESENT, PAGE_IS_PFNZERO, PAGE_IS_HUGE = 1 << 2, 1 << 3, 1 << 5, 1 << 6
REGIONS = 4096
CALL_BYTES, CALL_RESIDENT_BYTES = 1 << 30, 64 << 20
BATCH_FOLIOS = 31  # of each CPU (include/linux/pagevec.h, PAGEVEC_SIZE): MADV_FREE marks them when it is full
ENTRIES = 1 << 17  # 1 MiB of pagemap
# Reading pagemap costs the same for absent pages: 1 TiB of address space would take some 5 seconds.
ENTRIES_MAX = 1 << 28
UNKNOWN_CALL = (ENOTTY, EINVAL, ENOSYS, EFAULT, EPERM)  # an old kernel's answers, and those of seccomp filters
HUGE_BYTES = {4 << 10: 2 << 20, 16 << 10: 32 << 20, 64 << 10: 512 << 20}  # page size -> huge page size


def read_pages(pid: int, vmas: Vmas, page_bytes: int, *, proc: str = "/proc", ioctl: Ioctl = fcntl.ioctl) -> Pages:
    """The resident pages in the mappings of smaps that count in RSS: those whose Rss is 0 (hugetlb, vvar) hold
    pages that smaps does not count. Raises Missing where pagemap cannot be read."""
    fd = _open(pid, proc)
    try:
        scan = Scan(fd, page_bytes, ioctl)
        runs = array("Q")
        try:
            for vma in vmas:
                rss_bytes = vma.get_bytes("Rss")
                if rss_bytes:
                    scan.vma(vma.start, vma.end, rss_bytes, vma.get_bytes("Anonymous"), runs)
            return Pages(runs, page_bytes, vmas.total_bytes("Swap"), "PAGEMAP_SCAN")
        except OSError as error:
            if error.errno not in UNKNOWN_CALL:
                raise Missing(f"/proc/{pid}/pagemap: {(error.strerror or '').lower()}") from None
        return Entries(fd, page_bytes, proc).pages(vmas)
    finally:
        os.close(fd)


def _open(pid: int, proc: str) -> int:
    try:
        return os.open(f"{proc}/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        hint = "; needs CAP_SYS_PTRACE" if error.errno in (EACCES, EPERM) else ""
        raise Missing(f"/proc/{pid}/pagemap: {(error.strerror or '').lower()}{hint}") from None


class Scan:
    """PAGEMAP_SCAN over one mapping after the other. Raises OSError where the kernel does not have it."""

    def __init__(self, fd: int, page_bytes: int, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._fd = fd
        self._ioctl = ioctl
        self._regions = array("Q", bytes(REGIONS * WORDS * 8))
        # size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask,
        # category_anyof_mask, return_mask: what is present and not the zero page.
        self._argument = array("Q", [ARGUMENT_BYTES, 0, 0, 0, 0, self._regions.buffer_info()[0], REGIONS])
        self._argument.extend([CALL_RESIDENT_BYTES // page_bytes, PAGE_IS_PFNZERO])
        self._argument.extend([PAGE_IS_PRESENT | PAGE_IS_PFNZERO, 0, 0])

    def vma(self, start: int, end: int, rss_bytes: int, anonymous_bytes: int, runs: array[int]) -> None:
        """Adds the runs of a mapping. Only where it has pages of both kinds, as a private file mapping of which
        some were written, the kernel has to look at every page's struct (five times as dear)."""
        if anonymous_bytes == rss_bytes:
            self._walk(start, end, ANON | HUGE, runs)
            return
        found = array("Q")
        self._walk(start, end, PAGE_IS_FILE | PAGE_IS_HUGE if anonymous_bytes else PAGE_IS_HUGE, found)
        for at in range(2, len(found), WORDS):
            kind = ANON if anonymous_bytes and not found[at] & PAGE_IS_FILE else FILE_OR_SHARED
            found[at] = found[at] & HUGE | kind
        runs.extend(found)

    def _walk(self, start: int, end: int, categories: int, runs: array[int]) -> None:
        argument, own = self._argument, array("Q")
        argument[11] = categories
        while start < end:
            argument[2], argument[3], argument[4] = start, min(end, start + CALL_BYTES), 0
            try:
                count = self._ioctl(self._fd, PAGEMAP_SCAN, argument, True)
            except InterruptedError:
                continue
            if count:
                pagemap.append(own, self._regions[: count * WORDS])
            # Where the regions fill the kernel's own buffer of 512 to the last one, walk_end may lie before them, and
            # they would be told twice (seen on Linux 6.18).
            walked = max(argument[4], own[-2] if own else 0)
            if walked <= start:
                raise OSError(EINVAL, "PAGEMAP_SCAN does not advance")
            start = walked
        runs.extend(own)


class Entries:
    """Reading /proc/PID/pagemap, for kernels without PAGEMAP_SCAN."""

    def __init__(self, fd: int, page_bytes: int, proc: str = "/proc") -> None:
        self._fd = fd
        self._page_bytes = page_bytes
        self._proc = proc
        self._left = ENTRIES_MAX

    def pages(self, vmas: Vmas) -> Pages:
        pages = Pages(array("Q"), self._page_bytes, vmas.total_bytes("Swap"), "pagemap")
        for vma in vmas:
            if vma.get_bytes("Rss"):
                pages.runs.extend(self._huge(vma, self._vma(vma, pages), pages))
        return pages

    def _vma(self, vma: Vma, pages: Pages) -> array[int]:
        rss_bytes = vma.get_bytes("Rss")
        anonymous = vma.get_bytes("Anonymous") == rss_bytes
        runs = array("Q")
        self._left -= vma.size_bytes // self._page_bytes
        if self._left < 0:
            raise Missing("the mappings are larger than 1 TiB, too large to read pagemap; needs Linux 6.7")
        for start, end in self.chunks(vma.start, vma.end):
            data = self.read(start, end)
            pagemap.append(runs, pagemap.runs_of_entries(data, start, self._page_bytes, anonymous))
        return self._without_zero(vma, rss_bytes, runs, pages) if anonymous else runs

    def chunks(self, start: int, end: int) -> Iterable[Range]:
        """[start, end) in steps of 1 MiB of pagemap."""
        step = ENTRIES * self._page_bytes
        return ((low, min(end, low + step)) for low in range(start, end, step))

    def read(self, start: int, end: int) -> bytes:
        """The entries of [start, end); fewer where the process has ended."""
        page = self._page_bytes
        try:
            data = os.pread(self._fd, (end - start) // page * ENTRY_BYTES, start // page * ENTRY_BYTES)
        except OSError as error:
            raise Missing(f"pagemap cannot be read: {(error.strerror or '').lower()}") from None
        return data[: len(data) // ENTRY_BYTES * ENTRY_BYTES]

    def _without_zero(self, vma: Vma, rss_bytes: int, runs: array[int], pages: Pages) -> array[int]:
        """The runs without zero pages: all that may be zero pages are, or none is, or the frames tell."""
        doubtful_bytes = pagemap.size_bytes(runs, 0)
        sure_bytes = pagemap.size_bytes(runs) - doubtful_bytes
        if not doubtful_bytes or sure_bytes + doubtful_bytes == rss_bytes:
            return pagemap.without_zero(runs, keep=True)
        if sure_bytes == rss_bytes:
            return pagemap.without_zero(runs, keep=False)
        try:
            return pagemap.without_zero(self._by_frames(runs), keep=False)
        except Missing as missing:
            pages.reasons["zero pages"] = missing.reason
            excess_bytes = min(doubtful_bytes, sure_bytes + doubtful_bytes - rss_bytes)
            if excess_bytes > 0:
                pages.excess.append((vma.start, vma.end, excess_bytes))
            return pagemap.without_zero(runs, keep=True)

    def _by_frames(self, runs: array[int]) -> array[int]:
        """The runs with ANON on the doubtful pages that are not the zero page."""
        told = array("Q")
        page = self._page_bytes
        with FrameFlags(self._proc) as flags:
            for at in range(0, len(runs), WORDS):
                run = runs[at : at + WORDS]
                if run[2]:
                    pagemap.append(told, run)
                    continue
                for low, high in self.chunks(run[0], run[1]):
                    zero = flags.zero(frames_of(array("Q", self.read(low, high))))
                    for number, is_zero in enumerate(zero):
                        address = low + number * page
                        pagemap.append(told, array("Q", [address, address + page, 0 if is_zero else ANON]))
        return told

    def _huge(self, vma: Vma, runs: array[int], pages: Pages) -> array[int]:
        huge_bytes = sum(vma.get_bytes(field) for field in ("AnonHugePages", "ShmemPmdMapped", "FilePmdMapped"))
        if not huge_bytes:
            return runs
        marked = pagemap.mark_huge(runs, huge_bytes, HUGE_BYTES.get(self._page_bytes, 2 << 20))
        if marked is None:
            pages.reasons["huge pages"] = "which pages are huge can only be told by Linux 6.7 or later"
        return runs if marked is None else marked


def lazy(pid: int, ranges: Iterable[Range], vmas: Vmas, page_bytes: int, *, proc: str = "/proc") -> list[Range]:
    """The lazily freed parts of ranges of resident pages (ascending, disjoint), neighbours merged. A page that was
    written again keeps its mark, so ask only for pages that nobody uses. The frames are looked at only where smaps
    leaves it open: neither all of a mapping is lazily freed, nor as much as was asked about but for what may be in
    the CPUs' batches, which has no mark yet (any pages stand for those). Raises Missing where it needs a right that
    we do not have."""
    found: list[Range] = []
    doubtful: list[Range] = []
    parts = list(_by_vma(ranges, vmas))
    asked: dict[int, int] = {}
    for low, high, vma in parts:
        asked[vma.start] = asked.get(vma.start, 0) + high - low
    batches_bytes = BATCH_FOLIOS * page_bytes * (os.cpu_count() or 1)
    unmarked: dict[int, int] = {}
    for low, high, vma in parts:
        lazyfree_bytes = vma.get_bytes("LazyFree")
        if not lazyfree_bytes:
            continue
        missing = unmarked.setdefault(vma.start, asked[vma.start] - lazyfree_bytes)
        if lazyfree_bytes == vma.get_bytes("Rss"):
            add_range(found, low, high)
        elif 0 <= asked[vma.start] - lazyfree_bytes <= batches_bytes:
            unmarked[vma.start] = missing - min(missing, high - low)
            add_range(found, low + min(missing, high - low), high)
        else:
            add_range(doubtful, low, high)
    if doubtful:
        found = sorted(found + _lazy_by_frames(pid, doubtful, page_bytes, proc))
    return found


def _by_vma(ranges: Iterable[Range], vmas: Vmas) -> Iterator[tuple[int, int, Vma]]:
    """The ranges cut at the mappings' bounds; what lies in none has been unmapped meanwhile."""
    rest = iter(vmas)
    vma = next(rest, None)
    for start, end in ranges:
        while vma and vma.end <= start:
            vma = next(rest, None)
        while vma and vma.start < end:
            yield max(start, vma.start), min(end, vma.end), vma
            if vma.end >= end:
                break
            vma = next(rest, None)


def add_range(ranges: list[Range], start: int, end: int) -> None:
    """Adds a range, as one with the last where they touch."""
    if ranges and ranges[-1][1] == start:
        ranges[-1] = (ranges[-1][0], end)
    elif start < end:
        ranges.append((start, end))


def _lazy_by_frames(pid: int, ranges: list[Range], page_bytes: int, proc: str) -> list[Range]:
    found: list[Range] = []
    fd = _open(pid, proc)
    try:
        entries = Entries(fd, page_bytes, proc)
        with FrameFlags(proc) as flags:
            for start, end in ranges:
                for low, high in entries.chunks(start, end):
                    marks = flags.lazy(frames_of(array("Q", entries.read(low, high))))
                    for first, last in marked(marks):
                        add_range(found, low + first * page_bytes, low + last * page_bytes)
    finally:
        os.close(fd)
    return found


def marked(marks: list[bool]) -> Iterator[Range]:
    """Where the marks are set, as [first, last)."""
    kinds = bytes(marks)
    first = kinds.find(1)
    while first >= 0:
        last = kinds.find(0, first)
        last = len(kinds) if last < 0 else last
        yield first, last
        first = kinds.find(1, last)
