"""10,000 VMAs: parsing smaps beside what the kernel needs to write it, and the whole command beside pmap -X."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable

from benchmarks import targets
from benchmarks.bench import PMAP, Bench, others, pmap
from benchmarks.report import Check, Section, skipped
from benchmarks.rounds import Sample, measure
from whyrss.read.smaps import Vmas, parse_smaps

COUNT = 10_000
CHUNK_BYTES = 64 << 10
PARSE_LIMIT = 0.7

KERNEL = "kernel: read smaps"


def parsing(bench: Bench) -> Section:
    """In this process, without what a process costs; the collection of cycles is off, as in the command."""
    with targets.many_vmas(COUNT) as pid:
        data = _read(pid)
        candidates = {
            KERNEL: lambda: timed(lambda: _read(pid)),
            "parse_smaps": lambda: timed(lambda: parse_smaps(data)),
            "parse_smaps, every figure as int": lambda: timed(lambda: _all_figures(data)),
        }
        gc.disable()
        try:
            series = measure(candidates, bench.rounds, KERNEL)
        finally:
            gc.enable()
    section = Section(f"Parsing the smaps of {len(parse_smaps(data)):,} VMAs, in process", KERNEL, series)
    section.checks = [Check("CPU time, parse_smaps to the kernel", series["parse_smaps"].cpu_ratio, PARSE_LIMIT)]
    section.notes.append(f"The text is {len(data) / 1e6:.1f} MB.")
    return section


def whole(bench: Bench) -> Section:
    title = f"A process of {COUNT:,} VMAs"
    try:
        with targets.many_vmas(COUNT) as pid:
            return bench.commands(title, PMAP, {PMAP: pmap(pid), "whyrss": bench.explain(pid), **others(pid)})
    except FileNotFoundError as error:
        return skipped(title, error)


def timed(work: Callable[[], object]) -> Sample:
    """What is made is freed outside the clock."""
    wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
    made = work()
    cpu, wall = time.thread_time_ns() - cpu, time.perf_counter_ns() - wall
    del made
    return Sample(wall / 1e6, cpu / 1e6)


def _read(pid: int) -> bytes:
    fd = os.open(f"/proc/{pid}/smaps", os.O_RDONLY)
    try:
        parts = []
        while part := os.read(fd, CHUNK_BYTES):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def _all_figures(data: bytes) -> tuple[Vmas, list[dict[str, int]]]:
    vmas = parse_smaps(data)
    return vmas, [vma.figures() for vma in vmas]
