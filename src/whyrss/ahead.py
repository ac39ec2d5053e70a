"""Reads a process's smaps while the program is still being imported.

The kernel's walk over the pages (3 to 4 ms for 200 MiB) and Python's imports (as much) need nothing of each
other, and the walk runs outside the interpreter's lock: on a second core it costs no time at all. What was read
is handed out once, in the order in which it was read, so that the caller sees one sequence of reads.
"""

from __future__ import annotations

import _thread
import os

# In the order in which ProcSource.collect asks for them: who it is, how large, the pages, how large now.
NAMES = ("stat", "statm", "smaps", "statm")
CHUNK_BYTES = 64 << 10
LIMIT_BYTES = 256 << 20  # more than that is read again by the caller, which then says what is wrong with it

_read: dict[str, list[bytes]] = {}
_done: list[_thread.LockType] = []


def start(pid: str) -> None:
    """Begins to read the process of that PID; a file that cannot be read is left to the caller."""
    lock = _thread.allocate_lock()
    lock.acquire()
    _done.append(lock)
    _thread.start_new_thread(_run, (f"/proc/{pid}/", lock))


def take(path: str) -> bytes | None:
    """The bytes of a file that was read ahead, None where it was not; waits until the reading has ended."""
    if _done:
        _done.pop().acquire()
    found = _read.get(path)
    return found.pop(0) if found else None


def _run(folder: str, lock: _thread.LockType) -> None:
    try:
        for name in NAMES:
            _read.setdefault(folder + name, []).append(_whole(folder + name))
    except OSError:
        _read.clear()
    finally:
        lock.release()


def _whole(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts, size_bytes = [os.read(fd, CHUNK_BYTES)], 0
        while parts[-1]:
            size_bytes += len(parts[-1])
            if size_bytes > LIMIT_BYTES:
                raise OSError(f"{path} is too large to be read ahead")
            parts.append(os.read(fd, CHUNK_BYTES))
    finally:
        os.close(fd)
    return b"".join(parts)
