"""Memory that lies: a real process's, with words changed. There is a heap, or Missing; never more than a bounded
amount of reading, and no other exception."""

from __future__ import annotations

import functools
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.goheap.captured import captured
from whyrss.errors import Missing
from whyrss.goheap import spans
from whyrss.goheap.heap import Heap, read_heap
from whyrss.goheap.locate import Located
from whyrss.goheap.memory import ImageMemory
from whyrss.goheap.values import Values

VERSIONS = ("1.15", "1.24", "1.27")
PAGE = 4096
WORD = 8
READS_MAX = 200_000
READ_BYTES_MAX = 1 << 30
SPECIAL = (0, 1, 7, 1 << 12, 1 << 20, 1 << 32, 1 << 47, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)


class Bounded:
    """Memory with some words changed, that counts what is read of it."""

    def __init__(self, pages: dict[int, bytes], changes: dict[int, int]) -> None:
        changed = dict(pages)
        for address, value in changes.items():
            page = address // PAGE * PAGE
            data = bytearray(changed[page])
            data[address - page : address - page + WORD] = value.to_bytes(WORD, "little")
            changed[page] = bytes(data)
        self._memory = ImageMemory(changed)
        self.reads = self.read_bytes = 0

    def read(self, address: int, size_bytes: int) -> bytes:
        self.reads += 1
        data = self._memory.read(address, size_bytes)
        self.read_bytes += len(data)
        assert self.reads <= READS_MAX
        assert self.read_bytes <= READ_BYTES_MAX
        return data


class Target:
    """A captured process: its pages, its runtime, and the words that matter most."""

    def __init__(self, version: str) -> None:
        self.pages, self.located = captured(version, "16")
        self.addresses = sorted(self.pages)
        self.vital = _vital(self.pages, self.located)

    def any_word(self, number: int) -> int:
        return self.addresses[number // (PAGE // WORD) % len(self.addresses)] + number % (PAGE // WORD) * WORD


@functools.cache
def target(version: str) -> Target:
    return Target(version)


def _vital(pages: dict[int, bytes], located: Located) -> list[int]:
    """The addresses of lengths, pointers and fields that the walk follows."""
    layout, heap = located.layout, located.mheap
    arenas = "mheap.heapArenas" if layout.has("mheap.heapArenas") else "mheap.allArenas"
    in_pages = [f"pageAlloc.{name}" for name in ("inUse", "start", "end", "summary", "chunks")]
    found = [heap + layout.offset(name) for name in ("mheap.allspans", "mheap.sweepgen", "mheap.pagesInUse", arenas)]
    found += [heap + layout.offset("mheap.pages") + layout.offset(name) for name in in_pages]
    for at in list(found):
        found += [at + WORD, at + 2 * WORD]
    values = Values(ImageMemory(pages), layout)
    for slice_at in (heap + layout.offset("mheap.allspans"), heap + layout.offset(arenas)):
        pointer, count = values.words(slice_at, 2)
        found += [pointer, pointer + WORD * (count - 1)]
    mspan = values.word(values.word(heap + layout.offset("mheap.allspans")))
    found += [mspan // WORD * WORD + at for at in range(0, layout.size("mspan"), WORD)]
    found += [at for at in (located.allp, located.allm, located.persistent, located.gc_controller) if at]
    return [at for at in found if at // PAGE * PAGE in pages and at % WORD == 0]


words = st.one_of(st.sampled_from(SPECIAL), st.integers(0, (1 << 64) - 1), st.integers(0, 1 << 16))
changes = st.lists(st.tuples(st.booleans(), st.integers(0, 1 << 40), words, st.booleans()), min_size=1, max_size=6)


@pytest.mark.parametrize("small", [0, 1 << 40], ids=["arrays", "rows"])
@pytest.mark.parametrize("version", VERSIONS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(drawn=changes)
def test_changed_words(
    version: str, small: int, monkeypatch: pytest.MonkeyPatch, drawn: list[tuple[bool, int, int, bool]]
) -> None:
    monkeypatch.setattr(spans, "SMALL", small)
    one = target(version)
    changed = {}
    for is_vital, number, value, is_address in drawn:
        at = one.vital[number % len(one.vital)] if is_vital else one.any_word(number)
        changed[at] = one.any_word(value) if is_address else value
    _is_heap_or_missing(Bounded(one.pages, changed), one.located)


@pytest.mark.parametrize("version", VERSIONS)
@settings(max_examples=30, deadline=None)
@given(lost=st.sets(st.integers(0, 1 << 20), min_size=1, max_size=8))
def test_pages_that_are_gone(version: str, lost: set[int]) -> None:
    one = target(version)
    gone = {one.addresses[number % len(one.addresses)] for number in lost}
    left = {address: data for address, data in one.pages.items() if address not in gone}
    _is_heap_or_missing(Bounded(left, {}), one.located)


@pytest.mark.parametrize("value", SPECIAL)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_vital_word(version: str, value: int) -> None:
    one = target(version)
    for address in one.vital:
        _is_heap_or_missing(Bounded(one.pages, {address: value}), one.located)


def test_random_bytes_are_missing_or_an_inconsistent_heap() -> None:
    one = target("1.24")
    state = 1
    noise = bytearray()
    while len(noise) < PAGE:
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        noise += state.to_bytes(8, "little")
    with pytest.raises(Missing):
        read_heap(Bounded(dict.fromkeys(one.pages, bytes(noise)), {}), one.located)


def _is_heap_or_missing(memory: Bounded, located: Located) -> None:
    try:
        heap = read_heap(memory, located)
    except Missing as missing:
        assert missing.reason
        return
    _is_sound(heap)


def _is_sound(heap: Heap) -> None:
    """What holds of every heap, however much of it is wrong."""
    assert heap.residue_bytes >= 0
    assert heap.consistent == (not heap.residue_bytes)
    assert sum(end - start for start, end, _ in heap.runs()) == sum(end - start for start, end in heap.arenas)
    assert all(before[1] <= after[0] for before, after in pairwise(heap.metadata))
    for _, pages, _, _, elem_bytes, elems, allocated, live, _ in heap.spans.rows():
        assert live <= allocated <= elems
        assert elems * elem_bytes <= pages * 8192
