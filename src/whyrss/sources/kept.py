"""The form in which a recording keeps the Go heap: what each page is, every span, the resident pages, the labels.
No contents of memory are in it.

A line of JSON with what is small and the shape of what follows, then the large columns one behind the other, each
as little-endian numbers, deflated.
"""

from __future__ import annotations

import sys
import zlib
from array import array

from whyrss.errors import FormatError, Missing
from whyrss.goheap.bits import KINDS
from whyrss.goheap.heap import Heap, PageRuns
from whyrss.goheap.spans import ROW, Spans
from whyrss.goroutines import MOST_SITES, Goroutines, Site
from whyrss.read.pagemap import Pages, check_runs
from whyrss.shape import Zeros
from whyrss.snapshot import Outside
from whyrss.sources.goheap import derived

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Columns = dict[str, array[int]]

SCHEMA = "whyrss-heap/1"
RUN_CODES = {"starts": "Q", "ends": "Q", "kinds": "B"}
NUMBERS_MAX = 1 << 26  # of one column: more than any heap that was ever walked has spans or runs
NUMBER_MAX = 1 << 64
NAME_BYTES_MAX = 200
SYMBOL_BYTES_MAX = 4096
LABELS_MAX = 1 << 20
# What reading JSON and columns that are not what they claim to be can raise.
DAMAGE = (
    *(ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError),
    *(zlib.error, FormatError),
)


def dump_heap(
    heap: Heap, pages: Pages, outside: Outside, goroutines: Goroutines | None = None, zeros: Zeros | None = None
) -> bytes:
    """All of them as one file."""
    import json

    columns = _columns(heap, pages)
    head = {
        "schema": SCHEMA,
        "layout": heap.layout,
        "arenas": heap.arenas,
        "metadata": heap.metadata,
        "stacks": heap.stacks,
        "memstats": heap.memstats,
        "walked": heap.walked,
        "pacing": heap.pacing,
        "residue_bytes": heap.residue_bytes,
        "tries": heap.tries,
        "lazy": pages.lazy,
        "excess": pages.excess,
        "reasons": pages.reasons,
        "method": pages.method,
        "page_bytes": pages.page_bytes,
        "swapped_bytes": pages.swapped_bytes,
        "outside": outside.labels,
        "goroutines": _dump_goroutines(goroutines) if goroutines else None,
        "zeros": [zeros.looked_bytes, zeros.zero_bytes] if zeros else None,
        "columns": [[name, column.typecode, len(column)] for name, column in columns.items()],
    }
    if sys.byteorder == "big":
        for column in columns.values():
            column.byteswap()
    packed = zlib.compress(b"".join(column.tobytes() for column in columns.values()), 6)
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + packed


def load_heap(data: bytes) -> dict[str, object]:
    """The sections Heap, Pages and Outside. Raises Missing where the file is damaged."""
    import json

    line, _, packed = data.partition(b"\n")
    try:
        head = json.loads(line)
        if head["schema"] != SCHEMA:
            raise ValueError("another schema")
        columns = _unpack(head["columns"], packed)
        outside = Outside(_labels(head["outside"]))
        return derived(_heap(head, columns), _pages(head, columns)) | {
            "Outside": outside,
            "Goroutines": _goroutines(head.get("goroutines")) or Missing("the recording has no goroutines"),
            "Zeros": _zeros(head.get("zeros")) or Missing("the recording does not say which pages hold zeros"),
        }
    except DAMAGE as error:
        raise Missing(f"the heap in the recording is damaged ({type(error).__name__})") from None


def _columns(heap: Heap, pages: Pages) -> Columns:
    spans = list(zip(*heap.spans.rows(), strict=True)) or [()] * len(ROW)
    columns = {f"span {name}": array(code, column) for (name, code), column in zip(ROW.items(), spans, strict=True)}
    runs = list(zip(*heap.pages, strict=True)) or [(), (), ()]
    columns |= {
        f"run {name}": array(code, column) for (name, code), column in zip(RUN_CODES.items(), runs, strict=True)
    }
    columns["pages"] = pages.runs[:]
    return columns


def _unpack(shapes: Any, packed: bytes) -> Columns:
    sizes = {str(name): (str(code), int(count)) for name, code, count in shapes}
    if not all(0 <= count <= NUMBERS_MAX for _, count in sizes.values()):
        raise ValueError("a column is too long")
    total = sum(array(code).itemsize * count for code, count in sizes.values())
    raw = zlib.decompressobj().decompress(packed, total + 1) if total else b""
    if len(raw) != total:
        raise ValueError("the columns are cut")
    columns: Columns = {}
    at = 0
    for name, (code, count) in sizes.items():
        column = array(code)
        size = column.itemsize * count
        column.frombytes(raw[at : at + size])
        if sys.byteorder == "big":
            column.byteswap()
        columns[name] = column
        at += size
    return columns


