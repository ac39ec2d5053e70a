"""smaps by the size of the reads.

The kernel writes records into a buffer of one page. A record that no longer fits is thrown away and made again by
the next read (fs/seq_file.c: seq_read_iter), and with it the walk over that mapping's pages. A read that asks for
less than a page and a record never comes to that; a large one walks the heap twice, where the heap's record is
the one that does not fit.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from benchmarks.bench import Bench
from benchmarks.many_vmas import timed
from benchmarks.report import Section, skipped
from benchmarks.rounds import Sample, measure
from whyrss.errors import TargetError

LARGE = "reads of 64 KiB"
PART_BYTES = 2 << 10
PARTS = 32


def run(bench: Bench, target: AbstractContextManager[int], what: str) -> Section:
    title = f"Reading smaps of {what}, in process"
    try:
        with target as pid:
            path = f"/proc/{pid}/smaps"
            candidates: dict[str, Callable[[], Sample]] = {LARGE: partial(timed, partial(_by_read, path, 64 << 10))}
            for size_bytes in (1024, 2560, 4096):
                candidates[f"reads of {size_bytes:,} bytes"] = partial(timed, partial(_by_read, path, size_bytes))
            candidates[f"readv, {PARTS} parts of {PART_BYTES:,} bytes"] = partial(timed, partial(_by_readv, path))
            gc.disable()
            try:
                return Section(title, LARGE, measure(candidates, bench.rounds, LARGE))
            finally:
                gc.enable()
    except TargetError as error:
        return skipped(title, error)


def _by_read(path: str, size_bytes: int) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(fd, size_bytes):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def _by_readv(path: str) -> bytes:
    """Each part is a read of its own to the kernel (fs/read_write.c: do_loop_readv_writev)."""
    view = memoryview(bytearray(PARTS * PART_BYTES))
    buffers = [view[at : at + PART_BYTES] for at in range(0, len(view), PART_BYTES)]
    fd = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while count := os.readv(fd, buffers):
            parts.append(bytes(view[:count]))
    finally:
        os.close(fd)
    return b"".join(parts)
