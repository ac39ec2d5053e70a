"""The walk of the Go heap: on real processes of every Go, and on heaps laid out by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.goheap.captured import VERSIONS, captured, reading
from tests.goheap.fake import ARENA, CHUNK, MARKS, PAGE, SWEEPGEN, Fake
from whyrss.errors import Missing
from whyrss.goheap import arrays, rows, rules, spans
from whyrss.goheap.bits import IDLE, IN_USE, KINDS, RELEASED, STACK, TRANSITION, UNMAPPED, WORKBUF, decode
from whyrss.goheap.heap import Heap, PageRuns, read_heap
from whyrss.goheap.layout import Layout, layouts_for
from whyrss.goheap.memory import ImageMemory
from whyrss.goheap.metadata import flat

OLD = ("go1.12.13", "go1.13", "go1.13.10")  # without the page allocator's bitmap
RELEASES = ("go1.14.2", "go1.15.15", "go1.19.8", "go1.22.10", "go1.24.11", "go1.27.3")


@pytest.fixture(params=["rows", "arrays"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of walking, whatever the size."""
    monkeypatch.setattr(spans, "SMALL", {"rows": 1 << 40, "arrays": 0}[request.param])
    return str(request.param)


def layout(version: str) -> Layout:
    return layouts_for(version, "amd64")[0]


def pages_of(heap: Heap) -> dict[int, int]:
    """The kind of each page of the first arena, by its number."""
    return {
        (at - ARENA) // PAGE: kind
        for start, end, kind in heap.runs()
        for at in range(start, end, PAGE)
        if kind != UNMAPPED
    }


def read(fake: Fake) -> Heap:
    memory, located = fake.build()
    return read_heap(memory, located)


# Real processes


@pytest.fixture(scope="module", params=VERSIONS)
def quiet(request: pytest.FixtureRequest) -> Iterator[Heap]:
    with reading(request.param) as live:
        yield live.heap()


def test_a_quiet_heap_is_consistent(quiet: Heap) -> None:
    assert quiet.consistent
    assert quiet.residue_bytes == 0
    assert quiet.spans.odd == 0


def test_every_page_of_the_arenas_is_in_one_run(quiet: Heap) -> None:
    runs = list(quiet.runs())
    assert all(start < end and not (start | end) % PAGE for start, end, _ in runs)
    assert all(before[1] <= after[0] for before, after in pairwise(runs))
    assert sum(end - start for start, end, _ in runs) == sum(end - start for start, end in quiet.arenas)
    assert all(any(low <= start and end <= high for low, high in _merged(quiet.arenas)) for start, end, _ in runs)


def test_the_program_shows_every_kind(quiet: Heap) -> None:
    """pages.go keeps objects and stacks, and has memory that it gave back and memory that it did not."""
    totals = quiet.pages.totals()
    for kind in (IN_USE, STACK, IDLE, RELEASED, UNMAPPED):
        assert totals[kind] > 0, KINDS[kind]


def test_spans_lie_in_runs_of_their_kind(quiet: Heap) -> None:
    kinds = {at: kind for start, end, kind in quiet.runs() for at in range(start, end, PAGE)}
    for start, pages, state, _, elem_bytes, elems, allocated, live, _ in quiet.spans.rows():
        expected = IN_USE if state == rules.IN_USE else STACK if elem_bytes else WORKBUF
        assert {kinds[start + page * PAGE] for page in range(pages)} == {expected}
        assert live <= allocated <= elems
        assert elems * elem_bytes <= pages * PAGE
    assert sum(pages for _, pages, _ in quiet.in_use()) == quiet.pages.totals()[IN_USE]


def test_the_runtimes_own_memory_is_told_by_its_purpose(quiet: Heap) -> None:
    assert all(before[1] <= after[0] for before, after in pairwise(quiet.metadata))
    purposes = {purpose for _, _, purpose in quiet.metadata}
    assert purposes >= {"arena index", "heapArena", "page summaries", "page bitmaps", "allspans", "spans", "caches"}
    assert purposes >= {"persistent", "gcBits"}
    arenas = _merged(quiet.arenas)
    assert not any(low < end and start < high for low, high in arenas for start, end, _ in quiet.metadata)


def test_stacks_of_threads_are_found_outside_of_the_heap(quiet: Heap) -> None:
    assert quiet.stacks
    assert not any(low < end and start < high for low, high in quiet.arenas for start, end in quiet.stacks)


