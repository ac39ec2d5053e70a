"""A process whose pages were freed, kept and written again one by one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

from tests import support

FREED, DIRTY, WRITTEN_AGAIN, UNTOUCHED = "F", "D", "W", "-"

# Fills pages by a pattern of the letters above, in that order of events.  It stays on one CPU, and frees a page
# of another mapping at the end: MADV_FREE begins by emptying its CPU's batches (mm/madvise.c,
# madvise_free_single_vma: lru_add_drain), so that all that was freed before has its mark.
CHILD = """
import ctypes, json, mmap, os, sys
pattern, huge = sys.argv[1], sys.argv[2] == "huge"
page = mmap.PAGESIZE
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
def mapping(size_bytes):
    memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE if huge else mmap.MADV_NOHUGEPAGE)
    return memory
margin = 2 << 20 if huge else 0
memory, other = mapping(len(pattern) * page + margin), mapping(page)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
base = -address % (2 << 20) if huge else 0
def write(number, value):
    memory[base + number * page] = value
other[0] = 1
for number, what in enumerate(pattern):
    if what != "-":
        write(number, 1)
number = 0
while number < len(pattern):
    end = number
    while end < len(pattern) and pattern[end] in "FW":
        end += 1
    if end > number:
        memory.madvise(mmap.MADV_FREE, base + number * page, (end - number) * page)
    number = end + 1
other.madvise(mmap.MADV_FREE)
for number, what in enumerate(pattern):
    if what == "W":
        write(number, 2)
print("READY", json.dumps({"start": address + base}), flush=True)
for line in sys.stdin:
    read = [memory[base + number * page] for number in range(len(pattern))]
    bad = sum(value != {"D": 1, "W": 2}.get(what, value) for value, what in zip(read, pattern))
    print(f"BAD {bad}" if bad else "OK", flush=True)
"""


@contextlib.contextmanager
def pages_of(pattern: str, size: str = "small") -> Iterator[support.Program]:
    """A process with such pages: they begin at `ready["start"]`, and any line is answered by "OK" if the dirty
    ones hold what was written last."""
    support.needs_linux()
    with support.running([sys.executable, "-c", CHILD, pattern, size]) as running:
        yield running
