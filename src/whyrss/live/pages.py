"""Which pages of a live process are lazily freed, by pagemap and kpageflags.

Pages that were written again keep their mark until reclaim looks at them; the kernel then sees that they are dirty
and keeps them, so the mark may be asked for too much, but never costs the target a page (mm/vmscan.c,
shrink_folio_list).
"""

from __future__ import annotations

import os
from array import array

from whyrss.errors import DeniedError, GoneError, Missing, TargetError
from whyrss.sources.kpageflags import PRESENT, FrameFlags, frames_of
from whyrss.sources.pages import Entries, marked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Range = tuple[int, int]


class PageMap:
    """The pages of one process. Use as a context manager; the files stay those of the process that was opened,
    also when its PID is used again."""

    def __init__(self, pid: int, page_bytes: int, proc: str = "/proc") -> None:
        self._page_bytes = page_bytes
        try:
            self._map = os.open(f"{proc}/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError:
            raise DeniedError(f"/proc/{pid}/pagemap: permission denied", "needs CAP_SYS_PTRACE, or root") from None
        except OSError as error:
            raise GoneError(f"no process {pid} ({error.strerror})") from None
        self._entries = Entries(self._map, page_bytes, proc)
        try:
            self._flags: FrameFlags | None = FrameFlags(proc)
        except Missing:
            self._flags = None

    def __enter__(self) -> PageMap:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._map)
        if self._flags:
            self._flags.close()

    def present(self, start: int, end: int) -> Iterator[Range]:
        """The resident parts of [start, end), as address ranges."""
        yield from self._ranges(start, end, lambda entries: [bool(entry & PRESENT) for entry in entries])

    def lazily_freed(self, start: int, end: int) -> Iterator[Range]:
        """The lazily freed parts of [start, end). Raises DeniedError where page frame numbers are hidden."""
        yield from self._ranges(start, end, self._lazy)

    def _ranges(self, start: int, end: int, select: Callable[[array[int]], list[bool]]) -> Iterator[Range]:
        page = self._page_bytes
        last: Range | None = None
        for low, high in self._entries.chunks(start, end):
            try:
                entries = array("Q", self._entries.read(low, high))
            except Missing as missing:
                raise TargetError(missing.reason) from None
            for first, after in marked(select(entries)):
                begin, stop = low + first * page, low + after * page
                if last and last[1] == begin:
                    last = (last[0], stop)
                    continue
                if last:
                    yield last
                last = (begin, stop)
            if len(entries) * page < high - low:
                break
        if last:
            yield last

    def _lazy(self, entries: array[int]) -> list[bool]:
        try:
            if self._flags:
                return self._flags.lazy(frames_of(entries))
        except Missing:
            pass
        raise DeniedError("page frames are hidden", "needs CAP_SYS_ADMIN to tell lazily freed pages from others")
