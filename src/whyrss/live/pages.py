"""Which pages of a live process are lazily freed, by pagemap and kpageflags.

Documentation/admin-guide/mm/pagemap.rst.
A page is lazily freed when it is anonymous and not swap-backed (mm/swap.c, lru_lazyfree). Pages that were
written again keep that mark until reclaim looks at them; the kernel then sees that they are dirty and keeps
them, so the mark may be asked for too much, but never costs the target a page (mm/vmscan.c, shrink_folio_list).
"""

from __future__ import annotations

import os
from array import array

from whyrss.errors import DeniedError, GoneError, TargetError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENTRY_BYTES = 8
CHUNK_PAGES = 1 << 16
PRESENT = 1 << 63
PFN_MASK = (1 << 55) - 1
KPF_ANON = 1 << 12
KPF_SWAPBACKED = 1 << 14
KPF_TAIL = 1 << 16
KPF_ZERO_PAGE = 1 << 24
HUGE_PAGES_MAX = 1 << 18  # a folio is never larger than 1 GiB of 4 KiB pages

Range = tuple[int, int]


class PageMap:
    """The pages of one process. Use as a context manager; the files stay those of the process that was opened,
    also when its PID is used again."""

    def __init__(self, pid: int, page_bytes: int, proc: str = "/proc") -> None:
        self._page_bytes = page_bytes
        self._heads: dict[int, int] = {}
        try:
            self._map = os.open(f"{proc}/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise DeniedError(f"/proc/{pid}/pagemap: permission denied", "needs CAP_SYS_PTRACE, or root") from None
        except OSError as error:
            raise GoneError(f"no process {pid} ({error.strerror})") from None
        try:
            self._flags = os.open(f"{proc}/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._flags = -1

    def __enter__(self) -> PageMap:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._map)
        if self._flags >= 0:
            os.close(self._flags)

    def present(self, start: int, end: int) -> Iterator[Range]:
        """The resident parts of [start, end), as address ranges."""
        yield from self._ranges(start, end, lambda entries: [bool(entry & PRESENT) for entry in entries])

    def lazily_freed(self, start: int, end: int) -> Iterator[Range]:
        """The lazily freed parts of [start, end). Raises DeniedError where page frame numbers are hidden."""
        yield from self._ranges(start, end, self._lazy)

    def _ranges(self, start: int, end: int, select: Callable[[array[int]], list[bool]]) -> Iterator[Range]:
        page = self._page_bytes
        open_at = -1
        for first in range(start // page, end // page, CHUNK_PAGES):
            count = min(CHUNK_PAGES, end // page - first)
            wanted = select(self._entries(first, count))
            for offset, hit in enumerate(wanted):
                if hit and open_at < 0:
                    open_at = first + offset
                elif not hit and open_at >= 0:
                    yield open_at * page, (first + offset) * page
                    open_at = -1
            if len(wanted) < count:
                end = (first + len(wanted)) * page
                break
        if open_at >= 0:
            yield open_at * page, end

    def _entries(self, first: int, count: int) -> array[int]:
        """The pagemap of `count` pages from page number `first`; shorter where the process has ended."""
        try:
            data = os.pread(self._map, count * ENTRY_BYTES, first * ENTRY_BYTES)
        except OSError as error:
            raise TargetError(f"pagemap cannot be read: {error.strerror}") from None
        return array("Q", data[: len(data) // ENTRY_BYTES * ENTRY_BYTES])

    def _lazy(self, entries: array[int]) -> list[bool]:
        frames = [entry & PFN_MASK if entry & PRESENT else -1 for entry in entries]
        if self._flags < 0 or 0 in frames:
            raise DeniedError("page frames are hidden", "needs CAP_SYS_ADMIN to tell lazily freed pages from others")
        return [
            frame > 0 and self._is_lazy(frame, flags) for frame, flags in zip(frames, self._read(frames), strict=True)
        ]

    def _read(self, frames: list[int]) -> list[int]:
        """The flags of each frame, neighbours read together; 0 for -1."""
        flags = [0] * len(frames)
        at, count = 0, len(frames)
        while at < count:
            first, start = frames[at], at
            at += 1
            if first < 0:
                continue
            while at < count and frames[at] == first + at - start:
                at += 1
            data = os.pread(self._flags, (at - start) * ENTRY_BYTES, first * ENTRY_BYTES)
            found = array("Q", data)
            flags[start : start + len(found)] = found
        return flags

    def _is_lazy(self, frame: int, flags: int) -> bool:
        if flags & KPF_TAIL:
            flags = self._head(frame)
        return flags & (KPF_ANON | KPF_SWAPBACKED | KPF_ZERO_PAGE) == KPF_ANON

    def _head(self, frame: int) -> int:
        """The flags of a tail page's head: older kernels keep `swap-backed` there alone (fs/proc/page.c)."""
        at = frame - 1
        while frame - at < HUGE_PAGES_MAX and at >= 0:
            if at in self._heads:
                break
            flags = int.from_bytes(os.pread(self._flags, ENTRY_BYTES, at * ENTRY_BYTES), "little")
            if not flags & KPF_TAIL:
                self._heads = {at: flags}
                break
            at -= 1
        flags = self._heads.get(at, KPF_SWAPBACKED)
        self._heads = {frame: flags}
        return flags
