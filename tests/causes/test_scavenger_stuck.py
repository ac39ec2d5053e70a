"""scavenger-stuck at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import scavenger_stuck
from whyrss.environment import NO_LIMIT_BYTES
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.snapshot import Build

OFF_BYTES = 1 << 63


def build(go_version: str) -> Build:
    made = Build("amd64", False)
    made.is_go = True
    made.go_version = go_version
    return made


def figures(idle_bytes: int, peak_bytes: int = 0, **others: int) -> dict[str, int]:
    """After the one collection at the peak: what is free now was in use then, garbage included."""
    in_use_bytes = 2 * MIB
    peak_bytes = peak_bytes or in_use_bytes + idle_bytes
    return {
        "HeapSys": in_use_bytes + idle_bytes,
        "HeapReleased": 0,
        "HeapInuse": in_use_bytes,
        "HeapIdle": idle_bytes,
        "NextGC": OFF_BYTES,
        "last_goal_bytes": OFF_BYTES,
        "last_heap_in_use_bytes": peak_bytes,
        "gc_percent": -1,
        "NumGC": 1,
        "memory_limit_bytes": NO_LIMIT_BYTES,
        "mapped_ready_bytes": in_use_bytes + idle_bytes + 4 * MIB,
        **others,
    }


def look(found: dict[str, int], idle_bytes: int, rss_bytes: int = 0, go: str = "go1.27.3") -> Finding | None:
    snapshot = snapshot_of(found, build(go), go_minor=int(go.split(".")[1]))
    return scavenger_stuck.look(snapshot, account_of({"heap/retained": idle_bytes}, rss_bytes))


@pytest.mark.parametrize(
    ("idle_bytes", "rss_bytes", "weight"),
    [
        (4 * MIB - 1, 0, None),
        (4 * MIB, 80 * MIB, NOTE),
        (4 * MIB, 80 * MIB + 1, None),  # a twentieth
        (32 * MIB - 1, 0, NOTE),
        (32 * MIB, 128 * MIB, PROBLEM),
        (32 * MIB, 128 * MIB + 4, NOTE),  # a quarter
    ],
)
def test_thresholds(idle_bytes: int, rss_bytes: int, weight: str | None) -> None:
    finding = look(figures(idle_bytes), idle_bytes, rss_bytes)
    assert (finding.weight if finding else None) == weight
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes) == (idle_bytes, idle_bytes)


def test_what_it_says() -> None:
    finding = look(figures(64 * MIB), 64 * MIB)
    assert finding and finding.confidence == "certain"
    assert "with GOGC=off no other collection comes" in finding.summary
    assert {each.what: each.value for each in finding.evidence}["collections so far"] == 1
    assert [fix.variable for fix in finding.fixes if fix.variable] == ["GOGC=100"]


@pytest.mark.parametrize(("go", "limit"), [("go1.15.15", False), ("go1.21.13", False), ("go1.22.0", True)])
def test_a_limit_is_advised_where_the_scavenger_works_towards_it(go: str, limit: bool) -> None:
    """golang/go issue 62449."""
    finding = look(figures(64 * MIB), 64 * MIB, go=go)
    assert finding and any("GOMEMLIMIT" in fix.text for fix in finding.fixes) == limit


def test_a_program_that_collects_by_itself_has_a_goal() -> None:
    """Two runtime.GC in a row: the second counts what the first left, and the scavenger is at work."""
    assert look(figures(64 * MIB, peak_bytes=3 * MIB, NumGC=2), 64 * MIB) is None


@pytest.mark.parametrize(("due_mib", "there"), [(31, True), (33, False)])
def test_half_of_it_may_be_due(due_mib: int, there: bool) -> None:
    """66 MiB in use and free, of which 1.1 times the peak stays."""
    peak_bytes = (66 - due_mib) * MIB * 10 // 11
    assert (look(figures(64 * MIB, peak_bytes=peak_bytes), 64 * MIB) is not None) == there


@pytest.mark.parametrize(
    ("others", "weight"),
    [
        ({"gc_percent": 100, "NextGC": 8 * MIB, "last_goal_bytes": 4 * MIB}, NOTE),  # forced within 2 minutes
        ({"gc_percent": 100, "NextGC": 8 * MIB, "last_goal_bytes": 4 * MIB, "NumGC": 2}, None),
        ({"memory_limit_bytes": 1 << 30, "NumGC": 2}, None),  # the limit brings a collection
    ],
)
def test_where_a_collection_comes(others: dict[str, int], weight: str | None) -> None:
    finding = look(figures(64 * MIB, **others), 64 * MIB)
    assert (finding.weight if finding else None) == weight


def test_a_release_that_gives_back_by_age() -> None:
    """Go 1.12 and older: after 5 minutes, whatever GOGC is (runtime/mheap.go, scavenge)."""
    assert look(figures(64 * MIB), 64 * MIB, go="go1.12.17") is None


@pytest.mark.parametrize("name", ["NumGC", "HeapSys", "last_heap_in_use_bytes"])
def test_without_a_figure(name: str) -> None:
    found = figures(64 * MIB)
    del found[name]
    with pytest.raises(Missing, match=name):
        look(found, 64 * MIB)


def test_contradiction() -> None:
    with pytest.raises(Missing, match="HeapReleased is 1073741824 and HeapIdle"):
        look(figures(64 * MIB, HeapReleased=1 << 30), 64 * MIB)
