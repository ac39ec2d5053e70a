"""`whyrss lab matrix`: every cause against every program that has one, and against healthy programs."""

from __future__ import annotations

import argparse
import os
import sys

from whyrss.causes import CAUSES
from whyrss.errors import RefusedError, UsageError
from whyrss.lab import matrix
from whyrss.show import matrix as view
from whyrss.show.units import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.matrix import Row

SIZE_MIB = 128
SIZE_MIB_MIN, SIZE_MIB_MAX = 32, 4096


def run(argv: list[str]) -> int:
    """Exit code 4 where a verdict is wrong."""
    options = _parser().parse_args(argv)
    rows = _recorded(options) if options.recording else _live(options)
    names = [cause.name for cause in CAUSES]
    colours = "NO_COLOR" not in os.environ and sys.stdout.isatty()
    sys.stdout.write(view.to_json(rows, names) if options.json else view.show(rows, names, colours))
    return RefusedError.exit_code if any(row.right is False for row in rows) else 0


def _recorded(options: argparse.Namespace) -> list[Row]:
    if options.go or options.cause or options.all_versions:
        raise UsageError(
            "--go, --cause and --all-versions are for live programs", "leave them out, or the recordings"
        )
    return [matrix.run_recording(path) for path in options.recording]


def _live(options: argparse.Namespace) -> list[Row]:
    if not sys.platform.startswith("linux"):
        raise UsageError(f"the programs need Linux, this is {sys.platform}", "name recordings")
    cells = matrix.plan(options.cause, options.go, options.all_versions)
    if not cells:
        raise UsageError(f"none of these programs can have its cause by Go {', '.join(options.go)}")
    rows = []
    for number, (experiment, go) in enumerate(cells, 1):
        _progress(f"{number} of {len(cells)}: {experiment.name} by Go {go}")
        rows.append(matrix.run_live(experiment, go, options.size, _progress))
    _progress("")
    return rows


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _mib(text: str) -> int:
    """A size in MiB; below SIZE_MIB_MIN no program can have a problem."""
    mib = parse_size(text) >> 20
    if not SIZE_MIB_MIN <= mib <= SIZE_MIB_MAX:
        raise argparse.ArgumentTypeError(f"between {SIZE_MIB_MIN}MiB and {SIZE_MIB_MAX}MiB")
    return mib


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whyrss lab matrix",
        description="Runs the program of each cause by several releases of Go, and healthy programs, and shows what "
        "each cause says of each: it should speak of its own program and be silent about all others. Exit code 4 "
        "where a verdict is wrong.",
    )
    parser.add_argument(
        "recording",
        nargs="*",
        metavar="RECORDING",
        help="explain these instead of live programs; each is named as its cause, or healthy-...",
    )
    parser.add_argument(
        "--go", action="append", default=[], metavar="VERSION", help="by this Go only; may be given several times"
    )
    parser.add_argument(
        "--cause",
        action="append",
        default=[],
        metavar="NAME",
        help="the program of this cause only, or of this name (healthy-idle); may be given several times",
    )
    parser.add_argument("--all-versions", action="store_true", help="by every Go that can have the cause")
    parser.add_argument(
        "--size", type=_mib, default=SIZE_MIB, metavar="SIZE", help="of each program (default 128MiB)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser
