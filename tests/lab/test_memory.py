"""The states of memory, by the kernel's own figures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from whyrss.errors import TargetError
from whyrss.facts.kernel import MADV_DONTNEED
from whyrss.lab.memory import OS_PAGE_BYTES, Memory

BASE = 0xB000000000  # not where the model has its heap, so that both can live in one process
MIB = 1 << 20


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory(BASE)
    yield made
    made.free()


def test_reserved_memory_is_not_resident(memory: Memory) -> None:
    memory.reserve(64 * MIB)
    assert memory.kernel_figures() == {"Rss": 0, "LazyFree": 0, "AnonHugePages": 0}
    with open("/proc/self/maps") as maps:
        assert f"{BASE:x}-{BASE + 64 * MIB:x} ---p" in maps.read()


def test_mapped_memory_is_resident_page_by_page_as_it_is_touched(memory: Memory) -> None:
    memory.reserve(64 * MIB)
    memory.map(BASE, 4 * MIB)
    assert memory.kernel_figures()["Rss"] == 0
    memory.touch(BASE + 1, 1)
    memory.touch(BASE + OS_PAGE_BYTES - 1, 2)
    assert memory.kernel_figures()["Rss"] == 2 * OS_PAGE_BYTES
    memory.touch(BASE, 4 * MIB)
    assert memory.kernel_figures()["Rss"] == 4 * MIB


def test_touching_writes_the_first_byte_of_each_page_only(memory: Memory) -> None:
    memory.reserve(MIB)
    memory.map(BASE, MIB)
    memory.touch(BASE, 2 * OS_PAGE_BYTES)
    assert memory.read(BASE, 2 * OS_PAGE_BYTES + 1) == (b"\x01" + bytes(OS_PAGE_BYTES - 1)) * 2 + b"\x00"


def test_a_range_larger_than_one_stroke_is_touched_whole(memory: Memory) -> None:
    size_bytes = (64 << 10) * OS_PAGE_BYTES + 3 * OS_PAGE_BYTES  # one page of the kernel's more than _ONES covers
    memory.reserve(size_bytes)
    memory.map(BASE, size_bytes)
    memory.touch(BASE, size_bytes)
    assert memory.kernel_figures()["Rss"] == size_bytes


def test_mapping_again_and_fault_drop_the_pages(memory: Memory) -> None:
    memory.reserve(4 * MIB)
    memory.map(BASE, 4 * MIB)
    memory.touch(BASE, 4 * MIB)
    memory.map(BASE, MIB)
    assert memory.kernel_figures()["Rss"] == 3 * MIB
    memory.fault(BASE + MIB, MIB)
    assert memory.kernel_figures()["Rss"] == 2 * MIB
    assert memory.read(BASE, 1) == b"\x00"


def test_an_advice_answers_with_its_errno(memory: Memory) -> None:
    memory.reserve(MIB)
    memory.map(BASE, MIB)
    assert memory.madvise(BASE, MIB, MADV_DONTNEED) == 0
    assert memory.madvise(BASE, MIB, 12345) == 22  # EINVAL
    assert memory.madvise(BASE + 1, MIB, MADV_DONTNEED) == 22


def test_address_space_that_is_taken_is_refused_and_left_alone(memory: Memory) -> None:
    memory.reserve(MIB)
    memory.map(BASE, MIB)
    memory.touch(BASE, MIB)
    second = Memory(BASE)
    with pytest.raises(TargetError, match="is taken"):
        second.reserve(MIB)
    assert memory.kernel_figures()["Rss"] == MIB


def test_faulted_memory_cannot_be_read() -> None:
    program = (
        "from whyrss.lab.memory import Memory; m = Memory(0xb000000000); m.reserve(4096); m.map(m.base, 4096);"
        "m.touch(m.base, 1); m.fault(m.base, 4096); m.read(m.base, 1)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -11  # SIGSEGV


def test_freed_memory_is_gone() -> None:
    memory = Memory(BASE)
    memory.reserve(MIB)
    memory.free()
    with open("/proc/self/maps") as maps:
        assert f"{BASE:x}-" not in maps.read()
