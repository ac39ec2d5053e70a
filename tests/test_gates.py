"""Gates let a cause look where it may apply, and where that cannot be told."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.causes.builders import account_of, snapshot_of
from whyrss.causes import CAUSES
from whyrss.errors import Missing
from whyrss.finding import Entry
from whyrss.gates import memory_limit, no_memory_limit, peak
from whyrss.snapshot import Host, Status

if TYPE_CHECKING:
    from whyrss.gates import Gate

NO_LIMIT_BYTES = 2**63 - 1  # math.MaxInt64 (runtime/mgcpacer.go)


@pytest.mark.parametrize(
    ("gate", "limit_bytes", "holds"),
    [
        (no_memory_limit, NO_LIMIT_BYTES, True),
        (no_memory_limit, NO_LIMIT_BYTES - 1, False),
        (no_memory_limit, 0, False),
        (no_memory_limit, None, True),
        (memory_limit, NO_LIMIT_BYTES, False),
        (memory_limit, NO_LIMIT_BYTES - 1, True),
        (memory_limit, None, True),
    ],
)
def test_memory_limit(gate: Gate, limit_bytes: int | None, holds: bool) -> None:
    figures = {} if limit_bytes is None else {"memory_limit_bytes": limit_bytes}
    assert gate(snapshot_of(figures), account_of({})) is holds


@pytest.mark.parametrize("gate", [memory_limit, no_memory_limit])
def test_without_figures(gate: Gate) -> None:
    assert gate(snapshot_of(Missing("not read")), account_of({}))


LINES = [
    (entry, module, path)
    for entry in CAUSES
    for module in [import_module(f"whyrss.causes.{entry.name.replace('-', '_')}")]
    for path in [getattr(module, "LINE", "")]
    if hasattr(module, "MENTION_SHARE") and entry.name != "ballast"  # by size of an object, not by its line
]


@pytest.mark.parametrize(("entry", "module", "path"), LINES, ids=lambda value: getattr(value, "name", ""))
def test_the_gate_of_a_line_is_where_the_cause_would_begin_to_speak(
    entry: Entry, module: ModuleType, path: str
) -> None:
    least_bytes, share = module.MENTION_BYTES, module.MENTION_SHARE
    pages = Host("6.1", 65536, None, None)
    snapshot = snapshot_of({"goroutines_made": 1 << 20, "BuckHashSys": 1 << 30}, pages)
    for size_bytes, rss_bytes, holds in (
        (least_bytes, 0, True),
        (least_bytes - 1, 0, False),
        (2 * least_bytes, 2 * least_bytes * share, True),
        (2 * least_bytes, 2 * least_bytes * share + 1, False),
    ):
        assert entry.gate(snapshot, account_of({path: size_bytes}, rss_bytes)) is holds


@pytest.mark.parametrize(
    ("line", "holds"), [("VmHWM:\t100 kB", True), ("VmHWM:\t99 kB", False), ("VmRSS:\t1 kB", True)]
)
def test_peak(line: str, holds: bool) -> None:
    name, _, value = line.partition(":\t")
    found = snapshot_of({}, Status({name: value}, {}))
    assert peak(2)(found, account_of({"image": 50 << 10})) is holds


def test_no_memory_limit_before_go_1_19() -> None:
    assert not memory_limit(snapshot_of({}, go_minor=18), account_of({}))
    assert memory_limit(snapshot_of({}, go_minor=19), account_of({}))


def test_the_catalogue_does_without_what_only_some_gates_need() -> None:
    program = "import sys, whyrss.causes; print({'whyrss.environment', 'whyrss.runtime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
