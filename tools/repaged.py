"""A recording as it would be on a kernel with larger pages: what of Go's memory can be released then, and what the
kernel counts as resident.

The rules: only whole pages of the kernel's are released (runtime/mgcscavenge.go, fillAligned and scavengeOne:
physPageSize), mappings begin and end at pages, and a page is resident as a whole.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from pathlib import Path

from tools.moved import AS_ANONYMOUS, AS_FILE, AS_RESIDENT, KIB, NONE, Space, up, with_values
from whyrss.goheap.bits import IDLE, RELEASED
from whyrss.goheap.heap import Heap, PageRuns
from whyrss.read.pagemap import ANON, FILE_OR_SHARED, Pages
from whyrss.snapshot import Outside
from whyrss.sources.kept import dump_heap, load_heap

Run = tuple[int, int, int]
Label = tuple[int, int, tuple[str, ...]]


def repage(process: Path, page_bytes: int, arch: str) -> None:
    """Changes the files of a process in a recording: smaps, smaps_rollup, status, statm, stat, exe.build, heap."""
    space = Space((process / "smaps").read_text(), page_bytes)
    line, _, _ = (process / "heap").read_bytes().partition(b"\n")
    sections = load_heap((process / "heap").read_bytes())
    heap, pages, outside = sections["Heap"], sections["Pages"], sections["Outside"]
    assert isinstance(heap, Heap) and isinstance(pages, Pages) and isinstance(outside, Outside)
    kept_bytes = _keep(heap, page_bytes)
    blocks = _blocks(heap, pages, space, page_bytes)
    heap.layout = f"{heap.layout.split()[0]} {arch}"
    heap.metadata = [(*space.places(start, end), name) for start, end, name in heap.metadata]
    heap.stacks = [space.places(start, end) for start, end in heap.stacks]
    assert all(space.places(start, end) == (start, end) for start, end in heap.arenas)
    flat = array("Q", [word for run in _runs(blocks, space, page_bytes) for word in run])
    there = Pages(flat, page_bytes, 0, pages.method)
    labels = list(_labels(outside.labels, space, page_bytes))
    (process / "heap").write_bytes(_with_goroutines(dump_heap(heap, there, Outside(labels)), line))
    _text_files(process, space, blocks, page_bytes)
    build = json.loads((process / "exe.build").read_text())
    build["arch"] = build["settings"]["GOARCH"] = arch
    build["settings"].pop("GOAMD64", None)
    (process / "exe.build").write_text(json.dumps(build, indent=1))
    assert kept_bytes


def _keep(heap: Heap, page_bytes: int) -> int:
    """Free runs without the whole pages of the kernel's are not released; how many bytes that is more."""
    kept_bytes = 0
    runs: list[Run] = []
    for start, end, kind in heap.pages:
        if kind != RELEASED:
            _append(runs, start, end, kind)
            continue
        low, high = up(start, page_bytes), end // page_bytes * page_bytes
        if low >= high:
            low = high = end
        _append(runs, start, low, IDLE)
        _append(runs, low, high, RELEASED)
        _append(runs, high, end, IDLE)
        kept_bytes += low - start + end - high
    heap.pages = PageRuns.of(runs)
    for figures in (heap.memstats, heap.walked):
        figures["HeapReleased"] -= kept_bytes
    heap.pacing["mapped_ready_bytes"] += kept_bytes
    return kept_bytes


def _append(runs: list[Run], start: int, end: int, kind: int) -> None:
    if runs and runs[-1][1:] == (start, kind):
        start = runs.pop()[0]
    if start < end:
        runs.append((start, end, kind))


def _blocks(heap: Heap, pages: Pages, space: Space, page_bytes: int) -> dict[int, int]:
    """The flags of each resident page of the kernel's: of those that were, and of what is free and not released."""
    found: dict[int, int] = {}
    there = [(*space.places(start, end), flags) for start, end, flags in pages]
    there += [(start, end, ANON) for start, end, kind in heap.pages if kind == IDLE]
    for start, end, flags in there:
        for at in range(start // page_bytes * page_bytes, end, page_bytes):
            found[at] = ANON if ANON in (flags & ANON, found.get(at)) else FILE_OR_SHARED
    return dict(sorted(found.items()))


def _runs(blocks: dict[int, int], space: Space, page_bytes: int) -> Iterator[Run]:
    """Each within one mapping."""
    runs: list[Run] = []
    starts = {mapping.start for mapping in space.mappings}
    for at, flags in blocks.items():
        if at in starts:
            yield from runs
            runs = []
        _append(runs, at, at + page_bytes, flags)
    yield from runs


def _labels(labels: list[Label], space: Space, page_bytes: int) -> Iterator[Label]:
    """To whole pages of the kernel's; the first holds where two share one."""
    end_before = 0
    for old_start, old_end, path in labels:
        start, end = space.places(old_start, old_end)
        start, end = max(start // page_bytes * page_bytes, end_before), up(end, page_bytes)
        if start < end:
            yield start, end, path
            end_before = end


def _with_goroutines(heap: bytes, line_before: bytes) -> bytes:
    """Those of the line as it was: they have no addresses."""
    line, _, columns = heap.partition(b"\n")
    before = json.loads(line_before)
    head = json.loads(line) | {name: before.get(name) for name in ("goroutines", "zeros")}
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + columns


def _text_files(process: Path, space: Space, blocks: dict[int, int], page_bytes: int) -> None:
    (process / "smaps").write_text("".join(mapping.text(blocks, page_bytes) for mapping in space.mappings))
    unit = page_bytes // KIB
    resident, anonymous = len(blocks) * unit, list(blocks.values()).count(ANON) * unit
    size = sum(mapping.end - mapping.start for mapping in space.mappings) // KIB
    values = dict.fromkeys(AS_RESIDENT, resident) | dict.fromkeys(AS_ANONYMOUS, anonymous)
    values |= dict.fromkeys(AS_FILE, resident - anonymous) | dict.fromkeys(NONE, 0)
    rollup = process / "smaps_rollup"
    rollup.write_text(with_values(rollup.read_text(), values))
    status = process / "status"
    values = {"VmPeak": size, "VmSize": size, "VmHWM": resident, "VmRSS": resident}
    values |= {"RssAnon": anonymous, "RssFile": resident - anonymous}
    status.write_text(with_values(status.read_text(), values))
    statm = process / "statm"
    old = [int(word) for word in statm.read_text().split()]
    code, data = (up(pages * 4, unit) // unit for pages in (old[3], old[5]))
    new = (size // unit, resident // unit, (resident - anonymous) // unit, code, 0, data, 0)
    statm.write_text(" ".join(map(str, new)) + "\n")
    stat = process / "stat"
    name, fields = stat.read_text().rsplit(") ", 1)
    words = fields.split(" ")
    words[20:22] = str(size * KIB), str(resident // unit)  # vsize in bytes, rss in pages (proc_pid_stat(5))
    stat.write_text(f"{name}) {' '.join(words)}")
