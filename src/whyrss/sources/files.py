"""Where the files of a target are: the live /proc and /sys, a folder, an archive. Paths look like
`proc/123/smaps` and `sys/kernel/mm/...` in all of them, so that a recording is read by the same code.
"""

from __future__ import annotations

import os

from whyrss import ahead
from whyrss.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Files(Protocol):
        """Bounded reads by path. Raises OSError as the operating system does."""

        live: bool

        def read(self, path: str, limit_bytes: int = ...) -> bytes: ...
        def link(self, path: str) -> str: ...
        def path(self, path: str) -> str: ...


LIMIT_BYTES = 4 << 20  # for every file but smaps: far above what the kernel writes into any of them
SMALL_BYTES = 2 << 10  # most files of /proc are smaller, and are read whole by one read of this size


class LiveFiles:
    """The kernel's own files. `proc` and `sys` are where they are mounted."""

    live = True

    def __init__(self, proc: str = "/proc", sys: str = "/sys") -> None:
        self._roots = {"proc": proc, "sys": sys}

    def path(self, path: str) -> str:
        top, _, rest = path.partition("/")
        return f"{self._roots.get(top, '/' + top)}/{rest}"

    def read(self, path: str, limit_bytes: int = LIMIT_BYTES) -> bytes:
        full = self.path(path)
        ready = ahead.take(full)
        return read_file(full, limit_bytes) if ready is None else ready

    def link(self, path: str) -> str:
        return os.readlink(self.path(path))


def read_file(path: str, limit_bytes: int) -> bytes:
    """The file's bytes; FormatError where there are more than `limit_bytes`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = os.read(fd, SMALL_BYTES)
        more = os.read(fd, SMALL_BYTES) if data else b""  # a short read does not mean the end of a file of /proc
        if more:
            data += more + ahead.read_whole(fd, limit_bytes)
    finally:
        os.close(fd)
    if len(data) > limit_bytes:
        raise FormatError(f"{path} is larger than {limit_bytes} bytes")
    return data
