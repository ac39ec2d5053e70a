"""`whyrss record TARGET -o FILE`: keep a snapshot."""

from __future__ import annotations

import argparse

from whyrss.errors import UsageError
from whyrss.show.choose import choose
from whyrss.show.units import size
from whyrss.sources import open_source


def run(argv: list[str]) -> int:
    from whyrss.sources.recording import record

    options = _parser().parse_args(argv)
    source = open_source(options.target, pid=options.pid, choose=choose)
    if not source.files.live:
        raise UsageError(f"{options.target} is a recording already")
    written_bytes = record(source.pid, options.output)
    print(
        f"{options.output}: {size(written_bytes)} of process {source.pid}; explain it with: whyrss {options.output}"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whyrss record",
        description="Keep what a verdict is made from, to be explained later, elsewhere, without Linux. Of the "
        "environment only the variables of the Go runtime and of malloc are kept; no memory of the process is.",
    )
    parser.add_argument("target", help="a PID or a process name")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="a new folder, or a file *.tar.gz")
    parser.add_argument(
        "-p", "--pid", action="store_true", help="TARGET is a PID or a name, whatever else it could be"
    )
    return parser
