"""A process with every kind of page that counts in RSS, or looks as if it did."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from tests import support

MIB = 1 << 20

# READY names each mapping's start. It obeys "unmap" (drops the fragmented mapping), and dies with its parent.
CHILD = """
import ctypes, json, mmap, os, sys, tempfile
page, mib, kinds = mmap.PAGESIZE, 1 << 20, sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
starts, keep = {}, []
def mapping(name, size, advice=mmap.MADV_NOHUGEPAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, fd=-1):
    memory = mmap.mmap(fd, size, flags=flags)
    if advice is not None:
        memory.madvise(advice)
    starts[name] = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    keep.append(memory)
    return memory
zero = mapping("zero", 4 * mib)
for at in range(0, 4 * mib, page):
    if at // page % 4 == 3:
        zero[at] = 1
    else:
        zero[at]
fragmented = mapping("fragmented", 64 * mib)
for at in range(0, 64 * mib, 2 * page):
    fragmented[at] = 1
huge = mapping("huge", 8 * mib, mmap.MADV_HUGEPAGE)
base = -starts["huge"] % (2 * mib)
huge[base + 2 * mib] = 1
huge[base]  # the huge zero page
shared = mapping("shared", 4 * mib, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, advice=None)
shared[: 3 * mib] = bytes(3 * mib)
memfd = os.memfd_create("pages")
os.ftruncate(memfd, 4 * mib)
mapping("memfd", 4 * mib, None, mmap.MAP_SHARED, memfd)[:mib] = bytes(mib)
file = tempfile.TemporaryFile()
file.write(bytes(4 * mib))
file.flush()
copied = mapping("copied", 4 * mib, None, mmap.MAP_PRIVATE, file.fileno())
for at in range(0, 4 * mib, page):
    if at // page % 3 == 0:
        copied[at] = 1
    else:
        copied[at]
locked = mapping("locked", mib)
locked[0] = 1
if "lock" in kinds:
    libc.mlock(ctypes.c_void_p(starts["locked"]), ctypes.c_size_t(mib))
striped = mapping("striped", 8 * mib)
striped[:] = bytes(8 * mib)
for at in range(0, 8 * mib, 2 * page):
    libc.mprotect(ctypes.c_void_p(starts["striped"] + at), ctypes.c_size_t(page), mmap.PROT_READ)
libc.prctl(1, 9)
if "fork" in kinds and not os.fork():
    libc.prctl(1, 9)
    sys.stdin.close()
    libc.pause()
print("READY", json.dumps(starts), flush=True)
for line in sys.stdin:
    if line.strip() == "unmap":
        libc.munmap(ctypes.c_void_p(starts["fragmented"]), ctypes.c_size_t(64 * mib))
    print("OK", flush=True)
"""


@contextlib.contextmanager
def mapped(*kinds: str) -> Iterator[support.Program]:
    """That process; with "fork" it has a child that shares its pages, with "lock" some of them are locked."""
    support.needs_linux()
    with support.running([sys.executable, "-c", CHILD, *kinds]) as running:
        yield running
