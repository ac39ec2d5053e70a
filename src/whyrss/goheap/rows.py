"""Spans one by one, without numpy: see `spans.Engine`. For heaps of some thousand spans."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from itertools import groupby
from struct import Struct

from whyrss.errors import Missing
from whyrss.goheap import rules
from whyrss.goheap.bits import BOTH_BITS, PAGE_BYTES, TRANSITION, PageMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from whyrss.goheap.memory import Memory
    from whyrss.goheap.spans import ClassSum, Collected, Column, Columns, Marked, Record, Sums

    Row = tuple[int, ...]

CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}
BLOCK_PAGES = 512
_BOTH_BITS, _TRANSITION = bytes([BOTH_BITS]), bytes([TRANSITION])
STATE = list(rules.CODES).index("states")


def collect(memory: Memory, pointers: bytes, record: Record, states: Collection[int]) -> Collected:
    """The spans with one of the states, by address."""
    found: list[Row] = []
    odd = 0
    for row in _records(memory, _sorted(pointers), record, states):
        if rules.sound(row[0], row[1]):
            found.append(rules.objects(row))
        else:
            odd += 1
    found.sort(key=lambda row: row[0])
    columns = list(zip(*found, strict=True)) or [()] * len(rules.CODES)
    return {name: array(code, column) for (name, code), column in zip(rules.CODES.items(), columns, strict=True)}, odd


def count_marks(memory: Memory, columns: Columns, sweepgen: int, inline: bool) -> Marked:
    """Allocated slots; of spans that are not swept yet the marked ones, where these can be read."""
    live = array("Q", columns["allocated"])
    unswept = [
        at for at, own in enumerate(columns["sweepgens"]) if rules.unswept(own, sweepgen) and columns["elems"][at]
    ]
    within = 0
    unread = 0
    for at in unswept:
        start, elem_bytes, elems = columns["starts"][at], columns["elem_bytes"][at], columns["elems"][at]
        is_inline = inline and rules.has_inline_marks(elem_bytes)
        within += is_inline
        place = rules.inline_marks(start) if is_inline else columns["marks"][at]
        data = _marks(memory, place, elems) if within <= rules.MOST_INLINE or not is_inline else b""
        if data:
            marks = int.from_bytes(data, "little") & ((1 << elems) - 1)
            live[at] = min(marks.bit_count(), columns["allocated"][at])
        unread += not data
    return live, unread


def _marks(memory: Memory, place: int, elems: int) -> bytes:
    if not place or elems > rules.MOST_MARKS:
        return b""
    try:
        return memory.read(place, -(-elems // 64) * 8)
    except Missing:
        return b""


def paint(pagemap: PageMap, columns: Columns) -> None:
    """Give the pages of each span inside of the arenas its kind."""
    names = ("starts", "pages", "states", "elem_bytes", "scavenged")
    spans = zip(*(columns[name] for name in names), strict=True)
    for start, pages, state, elem_bytes, scavenged in sorted(spans, key=lambda span: rules.paint_order(span[1])):
        place = pagemap.place(start, start + pages * PAGE_BYTES)
        if place is not None:
            pagemap.pages[place : place + pages] = rules.KIND_BYTES[rules.kind(state, elem_bytes, scavenged)] * pages


def page_runs(pagemap: PageMap) -> tuple[Column, Column, Column]:
    """Starts, ends and kinds of the runs of equal pages."""
    starts, ends, kinds = array("Q"), array("Q"), array("B")
    for start, end, place in pagemap.groups:
        at = start
        for kind, count in _equal(pagemap.pages, place, place + (end - start) // PAGE_BYTES):
            rules.check_runs(len(kinds))
            if at > start and kinds[-1] == kind:
                ends[-1] += count * PAGE_BYTES
            else:
                starts.append(at)
                ends.append(at + count * PAGE_BYTES)
                kinds.append(kind)
            at += count * PAGE_BYTES
    return starts, ends, kinds


def _equal(pages: bytearray, low: int, high: int) -> Iterator[tuple[int, int]]:
    """(kind, count) of equal pages side by side, those of a whole block at once where it has one kind alone."""
    for at in range(low, high, BLOCK_PAGES):
        stop = min(at + BLOCK_PAGES, high)
        if pages.count(pages[at], at, stop) == stop - at:
            yield TRANSITION if pages[at] == BOTH_BITS else pages[at], stop - at
        else:
            for kind, run in groupby(pages[at:stop].replace(_BOTH_BITS, _TRANSITION)):
                yield kind, len(list(run))


def occupancy(columns: Columns, resident: bytearray, start: int, page_bytes: int) -> tuple[int, int]:
    """See `Spans.occupancy`."""
    pages = live_bytes = 0
    starts = columns["starts"]
    chosen = slice(bisect_left(starts, start), bisect_left(starts, start + len(resident) * page_bytes))
    names = ("starts", "pages", "states", "elem_bytes", "allocated")
    for address, count, state, size_bytes, slots in zip(*(columns[name][chosen] for name in names), strict=True):
        if state == rules.IN_USE:
            first = (address - start) // page_bytes
            last = first + count * PAGE_BYTES // page_bytes
            found = last - first - resident.count(0, first, last)
            pages += found
            live_bytes += min(found * page_bytes, size_bytes * slots)
    return pages, live_bytes


def sums(columns: Columns) -> Sums:
    from whyrss.goheap.spans import Sums

    sizes, allocated = columns["elem_bytes"], columns["allocated"]
    in_use = sum(
        pages for pages, state in zip(columns["pages"], columns["states"], strict=True) if state == rules.IN_USE
    )
    return Sums(sum(columns["pages"]), in_use, sum(allocated), _dot(sizes, allocated), _dot(sizes, columns["live"]))


def by_class(columns: Columns) -> list[ClassSum]:
    """See `Spans.by_class`."""
    names = ("states", "classes", "elem_bytes", "pages", "elems", "allocated")
    found: dict[int, list[int]] = {}
    for state, span_class, size_bytes, pages, slots, objects in zip(*(columns[name] for name in names), strict=True):
        if state == rules.IN_USE and slots:
            total = found.setdefault(span_class, [size_bytes, 0, 0, 0, 0, 0])
            total[1] += 1
            total[2] += pages
            total[3] += slots
            total[4] += objects
            total[5] += objects * size_bytes
    return [(span_class, *found[span_class]) for span_class in sorted(found)]


def large(columns: Columns, least_bytes: int) -> list[tuple[int, int, int]]:
    """See `Spans.large_objects`."""
    names = ("states", "classes", "elem_bytes", "starts", "allocated")
    return [
        (size_bytes, start, span_class)
        for state, span_class, size_bytes, start, objects in zip(*(columns[name] for name in names), strict=True)
        if state == rules.IN_USE and span_class < 2 and objects and size_bytes >= least_bytes
    ]


def used(pointers: bytes, size_bytes: int) -> list[tuple[int, int]]:
    """The address ranges of structures of that size; what lies closer together than their size is one range."""
    ranges: list[tuple[int, int]] = []
    for pointer in _sorted(pointers):
        if ranges and pointer - ranges[-1][1] < size_bytes:
            ranges[-1] = (ranges[-1][0], pointer + size_bytes)
        else:
            ranges.append((pointer, pointer + size_bytes))
    rules.check_ranges(len(ranges))
    return ranges


def _dot(sizes: Sequence[int], counts: Sequence[int]) -> int:
    return sum(size * count for size, count in zip(sizes, counts, strict=True))


def _sorted(pointers: bytes) -> list[int]:
    return sorted(set(memoryview(pointers).cast("Q").tolist()) - {0})


def _records(memory: Memory, pointers: list[int], record: Record, states: Collection[int]) -> Iterator[Row]:
    """The fields of each mspan in one of the states; 0 for one that the release has not."""
    unpack, order = _unpacker(record)
    state = order[STATE]
    places = tuple(order)
    for address, size_bytes, run in _runs(pointers, record.size_bytes):
        data = rules.read_run(memory, address, size_bytes, run, record.size_bytes)
        for pointer in run:
            values = unpack(data, pointer - address)
            if values[state] in states:
                values = (*values, 0)
                yield tuple([values[at] for at in places])


def _unpacker(record: Record) -> tuple[Callable[[bytes, int], Row], list[int]]:
    """unpack_from of a Struct with all fields, and the place of each in what that gives: one after the last where
    the release has none such."""
    there = sorted((offset, width, at) for at, (offset, width) in enumerate(record.fields) if offset >= 0)
    text, end = "<", 0
    for offset, width, _ in there:
        text += f"{offset - end}x{CODES[width]}"
        end = offset + width
    places = {at: place for place, (_, _, at) in enumerate(there)}
    return Struct(text).unpack_from, [places.get(at, len(there)) for at in range(len(record.fields))]


def _runs(pointers: list[int], size_bytes: int) -> Iterator[tuple[int, int, list[int]]]:
    """(address, bytes, pointers) of what is read at once."""
    most = rules.GAP_BYTES + size_bytes
    run: list[int] = []
    total = start = last = 0
    for pointer in pointers:
        if run and (pointer - last > most or pointer - start > rules.MOST_RUN_BYTES):
            yield start, last + size_bytes - start, run
            run = []
        if not run:
            total += last - start
            rules.check_total(total)
            start = pointer
        run.append(pointer)
        last = pointer
    if run:
        yield start, last + size_bytes - start, run
