"""gomemlimit-too-low at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import time

import pytest

from tests.causes.builders import MIB, TAKEN_AT_UNIX, account_of, snapshot_of
from whyrss.causes import gomemlimit_too_low
from whyrss.environment import NO_LIMIT_BYTES
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding


def figures(alive_bytes: int, goal_bytes: int, **others: int) -> dict[str, int]:
    """5 MiB of Go's own besides objects and free heap; the last collection is a second ago."""
    return {
        "memory_limit_bytes": alive_bytes // 2,
        "heap_marked_bytes": alive_bytes,
        "HeapAlloc": alive_bytes,
        "NextGC": goal_bytes,
        "gc_percent_goal_bytes": 2 * alive_bytes,
        "mapped_ready_bytes": alive_bytes + 6 * MIB,
        "HeapIdle": 3 * MIB,
        "HeapReleased": 2 * MIB,
        "NumGC": 5000,
        "LastGC": (TAKEN_AT_UNIX - 1) * 10**9,
        **others,
    }


def look(found: dict[str, int]) -> Finding | None:
    return gomemlimit_too_low.look(snapshot_of(found), account_of({"heap/live": found["HeapAlloc"]}))


@pytest.mark.parametrize(("goal_bytes", "fires"), [(100 * MIB, True), (110 * MIB, True), (110 * MIB + 1, False)])
def test_a_goal_at_what_is_alive(goal_bytes: int, fires: bool) -> None:
    finding = look(figures(100 * MIB, goal_bytes))
    assert (finding is not None) == fires
    if finding:
        assert (finding.weight, finding.bytes, finding.reclaimable_bytes) == (PROBLEM, 0, 0)
        assert finding.summary.startswith("The collector runs again and again and costs CPU")


@pytest.mark.parametrize(("alive_bytes", "weight"), [(4 * MIB - 1, None), (4 * MIB, NOTE), (32 * MIB, PROBLEM)])
def test_by_what_is_alive(alive_bytes: int, weight: str | None) -> None:
    finding = look(figures(alive_bytes, alive_bytes))
    assert (finding.weight if finding else None) == weight


def test_just_below_a_problem() -> None:
    finding = look(figures(32 * MIB - 1, 32 * MIB - 1))
    assert finding and finding.weight == NOTE


@pytest.mark.parametrize(
    ("gc_goal_bytes", "fires"), [(125 * MIB, True), (125 * MIB - 1, False), ((1 << 64) - 1, True)]
)
def test_it_is_the_limit_and_not_gogc(gc_goal_bytes: int, fires: bool) -> None:
    """A low GOGC keeps the goal as low; with GOGC=off its goal is 2^64 - 1."""
    found = figures(100 * MIB, 100 * MIB, gc_percent_goal_bytes=gc_goal_bytes)
    assert (look(found) is not None) == fires


@pytest.mark.parametrize(("seconds", "weight"), [(0, PROBLEM), (10, PROBLEM), (11, NOTE), (119, NOTE)])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_a_program_that_does_not_collect(
    seconds: int, weight: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any time zone of the reader."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        finding = look(figures(100 * MIB, 100 * MIB, LastGC=(TAKEN_AT_UNIX - seconds) * 10**9))
    finally:
        monkeypatch.undo()
        time.tzset()
    assert finding and finding.weight == weight


def test_fixes_with_numbers() -> None:
    """5 MiB besides objects and (100 * 1.2) / 0.97 = 123.7 MiB."""
    finding = look(figures(100 * MIB, 100 * MIB))
    assert finding and [fix.variable for fix in finding.fixes] == ["GOMEMLIMIT=129MiB", "GOMEMLIMIT=off"]


def test_evidence_tells_it_from_others() -> None:
    finding = look(figures(100 * MIB, 101 * MIB))
    assert finding
    assert [found.value for found in finding.evidence][:5] == [50 * MIB, 106 * MIB, 100 * MIB, 101 * MIB, 5000]


def test_without_a_limit() -> None:
    assert look(figures(100 * MIB, 100 * MIB, memory_limit_bytes=NO_LIMIT_BYTES)) is None


def test_go_that_has_none() -> None:
    found = figures(100 * MIB, 100 * MIB)
    for name in ("memory_limit_bytes", "gc_percent_goal_bytes", "mapped_ready_bytes"):
        del found[name]
    account = account_of({"heap/live": 100 * MIB})
    assert gomemlimit_too_low.look(snapshot_of(found, go_minor=18), account) is None
    with pytest.raises(Missing, match="memory_limit_bytes"):
        gomemlimit_too_low.look(snapshot_of(found, go_minor=19), account)


@pytest.mark.parametrize("taken_at", ["", "2026-01-01", "2026-01-01T00:00:00.5Z", f"{10**30}-01-01T00:00:00Z"])
def test_a_snapshot_of_no_known_time(taken_at: str) -> None:
    snapshot = snapshot_of(figures(100 * MIB, 100 * MIB))
    snapshot.taken_at = taken_at
    with pytest.raises(Missing, match="time of the snapshot"):
        gomemlimit_too_low.look(snapshot, account_of({"heap/live": 100 * MIB}))


@pytest.mark.parametrize("name", ["heap_marked_bytes", "NextGC", "gc_percent_goal_bytes", "LastGC"])
def test_missing_figures(name: str) -> None:
    found = figures(100 * MIB, 100 * MIB)
    del found[name]
    with pytest.raises(Missing, match=name):
        look(found)


def test_no_runtime() -> None:
    with pytest.raises(Missing, match="no heap"):
        gomemlimit_too_low.look(snapshot_of(Missing("no heap")), account_of({"heap/live": 100 * MIB}))


def test_contradiction() -> None:
    with pytest.raises(Missing, match="which contains it"):
        look(figures(100 * MIB, 100 * MIB, Sys=50 * MIB))
