"""gogc-headroom at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import gogc_headroom
from whyrss.environment import NO_LIMIT_BYTES
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding

OFF_BYTES = (1 << 64) - 1


def figures(alive_mib: int, garbage_bytes: int, percent: int = 400, **others: int) -> dict[str, int]:
    """Of Go 1.19 and later, right before the next collection."""
    alive_bytes = alive_mib * MIB
    return {
        "HeapAlloc": alive_bytes + garbage_bytes,
        "heap_marked_bytes": alive_bytes,
        "gc_percent": percent,
        "memory_limit_bytes": NO_LIMIT_BYTES,
        "NextGC": alive_bytes * (100 + percent) // 100 if percent >= 0 else OFF_BYTES >> 1,
        "NumGC": 9,
        "mapped_ready_bytes": alive_bytes + garbage_bytes + 6 * MIB,
        "HeapIdle": 3 * MIB,
        "HeapReleased": 2 * MIB,
        "Sys": 2 * (alive_bytes + garbage_bytes),
        **others,
    }


def look(found: dict[str, int], rss_bytes: int = 0, go_minor: int = 27) -> Finding | None:
    return gogc_headroom.look(
        snapshot_of(found, go_minor=go_minor), account_of({"heap/live": found["HeapAlloc"]}, rss_bytes)
    )


@pytest.mark.parametrize(
    ("garbage_bytes", "rss_bytes", "mentioned"),
    [
        (4 * MIB - 1, 0, False),
        (4 * MIB, 0, True),
        (4 * MIB, 80 * MIB, True),
        (4 * MIB, 80 * MIB + 20, False),  # a twentieth
    ],
)
def test_what_is_mentioned(garbage_bytes: int, rss_bytes: int, mentioned: bool) -> None:
    finding = look(figures(20, garbage_bytes, 100), rss_bytes)
    assert (finding is not None) == mentioned
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes, finding.weight) == (garbage_bytes, 0, NOTE)
        assert "by design" in finding.summary


@pytest.mark.parametrize(
    ("found", "rss_bytes", "weight"),
    [
        (figures(10, 64 * MIB), 0, PROBLEM),
        (figures(10, 64 * MIB - 1), 0, NOTE),
        # 30 % of RSS
        (figures(20, 90 * MIB), 300 * MIB, PROBLEM),
        (figures(20, 90 * MIB), 300 * MIB + 4, NOTE),
        # GOGC=100 would take off at least 32 MiB
        (figures(64, 96 * MIB), 0, PROBLEM),
        (figures(64, 96 * MIB - 1), 0, NOTE),
        # ... and a tenth of RSS
        (figures(260, 320 * MIB), 600 * MIB, PROBLEM),
        (figures(260, 320 * MIB), 600 * MIB + 10, NOTE),
        # what GOGC is
        (figures(64, 128 * MIB, 101), 0, PROBLEM),
        (figures(64, 128 * MIB, 100), 0, NOTE),
        (figures(64, 128 * MIB, 50), 0, NOTE),
        (figures(64, 128 * MIB, -1), 0, PROBLEM),
        # a limit bounds it, also far from it
        (figures(64, 128 * MIB, -1, memory_limit_bytes=1 << 40), 0, NOTE),
        (figures(64, 128 * MIB, 400, memory_limit_bytes=1 << 40), 0, NOTE),
        # what is garbage is not known yet
        (figures(0, 128 * MIB, -1, NumGC=0), 0, NOTE),
    ],
)
def test_what_is_a_problem(found: dict[str, int], rss_bytes: int, weight: str) -> None:
    finding = look(found, rss_bytes)
    assert finding and finding.weight == weight
    assert bool(finding.fixes) == (weight == PROBLEM)
    assert bool(finding.reclaimable_bytes) == (weight == PROBLEM)


def test_goal_of_gogc_100_has_stacks_and_globals() -> None:
    """128 MiB of garbage on 64 MiB: GOGC=100 would let it be 64, and 8 for what else is scanned."""
    finding = look(figures(64, 128 * MIB, stack_scan_bytes=5 * MIB, globals_scan_bytes=3 * MIB))
    assert finding and finding.reclaimable_bytes == 56 * MIB


def test_no_more_than_the_line() -> None:
    """A large object that nobody touched is in HeapAlloc, but not resident."""
    snapshot = snapshot_of(figures(10, 500 * MIB))
    finding = gogc_headroom.look(snapshot, account_of({"heap/live": 100 * MIB}))
    assert finding and finding.bytes == 100 * MIB
    assert finding.reclaimable_bytes == 100 * MIB


def test_fixes_with_numbers() -> None:
    """Alive 64 MiB and 5 MiB besides objects: (64 + 64) / 0.97 + 5 = 136.96 MiB."""
    finding = look(figures(64, 128 * MIB))
    assert finding
    assert [fix.variable for fix in finding.fixes] == ["GOGC=100", "GOMEMLIMIT=137MiB"]
    assert "33 % less RSS" in finding.fixes[0].text
    assert "5 times" in finding.summary and "OOM" in finding.summary


def test_go_without_a_memory_limit() -> None:
    """Up to Go 1.17 GOGC follows from the goal."""
    found = figures(64, 128 * MIB)
    for name in ("gc_percent", "memory_limit_bytes", "mapped_ready_bytes"):
        del found[name]
    finding = look({**found, "goal_bytes": 320 * MIB}, go_minor=15)
    assert finding and finding.weight == PROBLEM and "GOGC=400" in finding.summary
    assert [fix.variable for fix in finding.fixes] == ["GOGC=100"]


def test_off_is_said_without_a_goal() -> None:
    finding = look(figures(64, 128 * MIB, -1))
    assert finding and "with GOGC=off there is no next one" in finding.summary
    assert not [found for found in finding.evidence if "NextGC" in found.what]


def test_neighbours_are_silent() -> None:
    """A heap that is all alive, and one that has not even a line."""
    assert look(figures(200, 0)) is None
    assert gogc_headroom.look(snapshot_of(figures(0, 200 * MIB)), account_of({"heap/retained": 200 * MIB})) is None


@pytest.mark.parametrize("name", ["HeapAlloc", "heap_marked_bytes", "NumGC", "memory_limit_bytes"])
def test_missing_figures(name: str) -> None:
    found = figures(64, 128 * MIB)
    del found[name]
    with pytest.raises(Missing, match=name):
        gogc_headroom.look(snapshot_of(found), account_of({"heap/live": 192 * MIB}))


def test_contradiction() -> None:
    with pytest.raises(Missing, match="which contains it"):
        look(figures(64, 128 * MIB, HeapInuse=MIB))
