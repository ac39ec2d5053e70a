"""Every figure that speaks for a finding can be had by hand, by the command that stands beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import support
from tests.live.cli import assert_evidence, problems, whyrss_json

# A version of Go, None for the page heap in Python; and the environment.
CASES: list[tuple[str | None, dict[str, str]]] = [
    (None, {}),
    ("1.15", {}),
    ("1.21", {"GODEBUG": "madvdontneed=0"}),
    ("1.27", {"GODEBUG": "madvdontneed=0"}),
]


@pytest.mark.parametrize(("version", "env"), CASES)
def test_every_check_prints_its_value(version: str | None, env: dict[str, str]) -> None:
    python = [sys.executable, "-m", "whyrss.lab.programs.lazyfree"]
    argv: list[str | Path] = [support.go_program(version)] if version else [*python]
    with support.running([*argv, "100", "8"], env) as running:
        document = whyrss_json(running.pid)
        assert problems(document)[0] == "lazyfree"
        for finding in document["findings"]:
            assert_evidence(finding)
