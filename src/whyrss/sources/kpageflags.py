"""/proc/kpageflags: the flags of page frames, and what is lazily freed by them.

Documentation/admin-guide/mm/pagemap.rst. A page is lazily freed when it is anonymous and not swap-backed
(mm/swap.c, lru_lazyfree). Needs CAP_SYS_ADMIN, without which pagemap shows no page frame numbers either.
"""

from __future__ import annotations

import os
from array import array

from whyrss.errors import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ENTRY_BYTES = 8
PRESENT = 1 << 63  # of an entry of pagemap
PFN_MASK = (1 << 55) - 1
KPF_ANON = 1 << 12
KPF_SWAPBACKED = 1 << 14
KPF_TAIL = 1 << 16
KPF_ZERO_PAGE = 1 << 24
HUGE_PAGES_MAX = 1 << 18  # a folio is never larger than 1 GiB of 4 KiB pages
# One read of several frames costs less than two reads while the gap is no larger than this (measured: 0.78 s for
# 585,000 frames without gaps, 0.35 s with up to 16, 0.50 s with up to 64).
GAP_FRAMES = 16


class FrameFlags:
    """The flags of page frames. Raises Missing where the kernel does not show them."""

    def __init__(self, proc: str = "/proc") -> None:
        self._heads: dict[int, int] = {}
        try:
            self._file = os.open(f"{proc}/kpageflags", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Missing(f"/proc/kpageflags: {(error.strerror or '').lower()}; needs CAP_SYS_ADMIN") from None

    def __enter__(self) -> FrameFlags:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        os.close(self._file)

    def of(self, frames: Sequence[int]) -> list[int]:
        """The flags of each frame in their order; 0 for frames <= 0, and for those that do not exist."""
        flags = [0] * len(frames)
        for begin, end in _near(frames):
            first, last = frames[begin], frames[end - 1]
            found = self._read(first, last - first + 1)
            if len(found) <= last - first:  # beyond the end of the machine's memory
                found.extend([0] * (last - first + 1 - len(found)))
            whole = len(found) == end - begin
            flags[begin:end] = found if whole else [found[frame - first] for frame in frames[begin:end]]
        return flags

    def lazy(self, frames: Sequence[int]) -> list[bool]:
        """Whether each frame is lazily freed (and perhaps written again since)."""
        flags = self.of(frames)
        told = {each: each & (KPF_ANON | KPF_SWAPBACKED | KPF_ZERO_PAGE) == KPF_ANON for each in set(flags)}
        marks = [told[each] for each in flags]
        if any(each & KPF_TAIL and told[each] for each in told):
            for at, each in enumerate(flags):
                if each & KPF_TAIL and told[each]:
                    marks[at] = not self._head(frames[at]) & KPF_SWAPBACKED
        return marks

    def zero(self, frames: Sequence[int]) -> list[bool]:
        """Whether each frame is the zero page, or a part of the huge one."""
        return [bool(flags & KPF_ZERO_PAGE) for flags in self.of(frames)]

    def _read(self, first: int, count: int) -> array[int]:
        try:
            data = os.pread(self._file, count * ENTRY_BYTES, first * ENTRY_BYTES)
        except OSError:
            data = b""
        return array("Q", data[: len(data) // ENTRY_BYTES * ENTRY_BYTES])

    def _head(self, frame: int) -> int:
        """The flags of a tail page's head: older kernels keep `swap-backed` there alone (fs/proc/page.c)."""
        at = frame - 1
        while frame - at < HUGE_PAGES_MAX and at >= 0:
            if at in self._heads:
                break
            flags = (self._read(at, 1) or [0])[0]
            if not flags & KPF_TAIL:
                self._heads = {at: flags}
                break
            at -= 1
        flags = self._heads.get(at, KPF_SWAPBACKED)
        self._heads = {frame: flags}
        return flags


def _near(frames: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The parts [begin, end) of frames > 0 that ascend without gaps too large to read across."""
    steps = map(int.__sub__, frames[1:], frames)
    begin = 0
    for end in [*(at for at, step in enumerate(steps, 1) if not 0 < step <= GAP_FRAMES), len(frames)]:
        if begin < end and frames[begin] <= 0:
            begin += 1
        if begin < end:
            yield begin, end
        begin = end


def frames_of(entries: array[int]) -> list[int]:
    """The page frame number of each entry of pagemap, -1 for absent pages. Raises Missing where they are hidden."""
    frames = [entry & PFN_MASK if entry & PRESENT else -1 for entry in entries]
    if 0 in frames:
        raise Missing("page frame numbers are hidden; needs CAP_SYS_ADMIN to tell lazily freed pages from others")
    return frames
