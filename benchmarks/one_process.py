"""`whyrss PID` beside `pmap -X PID`, for a Go program of 200 MiB: start-up counts as much as reading."""

from __future__ import annotations

from benchmarks import targets
from benchmarks.bench import PMAP, Bench, others, pmap
from benchmarks.report import MIB, Check, Section, skipped
from whyrss.errors import TargetError

SIZE_MIB = 200
WALL_LIMIT = 1.4
PEAK_LIMIT_MIB = 15


def run(bench: Bench, go_version: str, server: bool = False) -> Section:
    what = "an HTTP server of about 60 VMAs" if server else "a small program of about 30 VMAs"
    title = f"One process: Go {go_version}, {what}, {SIZE_MIB} MiB lazily freed"
    target = targets.go_server if server else targets.go_lazyfree
    try:
        with target(go_version, SIZE_MIB) as pid:
            section = bench.commands(title, PMAP, _commands(bench, pid))
    except (TargetError, FileNotFoundError) as error:
        return skipped(title, error)
    ours = section.series["whyrss"]
    section.checks = [
        Check("wall time, whyrss to pmap -X", ours.wall_ratio, WALL_LIMIT),
        Check("peak memory of whyrss", ours.peak_bytes / MIB, PEAK_LIMIT_MIB, "MiB"),
    ]
    if bench.launcher.peak_floor:
        section.notes.append(bench.launcher.peak_floor)
    return section


def _commands(bench: Bench, pid: int) -> dict[str, list[str]]:
    return {
        PMAP: pmap(pid),
        "whyrss": bench.explain(pid),
        **others(pid),
        "python -c pass": [bench.installed.python, "-c", "pass"],
    }
