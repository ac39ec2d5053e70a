"""`whyrss lab kernel`: what this kernel does with returned memory, expected and measured."""

from __future__ import annotations

import argparse
import os
import sys

from whyrss.errors import RefusedError, UsageError
from whyrss.lab.semantics import run_experiments
from whyrss.show import semantics as view


def run(argv: list[str]) -> int:
    """Exit code 4 where the kernel does otherwise than expected."""
    options = _parser().parse_args(argv)
    if not sys.platform.startswith("linux"):
        raise UsageError(f"the experiments need Linux, this is {sys.platform}")
    rows = run_experiments()
    colours = "NO_COLOR" not in os.environ and sys.stdout.isatty()
    sys.stdout.write(view.to_json(rows) if options.json else view.show(rows, colours))
    return RefusedError.exit_code if any(row.holds is False for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whyrss lab kernel",
        description="Tries on real pages what madvise(2) and the memory cgroup do with returned memory, and prints "
        "what was expected, what was measured, and why. Exit code 4 where the two differ.",
    )
    parser.add_argument("--json", action="store_true", help="the rows as one JSON document")
    return parser
