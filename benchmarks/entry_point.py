"""The script of the wheel beside the wrappers that pip would have written for an entry point."""

from __future__ import annotations

from benchmarks import targets
from benchmarks.bench import Bench
from benchmarks.report import Section, skipped
from whyrss.errors import TargetError

SIZE_MIB = 200
TITLE = "The command's script and pip's wrappers"


def run(bench: Bench, go_version: str) -> Section:
    try:
        with targets.go_lazyfree(go_version, SIZE_MIB) as pid:
            shipped, installed = bench.explain(pid), bench.installed
            commands = {
                "the wheel's script": shipped,
                "wrapper of older pip (imports re)": [installed.wrapper, *shipped[1:]],
                "wrapper of newer pip (does not)": [installed.lean_wrapper, *shipped[1:]],
            }
            return bench.commands(TITLE, "the wheel's script", commands)
    except TargetError as error:
        return skipped(TITLE, error)
