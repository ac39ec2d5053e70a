"""`whyrss PID` beside `pmap -X PID`, for a process of 8 GiB: the kernel's walk over the pages is all that counts.

pmap reads smaps twice (once to find the widths of its columns), whyrss once.
"""

from __future__ import annotations

from benchmarks import targets
from benchmarks.bench import PMAP, Bench, others, pmap
from benchmarks.report import Check, Section, skipped
from benchmarks.targets import GIB

SIZE_GIB = 8
QUICK_GIB = 1
CPU_LIMIT = 0.6
MARGIN_BYTES = 2 * GIB  # left to everybody else
ROUNDS_MAX = 15  # each takes a second


def run(bench: Bench) -> Section:
    size_gib = QUICK_GIB if bench.quick else SIZE_GIB
    title = f"A large process: {size_gib} GiB of private memory in base pages"
    available = targets.available_bytes()
    if available < size_gib * GIB + MARGIN_BYTES:
        return skipped(title, f"only {available / GIB:.1f} GiB are available")
    try:
        with targets.anonymous(size_gib * GIB) as pid:
            commands = {PMAP: pmap(pid), "whyrss": bench.explain(pid), **others(pid)}
            section = bench.commands(title, PMAP, commands, min(bench.rounds, ROUNDS_MAX))
    except FileNotFoundError as error:
        return skipped(title, error)
    if not bench.quick:
        section.checks = [Check("CPU time, whyrss to pmap -X", section.series["whyrss"].cpu_ratio, CPU_LIMIT)]
    return section
