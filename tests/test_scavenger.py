"""The scavenger's goals: against what the runtime itself computed, by release, and without its figures."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import support
from whyrss import scavenger
from whyrss.environment import NO_LIMIT_BYTES
from whyrss.errors import Missing
from whyrss.facts.scavenger import ROWS
from whyrss.lab.causes import Experiment
from whyrss.lab.subject import running
from whyrss.policy import GoVersion
from whyrss.runtime import Runtime
from whyrss.sources import open_source
from whyrss.verdict import why

MIB = 1 << 20
PAGE_BYTES = 4096
# Of the program scavenger-pending by Go 1.15.15: the last is what its runtime had stored as its goal.
MEASURED = {
    "HeapSys": 201064448,
    "HeapReleased": 65454080,
    "NextGC": 4194304,
    "NumGC": 8,
    "last_goal_bytes": 270631872,
    "last_heap_in_use_bytes": 135561216,
}
STORED_BYTES = 2314240


def standing(figures: dict[str, int], go: str) -> scavenger.Standing:
    version = GoVersion.parse(go)
    return scavenger.standing(Runtime(figures, "memory", version.minor), version)


def limited(limit_bytes: int, ready_bytes: int) -> dict[str, int]:
    """A heap that is at its goal by the collector: 100 MiB in use, 110 retained."""
    return {
        "HeapSys": 120 * MIB,
        "HeapReleased": 10 * MIB,
        "NextGC": 200 * MIB,
        "NumGC": 3,
        "last_goal_bytes": 200 * MIB,
        "last_heap_in_use_bytes": 100 * MIB,
        "memory_limit_bytes": limit_bytes,
        "mapped_ready_bytes": ready_bytes,
    }


def test_the_rows_have_no_gap() -> None:
    assert ROWS[0][0] == (9, 0) and ROWS[-1][1] == (28, 0)
    assert [before for _, before, *_ in ROWS[:-1]] == [since for since, *_ in ROWS[1:]]


def test_as_the_runtime_stored_it() -> None:
    """It rounds up to a page of the kernel."""
    found = standing(MEASURED, "go1.15.15")
    assert found.goal_bytes and 0 <= STORED_BYTES - found.goal_bytes < PAGE_BYTES
    assert found.retained_bytes == 201064448 - 65454080
    assert found.due_bytes == found.retained_bytes - found.goal_bytes


def test_as_a_running_go_stored_it() -> None:
    """Go 1.15 keeps its goal in mheap_.scavengeGoal."""
    support.needs_linux()
    with running(Experiment("scavenger-pending", ""), "1.15", 32) as (child, version):
        runtime = why(open_source(str(child.pid), pid=True)).snapshot[Runtime]
        goal_bytes = scavenger.standing(runtime, GoVersion.parse(version)).goal_bytes
        assert goal_bytes and 0 <= runtime["scavenge_goal_bytes"] - goal_bytes < PAGE_BYTES


@pytest.mark.parametrize(
    ("go", "goal_bytes"),
    [
        ("go1.12.17", None),
        ("go1.13.2", 4613734),  # 1.1 * 4 MiB
        ("go1.13.3", 2311048),  # 135561216 * 4194304 / 270631872 = 2100953 and a tenth
        ("go1.18", 2311048),
        ("go1.27.3", 2311048),
    ],
)
def test_by_release(go: str, goal_bytes: int | None) -> None:
    found = standing({**MEASURED, "memory_limit_bytes": NO_LIMIT_BYTES}, go)
    assert (found.goal_bytes, found.by_age) == (goal_bytes, goal_bytes is None)
    assert found.limit_goal_bytes is None


def test_no_goal_before_the_first_collection() -> None:
    assert standing({**MEASURED, "NumGC": 0}, "go1.15").due_bytes == 0
    assert standing({**MEASURED, "last_goal_bytes": 0}, "go1.15").goal_bytes is None


@pytest.mark.parametrize(
    ("go", "limit_goal_bytes", "due_bytes"),
    [
        ("go1.18.10", None, 0),
        ("go1.19.8", 9500 * MIB, 0),  # 95 times the limit
        ("go1.21.13", 9500 * MIB, 0),
        ("go1.22.0", 95 * MIB, 25 * MIB),
        ("go1.27.3", 95 * MIB, 25 * MIB),
    ],
)
def test_goal_of_a_limit(go: str, limit_goal_bytes: int | None, due_bytes: int) -> None:
    found = standing(limited(100 * MIB, 120 * MIB), go)
    assert (found.limit_goal_bytes, found.due_bytes) == (limit_goal_bytes, due_bytes)


def test_the_harder_of_two_goals() -> None:
    figures = limited(1000 * MIB, 120 * MIB)
    assert standing(figures, "go1.27").due_bytes == 0
    figures["last_heap_in_use_bytes"] = 50 * MIB
    assert standing(figures, "go1.27").due_bytes == 55 * MIB
    assert standing({**figures, "memory_limit_bytes": 40 * MIB}, "go1.27").due_bytes == 82 * MIB


@pytest.mark.parametrize("name", sorted({*MEASURED, "memory_limit_bytes"} - {"NumGC"}))
def test_missing_figures(name: str) -> None:
    figures = {**MEASURED, "memory_limit_bytes": NO_LIMIT_BYTES}
    del figures[name]
    with pytest.raises(Missing, match=name):
        standing(figures, "go1.24.4")


def test_dense_chunks_wait_from_go_1_21_on() -> None:
    waits = {go: scavenger.keeps_dense_chunks(GoVersion.parse(go)) for go in ("go1.20.1", "go1.21.0", "go1.27")}
    assert waits == {"go1.20.1": False, "go1.21.0": True, "go1.27": True}


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        dict.fromkeys((*MEASURED, "memory_limit_bytes", "mapped_ready_bytes"), st.integers(0, 2**64))
    ),
    st.sampled_from(["go1.12", "go1.13", "go1.15.1", "go1.20", "go1.27.3"]),
)
def test_whatever_the_figures_are(figures: dict[str, int], go: str) -> None:
    try:
        found = standing(figures, go)
    except Missing:
        return
    assert found.due_bytes >= 0 and found.retained_bytes >= 0
