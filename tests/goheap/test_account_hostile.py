"""A captured process with words of its memory changed, from the search for its runtime to the account by page: the
lines add up to what is resident, within what is stated, or there are words; with bounded reading."""

from __future__ import annotations

import functools
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.goheap import located as programs
from whyrss.bypage import account_by_page
from whyrss.errors import Missing
from whyrss.goheap import spans
from whyrss.goheap.heap import read_heap
from whyrss.goheap.image import Image
from whyrss.goheap.locate import FOR_THE_WALK, Located, locate
from whyrss.goheap.memory import ImageMemory
from whyrss.read.buildinfo import Build
from whyrss.read.pagemap import Pages
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Snapshot, Vmas
from whyrss.sources.executable import build_of
from whyrss.sources.pages import read_pages

VERSIONS = ("1.15", "1.24", "1.27")
PAGE_BYTES = 4096
BLOCK_BYTES = 256 << 10  # what is absent of them reads as zeros
READS_MAX, READ_BYTES_MAX = 400_000, 2 << 30
NEAR_WORDS = 16
HEADERS = (
    "allspans",
    "spanalloc",
    "cachealloc",
    "heapArenas",
    "allArenas",
    "arenas",
    "pages",
    "sweepgen",
    "pagesInUse",
)
GLOBALS = ("allm", "allp", "persistent", "gc_controller", "buckets", "memstats")
SPECIAL = (0, 1, 7, 1 << 12, 1 << 20, 1 << 25, 1 << 32, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


class Bounded:
    """Memory that counts what is read of it."""

    def __init__(self, memory: ImageMemory) -> None:
        self._memory = memory
        self.reads = self.read_bytes = 0

    def read(self, address: int, size_bytes: int) -> bytes:
        data = self._memory.read(address, size_bytes)
        self.reads += 1
        self.read_bytes += len(data)
        assert self.reads <= READS_MAX
        assert self.read_bytes <= READ_BYTES_MAX
        return data


class Target:
    """A process at one moment: its memory that can be written, its file, its mappings and its resident pages."""

    def __init__(self, version: str) -> None:
        path = programs.program(version, "static")
        self.file = path.read_bytes()
        with programs.started(path) as running, programs.opened(running.pid) as (memory, image):
            programs.settled(running.pid)
            self.bias = image.bias
            self.build: Build = build_of(f"/proc/{running.pid}/exe")
            self.vmas: Vmas = parse_smaps(Path(f"/proc/{running.pid}/smaps").read_bytes())
            self.pages: Pages = read_pages(running.pid, self.vmas, PAGE_BYTES)
            self.ranges = {}
            for each in memory.maps.list:
                if each.perms.startswith("rw"):
                    block = PAGE_BYTES if each.inode else BLOCK_BYTES
                    for low, high in _blocks(memory.resident(each.start, each.end), block, each.start, each.end):
                        self.ranges[low] = bytearray(memory.read(low, high - low))
        self.starts = sorted(self.ranges)
        self.vital = self._vital(self.locate(Bounded(programs.held(self.ranges))))

    def locate(self, memory: Bounded) -> Located:
        image = Image(lambda at, size: self.file[at : at + size], len(self.file), self.bias)
        return locate(memory, image, self.build, wanted=FOR_THE_WALK)

    def _vital(self, right: Located) -> list[int]:
        """Words that the search and the walk go by, in the runtime's data and in the first spans."""
        layout = right.layout
        places = [right.mheap + layout.offset(f"mheap.{name}") for name in HEADERS if layout.has(f"mheap.{name}")]
        places += [place for name in GLOBALS if (place := getattr(right, name)) is not None]
        spans_at = int.from_bytes(self._at(right.mheap + layout.offset("mheap.allspans"), 8), "little")
        places += [spans_at, *struct.unpack("<8Q", self._at(spans_at + 8 * 32, 64))]
        return [place // 8 * 8 + 8 * step for place in places for step in range(NEAR_WORDS)]

    def _at(self, address: int, size_bytes: int) -> bytes:
        return programs.held(self.ranges).read(address, size_bytes)

    def changed(self, changes: dict[int, int]) -> Bounded:
        ranges = dict(self.ranges)
        for address, value in changes.items():
            for start in self.starts:
                if start <= address <= start + len(ranges[start]) - 8:
                    ranges[start] = bytearray(ranges[start])
                    struct.pack_into("<Q", ranges[start], address - start, value)
        return Bounded(programs.held(ranges))

    def any_word(self, number: int) -> int:
        start = self.starts[number % len(self.starts)]
        return start + number * 8 % (len(self.ranges[start]) - 7) // 8 * 8


def _blocks(resident: list[tuple[int, int]], block: int, start: int, end: int) -> list[tuple[int, int]]:
    """The aligned blocks of [start, end) that something is resident of, neighbours as one."""
    found: list[tuple[int, int]] = []
    for first, last in resident:
        low, high = max(start, first // block * block), min(end, -(-last // block) * block)
        joins = found and low <= found[-1][1]
        found.append((found.pop()[0] if joins else low, high))
    return found


@functools.cache
def target(version: str) -> Target:
    return Target(version)


def account(one: Target, memory: Bounded) -> None:
    """Holds the account to what holds of every one. Raises Missing."""
    heap = read_heap(memory, one.locate(memory))
    found = account_by_page(Snapshot("", "", "", {"Heap": heap, "Pages": one.pages, "Vmas": one.vmas}))
    assert found.basis == "page"
    assert all(line.bytes >= 0 for _, line in found.root.walk())
    assert found.residue_bytes is not None
    assert abs(found.rss_bytes - one.pages.resident_bytes) <= found.residue_bytes


@pytest.mark.parametrize("version", VERSIONS)
def test_the_captured_process_has_an_account(version: str) -> None:
    one = target(version)
    account(one, one.changed({}))


values = st.one_of(st.sampled_from(SPECIAL), st.integers(0, (1 << 64) - 1), st.integers(0, 1 << 16))
changes = st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 40), values, st.booleans()), min_size=1, max_size=5)


@pytest.mark.parametrize("small", [0, 1 << 40], ids=["arrays", "rows"])
@pytest.mark.parametrize("version", VERSIONS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(drawn=changes)
def test_changed_words_end_in_words_or_in_a_sum(
    version: str, small: int, monkeypatch: pytest.MonkeyPatch, drawn: list[tuple[bool, int, int, bool]]
) -> None:
    monkeypatch.setattr(spans, "SMALL", small)
    one = target(version)
    changed = {}
    for is_vital, number, value, is_address in drawn:
        at = one.vital[number % len(one.vital)] if is_vital else one.any_word(number)
        changed[at] = one.any_word(value) if is_address else value
    try:
        account(one, one.changed(changed))
    except Missing as missing:
        assert missing.reason
