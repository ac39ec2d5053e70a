"""limit-goal-bug at its thresholds, by release, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, limit_goal_bug
from whyrss.environment import NO_LIMIT_BYTES
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.snapshot import Build, Snapshot

GATE = next(entry.gate for entry in CAUSES if entry.name == "limit-goal-bug")
LIMIT_BYTES = 100 * MIB


def build(go_version: str) -> Build:
    made = Build("amd64", False)
    made.is_go = True
    made.go_version = go_version
    return made


def figures(excess_bytes: int, **others: int) -> dict[str, int]:
    """So much above 95 % of the limit, while the goal of the collector keeps 220 MiB of heap."""
    return {
        "HeapSys": 220 * MIB,
        "HeapReleased": 20 * MIB,
        "NextGC": 40 * MIB,
        "last_goal_bytes": 40 * MIB,
        "last_heap_in_use_bytes": 200 * MIB,
        "NumGC": 9,
        "memory_limit_bytes": LIMIT_BYTES,
        "mapped_ready_bytes": LIMIT_BYTES * 95 // 100 + excess_bytes,
        **others,
    }


def snapshot(found: dict[str, int], go: str) -> Snapshot:
    return snapshot_of(found, build(go), go_minor=int(go.split(".")[1]))


def look(found: dict[str, int], idle_bytes: int, rss_bytes: int = 0, go: str = "go1.21.13") -> Finding | None:
    return limit_goal_bug.look(snapshot(found, go), account_of({"heap/retained": idle_bytes}, rss_bytes))


@pytest.mark.parametrize(
    ("excess_bytes", "idle_bytes", "rss_bytes", "weight"),
    [
        (4 * MIB - 1, 60 * MIB, 0, None),
        (4 * MIB, 60 * MIB, 80 * MIB, NOTE),
        (4 * MIB, 60 * MIB, 80 * MIB + 1, None),  # a twentieth
        (60 * MIB, 4 * MIB - 1, 0, None),  # not free, but in use
        (32 * MIB - 1, 60 * MIB, 0, NOTE),
        (32 * MIB, 60 * MIB, 128 * MIB, PROBLEM),
        (32 * MIB, 60 * MIB, 128 * MIB + 1, NOTE),  # a quarter
        (100 * MIB, 40 * MIB, 0, PROBLEM),
    ],
)
def test_thresholds(excess_bytes: int, idle_bytes: int, rss_bytes: int, weight: str | None) -> None:
    finding = look(figures(excess_bytes), idle_bytes, rss_bytes)
    assert (finding.weight if finding else None) == weight
    if finding:
        assert finding.bytes == finding.reclaimable_bytes == min(excess_bytes, idle_bytes)


@pytest.mark.parametrize(
    ("go", "found"),
    [
        ("go1.18.10", False),
        ("go1.19", True),
        ("go1.19.8", True),
        ("go1.20.14", True),
        ("go1.21.13", True),
        ("go1.22.0", False),
        ("go1.27.3", False),
    ],
)
def test_by_release(go: str, found: bool) -> None:
    """Issue 62449: gone in Go 1.22; the memory limit came with Go 1.19."""
    account = account_of({"heap/retained": 60 * MIB})
    assert (look(figures(60 * MIB), 60 * MIB, go=go) is not None) == found
    assert GATE(snapshot(figures(60 * MIB), go), account) == found


def test_gate() -> None:
    found, account = figures(60 * MIB), account_of({"heap/retained": 60 * MIB})
    assert not GATE(snapshot({**found, "memory_limit_bytes": NO_LIMIT_BYTES}, "go1.21.13"), account)
    assert not GATE(snapshot(found, "go1.21.13"), account_of({"heap/live": 60 * MIB}))


def test_what_the_other_goal_gives_back_is_pending() -> None:
    """200 MiB are retained: a goal of 110 gives more back than the limit would."""
    assert look(figures(60 * MIB, last_heap_in_use_bytes=100 * MIB), 100 * MIB) is None
    finding = look(figures(60 * MIB, last_heap_in_use_bytes=160 * MIB), 100 * MIB)
    assert finding and finding.bytes == 36 * MIB  # 60 less 200 - 176


def test_says_what_to_do() -> None:
    finding = look(figures(60 * MIB), 60 * MIB)
    assert finding and "Go 1.21 ignores" in finding.summary
    assert "1.22" in finding.fixes[0].text and "62449" in finding.fixes[0].text


def test_neighbours_are_silent() -> None:
    """No limit; one that is far away; and nothing free."""
    assert look(figures(60 * MIB, memory_limit_bytes=NO_LIMIT_BYTES), 60 * MIB) is None
    assert look(figures(60 * MIB, memory_limit_bytes=1 << 40), 60 * MIB) is None
    assert look(figures(60 * MIB), 0) is None


@pytest.mark.parametrize("name", ["memory_limit_bytes", "mapped_ready_bytes", "HeapSys", "last_goal_bytes", "NextGC"])
def test_missing_figures(name: str) -> None:
    found = figures(60 * MIB)
    del found[name]
    with pytest.raises(Missing, match=name):
        look(found, 60 * MIB)


def test_contradiction() -> None:
    with pytest.raises(Missing, match="which contains it"):
        look(figures(60 * MIB, HeapInuse=500 * MIB), 60 * MIB)
