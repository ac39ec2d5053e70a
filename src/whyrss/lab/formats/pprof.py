"""/debug/pprof/heap?debug=1: the heap profile as text, and MemStats behind it.

Source: runtime/pprof/pprof.go, writeHeapInternal and printStackRecord, Go 1.15 to 1.27.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from whyrss.lab.formats import RATE_BYTES, Record, addresses
from whyrss.lab.memstats import MemStats
from whyrss.policy import GoVersion

# (since, until, fact, value, source): as in whyrss.facts.go, for Go 1.`since` to 1.`until`.
ROWS: tuple[tuple[int, int, str, bool, str], ...] = (
    (9, 14, "max_rss", False, "runtime/pprof/pprof.go, Go 1.9 to 1.14"),
    (15, 27, "max_rss", True, "runtime/pprof/pprof_rusage.go, Go 1.15 to 1.27"),
    (9, 22, "smallest_first", False, "runtime/pprof/pprof.go, Go 1.15, 1.19, 1.21 and 1.22"),
    (23, 27, "smallest_first", True, "runtime/pprof/pprof.go, slices.SortFunc, Go 1.23 to 1.27"),
    # With alloc == inuse in the header readers take the profile for one of two columns.
    (9, 20, "alloc_is_never_inuse", False, "runtime/pprof/pprof.go, Go 1.15 and 1.19"),
    (21, 27, "alloc_is_never_inuse", True, "runtime/pprof/pprof.go, allocBytes++, Go 1.21 to 1.27"),
)

# The name in the text, and the fields whose values follow it.
TRAILER: tuple[tuple[str, ...], ...] = (
    ("Alloc", "Alloc"),
    ("TotalAlloc", "TotalAlloc"),
    ("Sys", "Sys"),
    ("Lookups", "Lookups"),
    ("Mallocs", "Mallocs"),
    ("Frees", "Frees"),
    ("HeapAlloc", "HeapAlloc"),
    ("HeapSys", "HeapSys"),
    ("HeapIdle", "HeapIdle"),
    ("HeapInuse", "HeapInuse"),
    ("HeapReleased", "HeapReleased"),
    ("HeapObjects", "HeapObjects"),
    ("Stack", "StackInuse", "StackSys"),
    ("MSpan", "MSpanInuse", "MSpanSys"),
    ("MCache", "MCacheInuse", "MCacheSys"),
    ("BuckHashSys", "BuckHashSys"),
    ("GCSys", "GCSys"),
    ("OtherSys", "OtherSys"),
    ("NextGC", "NextGC"),
    ("LastGC", "LastGC"),
    ("PauseNs", "PauseNs"),
    ("PauseEnd", "PauseEnd"),
    ("NumGC", "NumGC"),
    ("NumForcedGC", "NumForcedGC"),
    ("GCCPUFraction", "GCCPUFraction"),
    ("DebugGC", "DebugGC"),
)
TAB = 8


def text(
    stats: MemStats, records: Sequence[Record], go: GoVersion, max_rss_bytes: int, rate_bytes: int = RATE_BYTES
) -> bytes:
    """The profile as that Go writes it. As in Go its records are what sampling at `rate_bytes` finds, here the
    expected number; readers scale it up again. With a rate of 1 all objects are counted."""
    stacks = addresses(records)
    found = [each for record in records if (each := sampled(record, rate_bytes)).alloc_objects]
    found.sort(key=lambda record: record.inuse_bytes, reverse=not _fact(go, "smallest_first"))
    lines = [_header(found, go, rate_bytes)]
    for record in found:
        lines += _record(record, stacks)
    lines += ["", "# runtime.MemStats", *_trailer(stats)]
    if _fact(go, "max_rss"):
        lines.append(f"# MaxRSS = {max_rss_bytes}")
    return ("\n".join(lines) + "\n").encode()


def sampled(record: Record, rate_bytes: int) -> Record:
    """The objects that are expected in a profile of that rate: one of S bytes is, by 1 - exp(-S / rate)
    (runtime/pprof/protomem.go, scaleHeapSample, which is the way back)."""
    if rate_bytes <= 1:
        return record
    inuse = _expected(record.inuse_objects, record.inuse_bytes, rate_bytes)
    alloc = _expected(record.alloc_objects, record.alloc_bytes, rate_bytes)
    return Record(*inuse, *alloc, record.frames)


def _expected(objects: int, size_bytes: int, rate_bytes: int) -> tuple[int, int]:
    if not objects:
        return 0, 0
    count = round(objects * -math.expm1(-size_bytes / objects / rate_bytes))
    return count, size_bytes * count // objects


def _header(records: Sequence[Record], go: GoVersion, rate_bytes: int) -> str:
    inuse_bytes = sum(record.inuse_bytes for record in records)
    alloc_bytes = sum(record.alloc_bytes for record in records)
    if alloc_bytes == inuse_bytes and _fact(go, "alloc_is_never_inuse"):
        alloc_bytes += 1
    inuse_objects = sum(record.inuse_objects for record in records)
    alloc_objects = sum(record.alloc_objects for record in records)
    counts = f"{inuse_objects}: {inuse_bytes} [{alloc_objects}: {alloc_bytes}]"
    return f"heap profile: {counts} @ heap/{2 * rate_bytes}"


def _record(record: Record, stacks: Mapping[str, int]) -> list[str]:
    """Counts and return addresses, then a line for each frame, then an empty one."""
    pcs = [stacks[name] + 1 for name in record.frames]
    counts = f"{record.inuse_objects}: {record.inuse_bytes} [{record.alloc_objects}: {record.alloc_bytes}] @"
    cells = [["#", f"{pc - 1:#x}", f"{name}+0x0", "?:0"] for pc, name in zip(pcs, record.frames, strict=True)]
    return [" ".join([counts, *(f"{pc:#x}" for pc in pcs)]), *_aligned(cells), ""]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows whose columns are padded with tabs, as text/tabwriter does with a padding of 1."""
    widths = [(max(map(len, column)) // TAB + 1) * TAB for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = [f"{cell}{chr(9) * -(-(width - len(cell)) // TAB)}" for cell, width in zip(row, widths, strict=True)]
        lines.append("".join(padded[:-1]) + row[-1])
    return lines


def _trailer(stats: MemStats) -> list[str]:
    figures: Mapping[str, object] = stats
    return [f"# {name} = {' / '.join(_value(figures[field]) for field in fields)}" for name, *fields in TRAILER]


def _value(value: object) -> str:
    """As fmt prints it with %d, or with %v."""
    if isinstance(value, list):
        return f"[{' '.join(map(str, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _fact(go: GoVersion, fact: str) -> bool:
    return next(value for since, until, name, value, _ in ROWS if name == fact and since <= go.minor <= until)