def _heap(head: Any, columns: Columns) -> Heap:
    spans = Spans.of(zip(*(columns[f"span {name}"] for name in ROW), strict=True))
    runs = list(zip(*(columns[f"run {name}"] for name in RUN_CODES), strict=True))
    _check_ascending([(start, end) for start, end, _ in runs])
    if any(kind >= len(KINDS) for _, _, kind in runs):
        raise ValueError("an unknown kind of page")
    arenas = [(int(start), int(end)) for start, end in head["arenas"]]
    _check_ascending(arenas)
    heap = Heap(str(head["layout"]), arenas, spans, PageRuns.of(runs), int(head["residue_bytes"]), int(head["tries"]))
    heap.metadata = [(int(start), int(end), str(name)[:NAME_BYTES_MAX]) for start, end, name in head["metadata"]]
    _check_ascending([(start, end) for start, end, _ in heap.metadata])
    heap.stacks = [(int(start), int(end)) for start, end in head["stacks"]]
    heap.memstats = _numbers(head["memstats"])
    heap.walked = _numbers(head["walked"])
    heap.pacing = {name: int(value) for name, value in _numbers(head["pacing"]).items()}
    return heap


def _pages(head: Any, columns: Columns) -> Pages:
    page_bytes = int(head["page_bytes"])
    if page_bytes not in (4096, 16384, 65536):
        raise ValueError("a strange page size")
    check_runs(columns["pages"], page_bytes)
    pages = Pages(columns["pages"], page_bytes, int(head["swapped_bytes"]), str(head["method"]))
    pages.lazy = [(int(start), int(end)) for start, end in head["lazy"]]
    _check_ascending(pages.lazy)
    pages.excess = [(int(start), int(end), int(size)) for start, end, size in head["excess"]]
    pages.reasons = {str(name): str(reason) for name, reason in head["reasons"].items()}
    return pages


def _dump_goroutines(found: Goroutines) -> dict[str, object]:
    document = {name: getattr(found, name) for name in Goroutines.__slots__ if name != "sites"}
    return document | {"sites": [[getattr(site, name) for name in Site.__slots__] for site in found.sites]}


def _goroutines(head: Any) -> Goroutines | None:
    if head is None:
        return None
    found = Goroutines(int(head["total"]), int(head["g_bytes"]))
    for name in Goroutines.__slots__:
        if name not in ("sites", "states", "unnamed", "total", "g_bytes"):
            setattr(found, name, int(head[name]))
    found.states = _counts(head["states"])
    found.unnamed = str(head["unnamed"])[:NAME_BYTES_MAX]
    for row in head["sites"][:MOST_SITES]:
        values = dict(zip(Site.__slots__, row, strict=True))
        site = Site(str(values["created_by"])[:SYMBOL_BYTES_MAX], str(values["start"])[:SYMBOL_BYTES_MAX])
        site.count, site.stack_bytes = int(values["count"]), int(values["stack_bytes"])
        site.waiting_since_gc = int(values["waiting_since_gc"])
        site.states = _counts(values["states"])
        found.sites.append(site)
    return found


def _counts(found: Any) -> dict[str, int]:
    return {str(name)[:NAME_BYTES_MAX]: int(count) for name, count in found.items()}


def _zeros(head: Any) -> Zeros | None:
    return None if head is None else Zeros(int(head[0]), int(head[1]))


def _labels(found: Any) -> list[tuple[int, int, tuple[str, ...]]]:
    labels = [(int(start), int(end), tuple(map(str, path))) for start, end, path in found[:LABELS_MAX]]
    _check_ascending([(start, end) for start, end, _ in labels])
    if any(not path for _, _, path in labels):
        raise ValueError("a label without a line")
    return labels


def _numbers(found: Any) -> dict[str, int | float]:
    numbers = {str(name): value for name, value in found.items() if isinstance(value, (int, float))}
    if not all(abs(value) < NUMBER_MAX for value in numbers.values()):
        raise ValueError("a figure that is no number of 64 bits")
    return numbers


def _check_ascending(ranges: Iterable[tuple[int, int]]) -> None:
    before = 0
    for start, end in ranges:
        if not before <= start <= end < 1 << 64:
            raise ValueError(f"{start:#x} to {end:#x} is no range after {before:#x}")
        before = end
