"""Reads a process's smaps while the program is still being imported.

The kernel's walk over the pages (3 to 4 ms for 200 MiB) and Python's imports (as much) need nothing of each
other. The walk runs in a thread, outside the interpreter's lock: whoever gives that lock away gets it back only
when the other one waits, so the whole file is read in one call of the kernel, and `start` returns when the call
is about to be made. What was read is handed out once, in the order in which it was read, so that the caller sees
one sequence of reads: who the process is, how large, and then its pages.
"""

# Without `from __future__ import annotations`: looking for that module would delay the walk by 0.1 ms.
import _thread
import os

# A read from /proc gives a page at most, and a record that does not fit into the rest of it is thrown away and
# made again by the next read, with its walk over the pages (fs/seq_file.c, seq_read): where that is the heap's, the
# walk is done twice. Asked for less than a page, the kernel keeps the record; readv(2) goes on to the next piece
# after each that was filled, in one call. A VMA takes 0.8 KiB.
PIECE_BYTES = 2 << 10
PIECES = 64
PAGES_MAX = 1 << 18  # 1 GiB: a longer walk has no more to gain from the imports, and two threads disturb each other
LIMIT_BYTES = 256 << 20  # more than that is read again by the caller, which then says what is wrong with it

_read: dict[str, bytes] = {}
_walking: list[_thread.LockType] = []


def start(pid: str) -> None:
    """Begins to read the process of that PID; a file that cannot be read is left to the caller, and all of them
    where there is one processor only: taking turns would cost more than it gains."""
    if len(os.sched_getaffinity(0)) < 2:
        return
    folder = f"/proc/{pid}/"
    try:
        for name in ("stat", "statm"):
            _read[folder + name] = _small(folder + name)
        if _resident_pages(_read[folder + "statm"]) > PAGES_MAX:
            return
        fd = os.open(folder + "smaps", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    begun, ended = _thread.allocate_lock(), _thread.allocate_lock()
    begun.acquire()
    ended.acquire()
    _walking.append(ended)
    _thread.start_new_thread(_walk, (folder + "smaps", fd, begun, ended))
    begun.acquire()


def take(path: str) -> bytes | None:
    """The bytes of a file that was read ahead, None where it was not; waits for smaps until it is read."""
    if _walking and path.endswith("/smaps"):
        _walking.pop().acquire()
    return _read.pop(path, None)


def _walk(path: str, fd: int, begun: _thread.LockType, ended: _thread.LockType) -> None:
    try:
        begun.release()
        data = read_whole(fd, LIMIT_BYTES)
        if len(data) <= LIMIT_BYTES:
            _read[path] = data
    except OSError:
        pass
    finally:
        os.close(fd)
        ended.release()


def read_whole(fd: int, limit_bytes: int) -> bytes:
    """All that a file gives, and a little more than `limit_bytes` where it gives more."""
    buffer = memoryview(bytearray(PIECES * PIECE_BYTES))
    pieces = [buffer[at : at + PIECE_BYTES] for at in range(0, len(buffer), PIECE_BYTES)]
    parts = []
    left = limit_bytes
    while left >= 0 and (size_bytes := os.readv(fd, pieces)):
        parts.append(bytes(buffer[:size_bytes]))
        left -= size_bytes
    return b"".join(parts)


def _resident_pages(statm: bytes) -> int:
    """Field 2 of statm; 0 where that is no number, which the caller finds out by itself."""
    fields = statm.split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else 0


def _small(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, PIECE_BYTES)
    finally:
        os.close(fd)
