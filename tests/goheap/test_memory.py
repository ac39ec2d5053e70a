"""Memory is read exactly, and what is absent, in swap or no memory at all is never touched."""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import support
from tests.live.patterned import DIRTY, UNTOUCHED, WRITTEN_AGAIN, pages_of
from whyrss.errors import Missing
from whyrss.goheap import memory as module
from whyrss.goheap.maps import Maps
from whyrss.goheap.memory import READ_MAX_BYTES, ImageMemory, ProcessMemory, Unreadable

PAGE_BYTES = mmap.PAGESIZE
PRESENT, SWAPPED = 1 << 63, 1 << 62


def present(pid: int, start: int, count: int) -> list[bool]:
    """Whether each page is there, without whyrss."""
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as file:
        file.seek(start // PAGE_BYTES * 8)
        return [bool(entry & PRESENT) for (entry,) in struct.iter_unpack("<Q", file.read(8 * count))]


# A live process


def test_pages_read_as_the_process_has_them_and_absent_ones_stay_absent() -> None:
    pattern = UNTOUCHED * 3 + DIRTY + UNTOUCHED + WRITTEN_AGAIN * 2 + UNTOUCHED * 70 + DIRTY + UNTOUCHED
    with pages_of(pattern) as running, ProcessMemory(running.pid) as memory:
        start = running.ready["start"]
        before = present(running.pid, start, len(pattern))
        whole = memory.read(start, len(pattern) * PAGE_BYTES)
        single = [memory.read(start + number * PAGE_BYTES, 1)[0] for number in range(len(pattern))]
        again = [memory.read(start + number * PAGE_BYTES, 1)[0] for number in range(len(pattern))]
        across = memory.read(start + 3 * PAGE_BYTES - 8, 16)
        after = present(running.pid, start, len(pattern))
    wanted = [{DIRTY: 1, WRITTEN_AGAIN: 2}.get(what, 0) for what in pattern]
    assert [whole[number * PAGE_BYTES] for number in range(len(pattern))] == wanted
    assert single == again == wanted
    assert across == bytes(8) + b"\1" + bytes(7)
    assert before == after == [what != UNTOUCHED for what in pattern]


def test_resident_parts_are_those_of_the_kernel() -> None:
    pattern = (DIRTY * 3 + UNTOUCHED * 2) * 50 + UNTOUCHED
    with pages_of(pattern) as running, ProcessMemory(running.pid) as memory:
        start = running.ready["start"]
        found = memory.resident(start + 8, start + len(pattern) * PAGE_BYTES)
    wanted = [(start + at * PAGE_BYTES, start + (at + 3) * PAGE_BYTES) for at in range(0, 250, 5)]
    assert found == [(start + 8, wanted[0][1]), *wanted[1:]]


def test_a_page_that_comes_later_is_seen() -> None:
    program = (
        "import ctypes, mmap, sys\n"
        "memory = mmap.mmap(-1, 8192, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "print('READY', ctypes.addressof(ctypes.c_char.from_buffer(memory)), flush=True)\n"
        "for line in sys.stdin: memory[0] = 7; print('OK', flush=True)"
    )
    support.needs_linux()
    with support.running([sys.executable, "-c", program]) as running, ProcessMemory(running.pid) as memory:
        start = int(str(running.ready))
        assert memory.read(start, 8) == bytes(8)
        running.ask("write")
        assert memory.read(start, 8) == b"\7" + bytes(7)


def test_a_page_of_a_file_that_is_absent_is_not_brought_in(tmp_path: Path) -> None:
    program = (
        "import ctypes, mmap, sys\n"
        "file = open(sys.argv[1], 'r+b')\n"
        "memory = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE)\n"
        "print('READY', ctypes.addressof(ctypes.c_char.from_buffer(memory)), flush=True)\n"
        "sys.stdin.read()"
    )
    support.needs_linux()
    file = tmp_path / "mapped"
    file.write_bytes(b"x" * 4 * PAGE_BYTES)
    with support.running([sys.executable, "-c", program, file]) as running, ProcessMemory(running.pid) as memory:
        start = int(str(running.ready))
        with pytest.raises(Unreadable, match=f"not resident, and of {file}"):
            memory.read(start + PAGE_BYTES, 8)
        assert present(running.pid, start, 4) == [False] * 4


def test_what_is_not_mapped_is_unreadable() -> None:
    with pages_of(DIRTY) as running, ProcessMemory(running.pid) as memory:
        for address, size_bytes in ((0, 8), (1 << 46, 8), (8, 4 * PAGE_BYTES), (1 << 60, 1 << 20)):
            with pytest.raises(Unreadable, match="not mapped"):
                memory.read(address, size_bytes)
        for address, size_bytes in ((-8, 8), ((1 << 64) - 8, 8), (1 << 64, 8), (8, READ_MAX_BYTES + 1)):
            with pytest.raises(Unreadable):
                memory.read(address, size_bytes)
        assert memory.read(1 << 60, 0) == b""


def test_a_process_that_ended_is_unreadable() -> None:
    with pages_of(DIRTY * 4) as running:
        start = running.ready["start"]
        memory = ProcessMemory(running.pid)
        assert memory.read(start, 1) == b"\1"
    with memory:
        for address in (start, start + 2 * PAGE_BYTES):
            with pytest.raises(Unreadable):
                memory.read(address, 8)
    with pytest.raises(Missing, match=str(running.pid)):
        ProcessMemory(running.pid)


def test_swapped_pages_are_left_in_swap(tmp_path: Path) -> None:
    """The files of /proc as the kernel writes them where there is swap: page 1 is in memory, page 2 in swap."""
    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "mem").write_bytes(bytes(PAGE_BYTES) + b"m" * PAGE_BYTES + b"never" * PAGE_BYTES)
    (folder / "pagemap").write_bytes(struct.pack("<4Q", 0, PRESENT | 9, SWAPPED | 5 << 5, 0))
    (folder / "maps").write_text(f"{PAGE_BYTES:08x}-{4 * PAGE_BYTES:08x} rw-p 00000000 00:00 0 \n")
    with ProcessMemory(7, str(tmp_path)) as memory:
        assert memory.read(PAGE_BYTES, 4) == b"mmmm"
        assert memory.read(3 * PAGE_BYTES, 4) == bytes(4)
        assert memory.resident(0, 4 * PAGE_BYTES) == [(PAGE_BYTES, 2 * PAGE_BYTES)]
        for address in (2 * PAGE_BYTES, 2 * PAGE_BYTES - 2):
            with pytest.raises(Unreadable, match="in swap"):
                memory.read(address, 4)