@pytest.mark.parametrize("version", ["1.15", "1.21", "1.27"])
def test_both_engines_find_the_same(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pages, located = captured(version)
    found = []
    for small, module in ((1 << 40, rows), (0, arrays)):
        monkeypatch.setattr(spans, "SMALL", small)
        heap = read_heap(ImageMemory(pages), located)
        assert heap.spans.large is (module is arrays)
        found.append(
            (
                list(heap.spans.rows()),
                list(heap.runs()),
                heap.metadata,
                heap.memstats,
                heap.walked,
                heap.residue_bytes,
            )
        )
    assert found[0] == found[1]


def test_while_the_program_allocates_the_rest_is_stated(engine: str) -> None:
    with reading("1.24") as live:
        live.program.ask("churn")
        try:
            heaps = [live.heap() for _ in range(8)]
        finally:
            live.program.ask("calm")
        still = live.heap()
    for heap in heaps:
        assert 1 <= heap.tries <= 5
        assert heap.consistent == (heap.residue_bytes == 0)
        assert sum(end - start for start, end, _ in heap.runs()) == sum(end - start for start, end in heap.arenas)
    assert still.consistent


def test_reading_leaves_the_target_as_it_was() -> None:
    """Its resident set and its faults. The program's own scavenger may spoil an attempt, each on a fresh process."""
    for _ in range(3):
        with reading("1.15") as live:
            before = _settled(live.program.pid)
            live.heap()
            after = _resident_and_faults(live.program.pid)
        if after == before:
            return
    assert after == before


def test_a_process_that_has_ended_is_missing() -> None:
    with reading("1.24") as live:
        live.program.process.kill()
        live.program.process.wait()
        with pytest.raises(Missing):
            live.heap()


def test_rows_and_runs_make_the_same_again(quiet: Heap) -> None:
    """A recording holds them as plain numbers."""
    again = Heap(
        quiet.layout,
        quiet.arenas,
        spans.Spans.of(list(quiet.spans.rows())),
        PageRuns.of(quiet.runs()),
        0,
        quiet.tries,
    )
    assert list(again.spans.rows()) == list(quiet.spans.rows())
    assert list(again.in_use()) == list(quiet.in_use())
    assert again.spans.sums().live_bytes == quiet.spans.sums().live_bytes
    assert again.pages.totals() == quiet.pages.totals()
    assert not len(PageRuns.of([]))
    assert not len(spans.Spans.of([]))


# Heaps by hand


def test_the_bits_of_a_chunk() -> None:
    allocated = (1 << 0 | 1 << 9 | 1 << 511).to_bytes(64, "little")
    scavenged = (1 << 1 | 1 << 510).to_bytes(64, "little")
    expected = [IDLE] * 512
    for page in (0, 9, 511):
        expected[page] = TRANSITION
    for page in (1, 510):
        expected[page] = RELEASED
    assert list(decode(allocated + scavenged)) == expected
    assert list(decode(bytes(128) + allocated + scavenged)) == [IDLE] * 512 + expected


@pytest.mark.parametrize("version", RELEASES)
def test_kinds_of_pages(version: str, engine: str) -> None:
    fake = Fake(layout(version))
    fake.span(0, 3)
    fake.span(3, state=2, elemsize=2048)
    fake.span(4, 4, state=2)
    fake.allocated |= {8, 64, 65, 66}
    fake.scavenged |= {10, 11}
    fake.caches = [(64, 0b011, 0b010)]
    heap = read(fake)
    expected = dict.fromkeys(range(512), IDLE) | dict.fromkeys(range(3), IN_USE) | dict.fromkeys(range(4, 8), WORKBUF)
    expected |= {3: STACK, 8: TRANSITION, 10: RELEASED, 11: RELEASED, 64: IDLE, 65: RELEASED, 66: TRANSITION}
    assert pages_of(heap) == expected
    assert heap.consistent
    assert heap.pages.totals()[UNMAPPED] == 15 * CHUNK // PAGE


def test_long_spans_are_whole(engine: str) -> None:
    fake = Fake(layout("go1.24.11"), grown=3)
    fake.span(0, 2)
    fake.span(2, 64)
    fake.span(66, 1000)
    heap = read(fake)
    assert heap.consistent
    assert pages_of(heap) == dict.fromkeys(range(1066), IN_USE) | dict.fromkeys(range(1066, 1536), IDLE)


@pytest.mark.parametrize(
    ("own", "expected"), [(SWEEPGEN, 5), (SWEEPGEN - 2, 3), (SWEEPGEN + 1, 3), (SWEEPGEN + 3, 5)]
)
def test_of_a_span_that_is_not_swept_the_marks_count(own: int, expected: int, engine: str) -> None:
    """runtime/mheap.go, at mspan.sweepgen: sweepgen - 2 needs sweeping; + 1 was cached before, and needs it too."""
    fake = Fake(layout("go1.24.11"))
    fake.marks = (1 << 0 | 1 << 7 | 1 << 9 | 1 << 10).to_bytes(8, "little")
    fake.span(0, elemsize=800, nelems=10, allocCount=5, sweepgen=own, gcmarkBits=MARKS)
    ((*_, allocated, live, _),) = read(fake).spans.rows()
    assert (allocated, live) == (5, expected)


@pytest.mark.parametrize(("version", "elem_bytes", "expected"), [("go1.24.11", 64, 1), ("go1.27.3", 64, 3),
                                                                ("go1.27.3", 1024, 1)])  # fmt: skip
def test_marks_inside_of_the_span(version: str, elem_bytes: int, expected: int, engine: str) -> None:
    """From Go 1.26 on, those of objects of 16 to 512 bytes (runtime/mgcmark_greenteagc.go, spanInlineMarkBits)."""
    fake = Fake(layout(version))
    fake.marks = (1).to_bytes(8, "little")
    fake.contents = {ARENA + PAGE - 128: bytes(64) + bytes([0b1101]) + bytes(63)}
    fake.span(0, elemsize=elem_bytes, nelems=7, allocCount=5, sweepgen=SWEEPGEN - 2, gcmarkBits=MARKS)
    assert [row[7] for row in read(fake).spans.rows()] == [expected]


def test_marks_that_cannot_be_read_count_as_live(engine: str) -> None:
    fake = Fake(layout("go1.24.11"))
    fake.span(0, elemsize=800, nelems=10, allocCount=5, sweepgen=SWEEPGEN - 2, gcmarkBits=0xDEAD000)
    heap = read(fake)
    assert [row[7] for row in heap.spans.rows()] == [5]
    assert heap.spans.unmarked == 1


def test_spans_that_overlap_are_residue(engine: str) -> None:
    fake = Fake(layout("go1.24.11"))
    fake.span(0, 4)
    fake.span(2, 4)
    heap = read(fake)
    assert (heap.consistent, heap.residue_bytes, heap.tries) == (False, 2 * PAGE, 5)


def test_a_span_without_its_bits_is_residue(engine: str) -> None:
    fake = Fake(layout("go1.24.11"))
    fake.span(0, 4)
    fake.allocated -= {1, 2, 3}
    assert read(fake).residue_bytes == 3 * PAGE


def test_another_count_of_pages_in_use_is_residue(engine: str) -> None:
    fake = Fake(layout("go1.24.11"))
    fake.span(0, 4)
    fake.pages_in_use = 11
    assert read(fake).residue_bytes == 7 * PAGE


def test_spans_out_of_place_are_residue(engine: str) -> None:
    fake = Fake(layout("go1.24.11"))
    fake.span(0, 4)
    fake.span(1 << 20, 2)
    fake.span(8, startAddr=ARENA + 77)
    fake.pages_in_use = 6
    heap = read(fake)
    assert heap.spans.odd == 1
    assert heap.residue_bytes == 3 * PAGE
    assert {page for page, kind in pages_of(heap).items() if kind == IN_USE} == {0, 1, 2, 3}


def test_objects_that_have_no_room_are_none(engine: str) -> None:
    fake = Fake(layout("go1.24.11"))
    fake.span(0, elemsize=4096, nelems=3, allocCount=3)
    fake.span(1, elemsize=4096, nelems=2, allocCount=9)
    assert [row[5:7] for row in read(fake).spans.rows()] == [(0, 0), (2, 2)]


@pytest.mark.parametrize("version", OLD)
def test_the_heap_without_a_bitmap(version: str, engine: str) -> None:
    """Go 1.12 and 1.13: free pages are spans too, which know whether they were released."""
    fake = Fake(layout(version))
    fake.span(0, 3)
    fake.span(3, 2, state=2, elemsize=4096)
    fake.span(5, 2, state=2)
    fake.span(7, 5, state=3)
    fake.span(30, 2, state=0)
    if not fake.layout.has("mspan.scavenged"):
        with pytest.raises(Missing, match="released"):
            read(fake)
        return
    fake.span(12, 9, state=3, scavenged=1)
    heap = read(fake)
    expected = {0: IN_USE, 1: IN_USE, 2: IN_USE, 3: STACK, 4: STACK, 5: WORKBUF, 6: WORKBUF}
    expected |= dict.fromkeys(range(7, 12), IDLE) | dict.fromkeys(range(12, 21), RELEASED)
    assert pages_of(heap) == expected
    assert heap.consistent
    fake.span(20, 2)
    assert read(fake).residue_bytes == PAGE


def test_ranges_over_one_another() -> None:
    """Those that come first hold; what is left of the others stays theirs."""
    ranges = [(20, 30, "a"), (25, 40, "b"), (10, 60, "c"), (60, 70, "c"), (90, 95, "a")]
    assert flat(ranges) == [(10, 20, "c"), (20, 30, "a"), (30, 40, "b"), (40, 70, "c"), (90, 95, "a")]


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(start, end) for start, end, _ in flat([(start, end, "") for start, end in ranges])]


def _settled(pid: int) -> tuple[int, ...]:
    """The same, once the program's scavenger has nothing left to do."""
    before: tuple[int, ...] = ()
    for _ in range(100):
        now = _resident_and_faults(pid)
        if now == before:
            return now
        before = now
        time.sleep(1)
    raise AssertionError("the program does not come to rest")


def _resident_and_faults(pid: int) -> tuple[int, ...]:
    with open(f"/proc/{pid}/smaps_rollup") as file:
        sizes = [int(line.split()[1]) for line in file if line.startswith(("Rss:", "LazyFree:"))]
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return *sizes, int(fields[7]), int(fields[9])
