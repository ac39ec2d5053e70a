"""`whyrss lab run FILE`: a scenario in the model of Go's page heap, and on demand as a real Go program beside it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time

from whyrss.errors import UsageError
from whyrss.lab import library
from whyrss.lab.guard import protect, refuse_too_large
from whyrss.lab.run import Course
from whyrss.lab.scenario import changed, load_scenario, peak_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from whyrss.lab.run import Press
    from whyrss.lab.scenario import Scenario


def run(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    if not sys.platform.startswith("linux"):
        raise UsageError(f"the lab needs Linux, this is {sys.platform}")
    if options.file is None:
        print("\n".join(f"{name:<15} {library.about(name)}" for name in library.names()))
        return 0
    scenario = load_scenario(library.path_of(options.file))
    for setting in options.set:
        scenario = changed(scenario, setting)
    others = [scenario]
    for setting in options.compare:
        others = [changed(others[0], setting)]
    for each in (scenario, *others):
        refuse_too_large(peak_bytes(each), each.name)
    real = [_real(scenario, version) for version in options.against]  # first: a Go program needs no limits of ours
    peak = max(peak_bytes(each) for each in (scenario, *others))
    protect(peak)
    if real:
        return _compared(scenario, real, options)
    document = _model(scenario, options)
    if options.compare:
        document["compared"] = _model(others[0], options)
    _write(document, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whyrss lab run",
        description="Run a scenario (docs/scenarios.md) in a model of Go's page heap: its pages are real, madvise(2) "
        "is called as that Go calls it, and RSS and LazyFree are the kernel's. Waits pass as fast as they can.",
    )
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="a scenario in TOML, or the name of one of ours (without: the list)"
    )
    parser.add_argument("--json", action="store_true", help="all samples as one JSON document")
    parser.add_argument(
        "--svg", metavar="FILE", help="also draw the course into this file (with --against: beside the first Go)"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting: go=1.19, gogc=50, ..."
    )
    parser.add_argument(
        "--compare",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="run it again with this setting, and overlay the two: --compare godebug=madvdontneed=1",
    )
    parser.add_argument(
        "--speed", type=_speed, default=0.0, metavar="N", help="let waits pass N times faster than real time"
    )
    parser.add_argument(
        "--serve",
        metavar="HOST:PORT",
        help="serve /debug/pprof/heap, /debug/vars and /metrics meanwhile, as a Go program does, until interrupted",
    )
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="GO",
        help="run it as a real program of that Go too (in real time), and report how far off the model is",
    )
    return parser


def _speed(text: str) -> float:
    speed = float(text)
    if not 0.01 <= speed <= 1e6:
        raise argparse.ArgumentTypeError("between 0.01 and 1000000")
    return speed


def _model(scenario: Scenario, options: argparse.Namespace) -> dict[str, Any]:
    with _pressing(scenario) as press:
        course = Course(scenario, options.speed, press)
        if options.serve is None:
            return course.run()
        return _served(course, options.serve)


@contextlib.contextmanager
def _pressing(scenario: Scenario) -> Iterator[Press | None]:
    """How the kernel is made to need memory: by a cgroup of our own, where one can be made."""
    if not any(phase.do == "pressure" for phase in scenario.phases):
        yield None
        return
    from whyrss.lab.group import Group
    from whyrss.lab.pressure import press

    with Group() as group:
        yield lambda limit_bytes, ranges: press(limit_bytes, ranges, group).notes


def _served(course: Course, address: str) -> dict[str, Any]:
    """The figures are to be had while it runs, and afterwards until it is interrupted."""
    from whyrss.lab.serve import Server

    with Server(course.state, address, collect=course.collect) as server:
        print(f"serving {server.url}/debug/pprof/heap, /debug/vars and /metrics", file=sys.stderr, flush=True)
        document = course.run(keep=True)
        print("the scenario has ended; interrupt to stop serving", file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                time.sleep(3600)
        course.close()
    return document


def _real(scenario: Scenario, version: str) -> tuple[Scenario, dict[str, Any]]:
    """The scenario under that Go, and what a real program of it did."""
    from whyrss.lab import realgo

    chosen = changed(scenario, f"go={version}")
    return chosen, realgo.run(chosen, version, say=lambda text: print(text, file=sys.stderr, flush=True))


def _compared(scenario: Scenario, real: list[tuple[Scenario, dict[str, Any]]], options: argparse.Namespace) -> int:
    from whyrss.lab.comparison import compare
    from whyrss.show import comparison as view
    from whyrss.show import course

    documents = []
    for chosen, theirs in real:
        ours = _model(chosen, options)
        comparison = compare(ours, theirs)
        documents.append(ours | {"compared": theirs})
        if not options.json:
            sys.stdout.write(course.show(documents[-1], _colours()) + "\n" + view.show([comparison]) + "\n")
    if options.svg:
        _save(options.svg, course.show_svg(documents[0]))
    if options.json:
        print(json.dumps({"scenario": scenario.as_dict(), "against": documents}))
    return 0


def _write(document: dict[str, Any], options: argparse.Namespace) -> None:
    from whyrss.show import course as view

    if options.svg:
        _save(options.svg, view.show_svg(document))
    if options.json:
        print(json.dumps(document))
        return
    sys.stdout.write(view.show(document, _colours()))


def _colours() -> bool:
    return "NO_COLOR" not in os.environ and sys.stdout.isatty()


def _save(path: str, text: str) -> None:
    """Whole or not at all."""
    part = f"{path}.part"
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
