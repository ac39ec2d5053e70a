"""All spans at once, with numpy: see `spans.Engine`. For large heaps."""

from __future__ import annotations

import os
from itertools import pairwise

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads are never used here, and starting them takes time

import numpy as np

from whyrss.errors import Missing
from whyrss.goheap import rules
from whyrss.goheap.bits import BOTH_BITS, IDLE, PAGE_BYTES, RELEASED, STACK, TRANSITION, WORKBUF, PageMap
from whyrss.goheap.bits import IN_USE as IN_USE_PAGE
from whyrss.goheap.values import WORD_MASK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import Any

    from whyrss.goheap.memory import Memory
    from whyrss.goheap.spans import ClassSum, Collected, Column, Columns, Marked, Record, Sums

    Array = np.ndarray[Any, Any]

U64 = np.dtype("<u8")
WIDTHS: dict[int, np.dtype[Any]] = {1: np.dtype("u1"), 2: np.dtype("<u2"), 4: np.dtype("<u4"), 8: U64}
BLOCK_SPANS = 1 << 18
BLOCK_PAGES = 1 << 21


def collect(memory: Memory, pointers: bytes, record: Record, states: Collection[int]) -> Collected:
    """The spans with one of the states, by address."""
    chosen = np.zeros(256, bool)
    chosen[list(states)] = True
    parts = [_some(part, chosen) for part in _records(memory, _sorted(pointers), record)]
    if not parts:
        raise Missing(rules.NO_SPAN)
    odd = sum(part[1] for part in parts)
    columns = {name: np.concatenate([part[0][name] for part in parts]) for name in rules.CODES}
    order = np.argsort(columns["starts"], kind="stable")
    columns = {name: column[order] for name, column in columns.items()}
    _drop_objects(columns)
    return columns, odd


def count_marks(memory: Memory, columns: Columns, sweepgen: int, inline: bool) -> Marked:
    """Allocated slots; of spans that are not swept yet the marked ones, where these can be read."""
    own, elems, sizes = _array(columns, "sweepgens"), _array(columns, "elems"), _array(columns, "elem_bytes")
    ahead = own - np.uint32(sweepgen)  # modulo 2**32
    unswept = np.flatnonzero(((ahead == np.uint32(0xFFFF_FFFE)) | (ahead == 1)) & (elems > 0))
    live = _array(columns, "allocated").copy()
    inside = np.zeros(len(unswept), bool)
    if inline:
        inside = (sizes[unswept] >= rules.INLINE_MIN_BYTES) & (sizes[unswept] <= rules.INLINE_MAX_BYTES)
    places = _array(columns, "marks")[unswept]
    places[inside] = _array(columns, "starts")[unswept][inside] + np.uint64(rules.INLINE_MARKS_AT)
    wanted = (places > 0) & (elems[unswept] <= rules.MOST_MARKS)
    wanted[np.flatnonzero(inside)[rules.MOST_INLINE :]] = False
    unread = int(np.count_nonzero(~wanted))
    order = np.flatnonzero(wanted)
    order = order[np.argsort(places[order], kind="stable")]
    counts, missed = _popcounts(memory, places[order], elems[unswept][order])
    at = unswept[order]
    live[at] = np.where(missed, live[at], np.minimum(counts, live[at]))
    return live, unread + int(np.count_nonzero(missed))


