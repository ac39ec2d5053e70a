"""What starting costs: the interpreter, and each module on the way to a verdict."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from statistics import median

from benchmarks import targets
from benchmarks.bench import Bench
from benchmarks.launcher import ENVIRONMENT
from benchmarks.report import Section, skipped
from whyrss.errors import TargetError

SIZE_MIB = 200
TITLE = "Start-up"
LISTED = 10
_LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def run(bench: Bench, go_version: str) -> Section:
    python = bench.installed.python
    try:
        with targets.go_lazyfree(go_version, SIZE_MIB) as pid:
            commands = {
                "python -c pass": [python, "-c", "pass"],
                "python -I -S -c pass": [python, "-I", "-S", "-c", "pass"],
                "whyrss --version": [bench.installed.whyrss, "--version"],
                "whyrss PID": bench.explain(pid),
            }
            section = bench.commands(TITLE, "python -c pass", commands)
            costs = _imports(
                [python, "-X", "importtime", bench.installed.whyrss, "-p", *bench.explain(pid)[1:]], bench.rounds
            )
    except TargetError as error:
        return skipped(TITLE, error)
    section.notes.append(_words(costs))
    return section


def _imports(argv: list[str], rounds: int) -> dict[str, float]:
    """Microseconds of each module itself, without what it imports; medians."""
    runs = defaultdict(list)
    for _ in range(rounds):
        told = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, check=True).stderr
        for microseconds, module in _LINE.findall(told):
            runs[module].append(int(microseconds))
    return {module: median(times) for module, times in runs.items()}


def _words(costs: dict[str, float]) -> str:
    ours = {module: cost for module, cost in costs.items() if module.split(".")[0] == "whyrss"}
    dearest = sorted(ours, key=lambda module: -ours[module])[:LISTED]
    listed = ", ".join(f"{module} {ours[module]:.0f}" for module in dearest)
    return (
        f"`-X importtime`, in µs: all modules {sum(costs.values()):.0f}, the {len(ours)} of whyrss "
        f"{sum(ours.values()):.0f}; the dearest by themselves: {listed}."
    )
