"""Gates let a cause look where it may apply, and where that cannot be told."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.causes.builders import account_of, snapshot_of
from whyrss.errors import Missing
from whyrss.gates import memory_limit, no_memory_limit

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


def test_the_catalogue_does_without_what_only_some_gates_need() -> None:
    program = "import sys, whyrss.causes; print({'whyrss.environment', 'whyrss.runtime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
