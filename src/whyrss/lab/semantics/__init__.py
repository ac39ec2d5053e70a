"""The kernel's semantics of returned memory, shown by experiment on real pages: `run_experiments`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from whyrss.lab.semantics import dontneed, free, huge, lists, locked, oldkernel, pressed, shared
from whyrss.lab.semantics.row import Experiment, Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from whyrss.lab.semantics.row import Measured

LONGEST_S = 120

FILES = (dontneed, free, pressed, locked, huge, shared, lists, oldkernel)
EXPERIMENTS: dict[str, Experiment] = {each.name: each for file in FILES for each in file.EXPERIMENTS}


def run_experiments(names: Iterable[str] = tuple(EXPERIMENTS), kernel: str = "") -> list[Row]:
    """A row for each, in their order. Each runs in a process of its own, which is the first to be killed when
    memory runs out. `kernel` is the release to go by, this one's by default. Raises UsageError for one that is none.
    """
    kernel = kernel or os.uname().release
    return [_row(EXPERIMENTS[name], kernel) for name in names]


def _row(experiment: Experiment, kernel: str) -> Row:
    reason = experiment.unmet(kernel)
    if reason:
        return Row(experiment, None, reason)
    measured, reason = _run(experiment.name)
    return Row(experiment, measured, reason)


def _run(name: str) -> tuple[Measured | None, str]:
    """What the child measured, or None and why it did not."""
    argv = [sys.executable, "-m", "whyrss.lab.semantics.one", name]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=LONGEST_S, check=False)
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return None, f"the experiment did not end within {LONGEST_S} s"
    except ValueError:
        last = done.stderr.strip().rpartition("\n")[2]
        return None, f"the experiment ended with code {done.returncode}: {last}"
    return answer.get("measured"), answer.get("missing", "")