@given(st.lists(st.integers(0, 2), max_size=64))
def test_runs_are_those_of_equal_neighbours(kinds: list[int]) -> None:
    wanted, at = [], 0
    for kind, group in itertools.groupby(kinds):
        count = len(list(group))
        wanted.append((kind, at, at + count))
        at += count
    assert list(module._runs(bytes(kinds))) == wanted


def test_no_file_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    with ProcessMemory(os.getpid()):
        assert len(os.listdir("/proc/self/fd")) == len(before) + 3
    with pytest.raises(Missing):
        ProcessMemory(0)
    assert os.listdir("/proc/self/fd") == before


# Memory that is held


@st.composite
def pieces(draw: st.DrawFn) -> dict[int, bytes]:
    ranges, at = {}, draw(st.integers(0, 20))
    for data in draw(st.lists(st.binary(max_size=24), max_size=6)):
        ranges[at] = data
        at += len(data) + draw(st.sampled_from([0, 0, 1, 9]))
    return ranges


@given(pieces(), st.integers(0, 120), st.integers(0, 60))
def test_held_memory_reads_as_its_bytes(ranges: dict[int, bytes], address: int, size_bytes: int) -> None:
    held = {start + at: byte for start, data in ranges.items() for at, byte in enumerate(data)}
    memory, wanted = ImageMemory(ranges), range(address, address + size_bytes)
    if all(at in held for at in wanted):
        assert memory.read(address, size_bytes) == bytes(held[at] for at in wanted)
    else:
        with pytest.raises(Unreadable):
            memory.read(address, size_bytes)
    found = memory.resident(address, address + size_bytes)
    assert [at for low, high in found for at in range(low, high)] == [at for at in wanted if at in held]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(found))


# The mappings


@pytest.fixture
def maps() -> Iterator[Maps]:
    yield Maps.of(
        b"1000-3000 r-xp 00002000 fe:00 26 /a b\n"
        b"4000-5000 rw-p 00000000 00:00 0 \n"
        b"5000-6000 rw-p 00000000 00:00 0 [heap]\n"
        b"nonsense\n"
        b"7000-7"
    )


def test_mappings_are_found_by_address(maps: Maps) -> None:
    found = maps.find(0x2FFF)
    assert found is not None
    assert (found.path, found.offset, found.inode, found.perms) == ("/a b", 0x2000, 26, "r-xp")
    assert maps.find(0x3000) is maps.find(0xFFF) is maps.find(0x6000) is None


def test_only_what_no_file_is_behind_is_anonymous(maps: Maps) -> None:
    assert maps.anonymous(0x4000, 0x6000)
    assert maps.anonymous(0x4800, 0x4801)
    for start, end in ((0x1000, 0x2000), (0x3000, 0x5000), (0x5000, 0x6001), (0x2000, 0x4800), (0x9000, 0x9001)):
        assert not maps.anonymous(start, end)