def paint(pagemap: PageMap, columns: Columns) -> None:
    """Give the pages of each span inside of the arenas its kind."""
    starts, pages = _array(columns, "starts"), _array(columns, "pages").astype(np.int64)
    kinds = _kinds(columns)
    lows = np.array(pagemap.starts, U64)
    group = np.searchsorted(lows, starts, "right") - 1
    highs, places = (np.array([each[at] for each in pagemap.groups]) for at in (1, 2))
    inside = (group >= 0) & (starts + pages.astype(U64) * np.uint64(PAGE_BYTES) <= highs.astype(U64)[group])
    first = places[group] + ((starts - lows[group]) // np.uint64(PAGE_BYTES)).astype(np.int64)
    view = np.frombuffer(pagemap.pages, np.uint8)
    _fill(view, first[inside], pages[inside], kinds[inside])


def page_runs(pagemap: PageMap) -> tuple[Column, Column, Column]:
    """Starts, ends and kinds of the runs of equal pages."""
    parts = []
    count = 0
    for start, end, place in pagemap.groups:
        pages = np.frombuffer(pagemap.pages, np.uint8)[place : place + (end - start) // PAGE_BYTES]
        pages[pages == BOTH_BITS] = TRANSITION
        changes = _changes(pages)
        count += len(changes) + 1
        rules.check_runs(count)
        bounds = np.concatenate(([0], changes, [len(pages)])).astype(U64) * np.uint64(PAGE_BYTES) + np.uint64(start)
        parts.append((bounds[:-1], bounds[1:], pages[np.concatenate(([0], changes)).astype(np.int64)]))
    starts, ends, kinds = (np.concatenate(each) for each in zip(*parts, strict=True))
    return starts, ends, kinds


def _changes(pages: Array) -> Array:
    """The numbers of the pages that are unlike the one before."""
    found = []
    count = 0
    for at in range(1, len(pages), BLOCK_PAGES):
        stop = min(at + BLOCK_PAGES, len(pages))
        found.append(np.flatnonzero(pages[at:stop] != pages[at - 1 : stop - 1]) + at)
        count += len(found[-1])
        rules.check_runs(count)
    return np.concatenate(found)


def occupancy(columns: Columns, resident: bytearray, start: int, page_bytes: int) -> tuple[int, int]:
    """See `Spans.occupancy`."""
    starts = _array(columns, "starts")
    low, high = (int(np.searchsorted(starts, U64.type(at))) for at in (start, start + len(resident) * page_bytes))
    chosen = low + np.flatnonzero(_array(columns, "states")[low:high] == rules.IN_USE)
    first = ((starts[chosen] - U64.type(start)) // U64.type(page_bytes)).astype(np.int64)
    last = first + _array(columns, "pages")[chosen].astype(np.int64) * (PAGE_BYTES // page_bytes)
    found = _before(resident, np.minimum(last, len(resident))) - _before(resident, first)
    slots = (_array(columns, "elem_bytes")[chosen] * _array(columns, "allocated")[chosen]).astype(np.int64)
    return int(found.sum()), int(np.minimum(found * page_bytes, slots).sum())


def _before(resident: bytearray, places: Array) -> Array:
    """How many pages before each of the places are resident."""
    pages = np.frombuffer(resident, np.uint8)
    order = np.argsort(places, kind="stable")  # much of it is in order already
    sorted_places, found = places[order], np.empty(len(places), np.int64)
    total = done = 0
    for at in range(0, len(pages), BLOCK_PAGES):
        counts = np.zeros(min(BLOCK_PAGES, len(pages) - at) + 1, np.int64)
        np.cumsum(pages[at : at + BLOCK_PAGES] != 0, out=counts[1:])
        stop = int(np.searchsorted(sorted_places, at + BLOCK_PAGES))
        found[order[done:stop]] = total + counts[sorted_places[done:stop] - at]
        total, done = total + int(counts[-1]), stop
    found[order[done:]] = total
    return found


def sums(columns: Columns) -> Sums:
    from whyrss.goheap.spans import Sums

    pages, states, sizes = (_array(columns, name) for name in ("pages", "states", "elem_bytes"))
    allocated, live = _array(columns, "allocated"), _array(columns, "live")
    totals = (pages, pages[states == rules.IN_USE], allocated, sizes * allocated, sizes * live)
    return Sums(*(int(each.sum()) for each in totals))


def by_class(columns: Columns) -> list[ClassSum]:
    """See `Spans.by_class`."""
    chosen = np.flatnonzero((_array(columns, "states") == rules.IN_USE) & (_array(columns, "elems") > 0))
    names = ("classes", "elem_bytes", "pages", "elems", "allocated")
    classes, sizes, pages, slots, objects = (_array(columns, name)[chosen] for name in names)
    present, first = np.unique(classes, return_index=True)
    places = np.searchsorted(present, classes)
    sums = [np.bincount(places, minlength=len(present))]
    for values in (pages, slots, objects, objects * sizes):
        sums.append(np.zeros(len(present), U64))
        np.add.at(sums[-1], places, values.astype(U64))
    return list(zip(present.tolist(), sizes[first].tolist(), *(each.tolist() for each in sums), strict=True))


def large(columns: Columns, least_bytes: int) -> list[tuple[int, int, int]]:
    """See `Spans.large_objects`."""
    states, classes, sizes = (_array(columns, name) for name in ("states", "classes", "elem_bytes"))
    mask = (states == rules.IN_USE) & (classes < 2) & (sizes >= least_bytes) & (_array(columns, "allocated") > 0)
    chosen = np.flatnonzero(mask)
    starts = _array(columns, "starts")
    return list(zip(sizes[chosen].tolist(), starts[chosen].tolist(), classes[chosen].tolist(), strict=True))


def used(pointers: bytes, size_bytes: int) -> list[tuple[int, int]]:
    """The address ranges of structures of that size; what lies closer together than their size is one range."""
    found = _sorted(pointers)
    if not len(found):
        return []
    cuts = np.flatnonzero(np.diff(found) >= 2 * size_bytes) + 1
    rules.check_ranges(len(cuts))
    lows = found[np.concatenate(([0], cuts)).astype(np.int64)]
    highs = found[np.concatenate((cuts - 1, [len(found) - 1])).astype(np.int64)]
    return [(low, high + size_bytes) for low, high in zip(lows.tolist(), highs.tolist(), strict=True)]


def _array(columns: Columns, name: str) -> Array:
    column = columns[name]
    assert isinstance(column, np.ndarray)
    return column


def _sorted(pointers: bytes) -> Array:
    found: Array = np.sort(np.frombuffer(pointers, U64), kind="stable")  # much of it is in order already
    fresh = np.diff(found, prepend=np.uint64(0)) > 0  # not for the second of two equal ones, nor for 0
    return found[fresh]


def _runs(pointers: Array, size_bytes: int) -> Iterator[Array]:
    """The pointers of what is read at once."""
    gaps = np.diff(pointers)
    most = rules.GAP_BYTES + size_bytes
    rules.check_total(int(gaps[gaps <= most].sum()))
    cuts = (np.flatnonzero(gaps > most) + 1).tolist()
    for low, high in pairwise([0, *cuts, len(pointers)]):
        while low < high:
            end = np.uint64(min(int(pointers[low]) + rules.MOST_RUN_BYTES, WORD_MASK))
            stop = low + int(np.searchsorted(pointers[low:high], end, "right"))
            yield pointers[low:stop]
            low = stop  # noqa: PLW2901, the rest of this stretch


def _records(memory: Memory, pointers: Array, record: Record) -> Iterator[dict[str, Array]]:
    """The columns of the records of one run after another."""
    for run in _runs(pointers, record.size_bytes):
        first = int(run[0])
        size_bytes = int(run[-1]) - first + record.size_bytes
        data = rules.read_run(memory, first, size_bytes, run.tolist(), record.size_bytes)
        offsets = (run - run[0]).astype(np.int64)
        fields = zip(rules.CODES.items(), record.fields, strict=True)
        yield {name: _gather(data, offsets, place).astype(code) for (name, code), place in fields}


def _gather(data: bytes, offsets: Array, place: tuple[int, int]) -> Array:
    """One field of each record. A view at the field's own alignment makes it one fancy index."""
    offset, width = place
    if offset < 0:
        return np.zeros(len(offsets), np.uint8)
    count = (len(data) - offset) // width
    view: Array = np.frombuffer(data, WIDTHS[width], count, offset)
    shift = width.bit_length() - 1
    found: Array
    if not (offsets & (width - 1)).any():
        found = view[offsets >> shift]
    else:
        single = np.frombuffer(data, np.uint8)[(offsets + offset)[:, None] + np.arange(width)]
        found = np.ascontiguousarray(single).view(WIDTHS[width])[:, 0]
    return found


def _some(columns: dict[str, Array], chosen: Array) -> tuple[dict[str, Array], int]:
    """The spans with one of the states that may lie where they say; how many may not."""
    starts, pages = columns["starts"], columns["pages"]
    there = chosen[columns["states"]]
    sound = (starts % np.uint64(PAGE_BYTES) == 0) & (starts > 0) & (starts < rules.ADDRESS_END)
    sound &= (pages > 0) & (pages <= rules.MOST_PAGES)
    keep = there & sound
    return {name: column[keep] for name, column in columns.items()}, int(np.count_nonzero(there & ~sound))


def _drop_objects(columns: dict[str, Array]) -> None:
    """See rules.objects."""
    sizes, room = columns["elem_bytes"], columns["pages"] * np.uint64(PAGE_BYTES)
    none = (columns["states"] != rules.IN_USE) | (sizes == 0) | (sizes > room)
    none |= columns["elems"] > room // np.maximum(sizes, np.uint64(1))
    columns["elems"][none] = 0
    columns["allocated"] = np.minimum(columns["allocated"], columns["elems"])


def _kinds(columns: Columns) -> Array:
    """See rules.kind."""
    states, sizes, scavenged = (_array(columns, name) for name in ("states", "elem_bytes", "scavenged"))
    manual = np.where(sizes > 0, STACK, WORKBUF)
    free = np.where(scavenged > 0, RELEASED, IDLE)
    kinds = np.where(states == rules.IN_USE, IN_USE_PAGE, np.where(states == rules.MANUAL, manual, free))
    return kinds.astype(np.uint8)


def _fill(view: Array, first: Array, pages: Array, kinds: Array) -> None:
    """In the order of rules.paint_order."""
    single = pages == 1
    view[first[single]] = kinds[single]
    short = np.flatnonzero(~single & (pages <= rules.SHORT_SPAN_PAGES))
    for at in range(0, len(short), BLOCK_SPANS):
        some = short[at : at + BLOCK_SPANS]
        count = pages[some]
        ends = np.cumsum(count)
        within = np.arange(int(ends[-1])) - np.repeat(ends - count, count)
        view[np.repeat(first[some], count) + within] = np.repeat(kinds[some], count)
    for at in np.flatnonzero(pages > rules.SHORT_SPAN_PAGES).tolist():
        view[int(first[at]) : int(first[at] + pages[at])] = kinds[at]


def _popcounts(memory: Memory, places: Array, elems: Array) -> tuple[Array, Array]:
    """How many of the first `elems` bits at each of the ascending `places` are set, and which could not be read."""
    counts, missed = np.zeros(len(places), np.uint64), np.zeros(len(places), bool)
    at = 0
    for run in _runs(places, 8):
        some = slice(at, at + len(run))
        at += len(run)
        sizes = (elems[some] + np.uint64(63)) // np.uint64(64) * np.uint64(8)
        first = int(run[0])
        try:
            data = memory.read(first, int((run + sizes).max()) - first)
        except Missing:
            missed[some] = True
            continue
        counts[some] = _bits(data, (run - run[0]).astype(np.int64), elems[some].astype(np.int64))
    return counts, missed


def _bits(data: bytes, offsets: Array, elems: Array) -> Array:
    """Set bits among the first `elems` at each offset into `data`, by whole bytes and then the rest."""
    ones = np.concatenate(([0], np.cumsum(_ONES[np.frombuffer(data, np.uint8)], dtype=np.int64)))
    whole, rest = elems >> 3, elems & 7
    counts = ones[offsets + whole] - ones[offsets]
    last = np.frombuffer(data, np.uint8)[np.minimum(offsets + whole, len(data) - 1)]
    counts += np.where(rest > 0, _ONES[last & ((1 << rest) - 1).astype(np.uint8)], 0)
    found: Array = counts.astype(np.uint64)
    return found


_ONES = np.array([byte.bit_count() for byte in range(256)], np.uint8)
