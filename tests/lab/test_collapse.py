"""Huge pages made from outside, in a process that keeps one page of each block, and in a real Go heap."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from whyrss.errors import GoneError, RefusedError
from whyrss.lab.collapse import collapse, collapse_blocks, heap_blocks
from whyrss.sources.proc import ProcSource

HUGE_BYTES = 2 << 20
SMALL_PAGE = "T"  # a block of 2 MiB of which one page was touched
NOT_TOUCHED = "-"
REFUSED = "R"  # touched, and marked with MADV_NOHUGEPAGE

CHILD = """
import ctypes, json, mmap, sys
pattern, huge = sys.argv[1], 2 << 20
memory = mmap.mmap(-1, (len(pattern) + 1) * huge, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
base = -address % huge
memory.madvise(mmap.MADV_NOHUGEPAGE)
for number, letter in enumerate(pattern):
    if letter != "-":
        memory[base + number * huge + 4 * mmap.PAGESIZE] = number + 1
for number, letter in enumerate(pattern):
    if letter != "R":
        memory.madvise(mmap.MADV_HUGEPAGE, base + number * huge, huge)
print("READY", json.dumps({"start": address + base}), flush=True)
for line in sys.stdin:
    read = [memory[base + number * huge + 4 * mmap.PAGESIZE] for number in range(len(pattern))]
    good = read == [0 if letter == "-" else number + 1 for number, letter in enumerate(pattern)]
    print("OK" if good else f"BAD {read}", flush=True)
"""

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or os.geteuid() != 0, reason="only root may advise another process"
)


@contextlib.contextmanager
def blocks_of(pattern: str) -> Iterator[tuple[support.Program, list[int]]]:
    """A process with such blocks, and their addresses."""
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 1):
        pytest.skip("MADV_COLLAPSE needs Linux 6.1")
    with support.running([sys.executable, "-c", CHILD, pattern]) as running:
        start = running.ready["start"]
        yield running, [start + number * HUGE_BYTES for number in range(len(pattern))]


def anon_huge_bytes(pid: int, blocks: list[int]) -> int:
    """AnonHugePages of the mappings in which the blocks lie."""
    found, inside = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, *rest = line.split()
        if "-" in name:
            start, end = (int(part, 16) for part in name.split("-"))
            inside = any(start <= block < end for block in blocks)
        elif name == "AnonHugePages:" and inside:
            found += int(rest[0]) << 10
    return found


def test_each_block_with_a_page_becomes_a_huge_page() -> None:
    with blocks_of(SMALL_PAGE * 2 + NOT_TOUCHED + SMALL_PAGE) as (running, blocks):
        assert collapse_blocks(running.pid, blocks) == 3
        assert anon_huge_bytes(running.pid, blocks) == 3 * HUGE_BYTES
        assert running.ask("check") == "OK"


def test_a_huge_page_that_is_there_counts_too() -> None:
    with blocks_of(SMALL_PAGE) as (running, blocks):
        assert [collapse_blocks(running.pid, blocks) for _ in range(2)] == [1, 1]


def test_what_the_program_does_not_want_is_left() -> None:
    with blocks_of(REFUSED + SMALL_PAGE + REFUSED) as (running, blocks):
        assert collapse_blocks(running.pid, blocks) == 1
        assert anon_huge_bytes(running.pid, blocks) == HUGE_BYTES
        assert running.ask("check") == "OK"


def test_the_blocks_of_a_go_heap() -> None:
    """One live page in each 256 KiB: all of what was released comes back, and no pages of another mapping."""
    with support.running([support.go_program("1.24", "hugepage-refill"), "32"]) as running:
        blocks = list(heap_blocks(ProcSource(running.pid).collect()))
        assert all(block % HUGE_BYTES == 0 for block in blocks)
        assert len(set(blocks)) == len(blocks)
        made = collapse(running.pid)
        assert 16 <= made <= len(blocks)
        assert anon_huge_bytes(running.pid, blocks) == made * HUGE_BYTES
        assert running.ask("check").startswith("OK")


def test_a_process_that_is_gone() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(GoneError, match=str(process.pid)):
        collapse_blocks(process.pid, [])


def test_a_kernel_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    old = os.uname_result(("Linux", "here", "6.0.19", "#1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: old)
    with pytest.raises(RefusedError, match="no MADV_COLLAPSE"):
        collapse_blocks(os.getpid(), [])


def test_without_the_right_it_is_refused() -> None:
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv (util-linux)")
    program = (
        "import sys; from whyrss.errors import RefusedError; from whyrss.lab.collapse import collapse_blocks\n"
        "try: print(collapse_blocks(int(sys.argv[1]), [int(sys.argv[2])]))\n"
        "except RefusedError as error: print('refused:', error)"
    )
    under = ["setpriv", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-sys_nice", "--"]
    with blocks_of(SMALL_PAGE) as (running, blocks):
        argv = [*under, sys.executable, "-c", program, str(running.pid), str(blocks[0])]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("refused: process_madvise(MADV_COLLAPSE): Operation not permitted")
        assert "CAP_SYS_NICE" in done.stdout
