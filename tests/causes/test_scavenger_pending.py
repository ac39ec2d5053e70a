"""scavenger-pending at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, TAKEN_AT_UNIX, account_of, snapshot_of
from whyrss.causes import scavenger_pending
from whyrss.environment import NO_LIMIT_BYTES
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.snapshot import Build


def build(go_version: str) -> Build:
    made = Build("amd64", False)
    made.is_go = True
    made.go_version = go_version
    return made


def figures(idle_bytes: int, due_bytes: int, seconds: int = 60, **others: int) -> dict[str, int]:
    """100 MiB in use when marking ended, so that the goal is 110 MiB."""
    retained_bytes = 110 * MIB + due_bytes
    return {
        "HeapSys": retained_bytes + 7 * MIB,
        "HeapReleased": 7 * MIB,
        "HeapInuse": retained_bytes - idle_bytes,
        "HeapIdle": idle_bytes + 7 * MIB,
        "NextGC": 200 * MIB,
        "last_goal_bytes": 200 * MIB,
        "last_heap_in_use_bytes": 100 * MIB,
        "NumGC": 9,
        "LastGC": (TAKEN_AT_UNIX - seconds) * 10**9,
        "memory_limit_bytes": NO_LIMIT_BYTES,
        "mapped_ready_bytes": retained_bytes + 5 * MIB,
        **others,
    }


def look(found: dict[str, int], idle_bytes: int, rss_bytes: int = 0, go: str = "go1.27.3") -> Finding | None:
    minor = int(go.split(".")[1])
    snapshot = snapshot_of(found, build(go), go_minor=minor)
    return scavenger_pending.look(snapshot, account_of({"heap/retained": idle_bytes}, rss_bytes))


@pytest.mark.parametrize(
    ("idle_bytes", "rss_bytes", "mentioned"),
    [
        (4 * MIB - 1, 0, False),
        (4 * MIB, 0, True),
        (4 * MIB, 80 * MIB, True),
        (4 * MIB, 80 * MIB + 1, False),  # a twentieth
    ],
)
def test_what_is_mentioned(idle_bytes: int, rss_bytes: int, mentioned: bool) -> None:
    finding = look(figures(idle_bytes, 0), idle_bytes, rss_bytes)
    assert (finding is not None) == mentioned
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes, finding.weight) == (idle_bytes, 0, NOTE)
        assert "by design" in finding.summary and not finding.fixes


@pytest.mark.parametrize(
    ("due_bytes", "rss_bytes", "seconds", "weight"),
    [
        (32 * MIB, 128 * MIB, 60, PROBLEM),
        (32 * MIB - 1, 64 * MIB, 60, NOTE),
        (40 * MIB, 160 * MIB, 60, PROBLEM),
        (40 * MIB, 160 * MIB + 4, 60, NOTE),  # a quarter
        # the scavenger may be at work
        (40 * MIB, 100 * MIB, 3, PROBLEM),
        (40 * MIB, 100 * MIB, 2, NOTE),
        (40 * MIB, 100 * MIB, -5, NOTE),  # by a clock that was set back
        (60 * MIB, 100 * MIB, 3, PROBLEM),
        (60 * MIB + 1, 100 * MIB, 3, NOTE),  # 20 MiB in a second
    ],
)
def test_what_is_a_problem(due_bytes: int, rss_bytes: int, seconds: int, weight: str) -> None:
    finding = look(figures(64 * MIB, due_bytes, seconds), 64 * MIB, rss_bytes)
    assert finding and finding.weight == weight
    assert finding.bytes == 64 * MIB
    assert finding.reclaimable_bytes == (64 * MIB if weight == PROBLEM else 0)
    assert "not given back yet" in finding.summary
    assert [fix.kind for fix in finding.fixes] == ["live", "code", "env"]


def test_much_below_the_goal_is_by_design() -> None:
    """A heap that goes up and down between 50 and 100 MiB."""
    finding = look(figures(60 * MIB, 0), 60 * MIB)
    assert finding and finding.weight == NOTE and "by design" in finding.summary


def test_no_more_is_due_than_is_free() -> None:
    """What is in use may be above the goal, too."""
    finding = look(figures(20 * MIB, 90 * MIB), 20 * MIB)
    assert finding and finding.weight == NOTE


def test_the_goal_can_be_checked() -> None:
    finding = look(figures(60 * MIB, 40 * MIB), 60 * MIB)
    assert finding
    (goal,) = (found for found in finding.evidence if "keeps" in found.what)
    assert goal.value == 110 * MIB
    assert "a * (b / c)" in goal.check and "last_heap_in_use_bytes" in goal.check


@pytest.mark.parametrize(
    ("go", "kinds", "text"),
    [
        ("go1.15.15", ["live", "code"], "1 % of a CPU."),
        ("go1.20.5", ["live", "code"], "1 % of a CPU."),
        ("go1.21.13", ["live", "code"], "a collection or two"),
        ("go1.22.0", ["live", "code", "env"], "a collection or two"),
    ],
)
def test_advice_by_release(go: str, kinds: list[str], text: str) -> None:
    finding = look(figures(60 * MIB, 40 * MIB), 60 * MIB, go=go)
    assert finding and finding.weight == PROBLEM
    assert [fix.kind for fix in finding.fixes] == kinds
    assert text in finding.summary


def test_go_1_12_has_no_goal_but_five_minutes() -> None:
    finding = look({"HeapSys": 80 * MIB, "HeapReleased": 0}, 60 * MIB, go="go1.12.17")
    assert finding and finding.weight == NOTE and "5 minutes" in finding.summary
    assert [fix.kind for fix in finding.fixes] == ["live", "code", "upgrade"]


def test_a_memory_limit_is_a_goal() -> None:
    """The goal of the collector keeps all of it, 95 % of the limit does not; up to Go 1.21 that is another cause."""
    found = figures(60 * MIB, 0, memory_limit_bytes=64 * MIB)
    finding = look(found, 60 * MIB)
    assert finding and finding.weight == PROBLEM
    assert [fix.kind for fix in finding.fixes] == ["live", "code"]
    before = look(found, 60 * MIB, go="go1.21.13")
    assert before and before.weight == NOTE and "by design" in before.summary


@pytest.mark.parametrize("others", [{"NumGC": 0}, {"last_goal_bytes": 0}])
def test_without_a_goal_it_is_another_cause(others: dict[str, int]) -> None:
    assert look(figures(60 * MIB, 40 * MIB, **others), 60 * MIB) is None


def test_neighbours_are_silent() -> None:
    """What was given back, and what is in use."""
    found = figures(0, 0)
    for line in ("heap/released/lazyfree", "heap/slack", "heap/live"):
        snapshot = snapshot_of(found, build("go1.27.3"))
        assert scavenger_pending.look(snapshot, account_of({line: 200 * MIB})) is None


@pytest.mark.parametrize(
    "name", ["HeapSys", "HeapReleased", "NextGC", "last_goal_bytes", "last_heap_in_use_bytes", "LastGC"]
)
def test_missing_figures(name: str) -> None:
    found = figures(60 * MIB, 40 * MIB)
    del found[name]
    with pytest.raises(Missing, match=name):
        look(found, 60 * MIB)


@pytest.mark.parametrize("go", ["", "devel go1.28-0123abcd", "go1.99"])
def test_release_that_is_not_known(go: str) -> None:
    with pytest.raises(Missing):
        scavenger_pending.look(
            snapshot_of(figures(60 * MIB, 40 * MIB), build(go)), account_of({"heap/retained": 60 * MIB})
        )


def test_contradiction() -> None:
    with pytest.raises(Missing, match="which contains it"):
        look(figures(60 * MIB, 40 * MIB, HeapReleased=500 * MIB), 60 * MIB)
