"""dead-goroutines at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from tests.causes.goroutine_builders import SYSTEM, by_hand, goroutines_of, site_of
from whyrss.causes import dead_goroutines
from whyrss.errors import Missing
from whyrss.facts.sizeclasses import SIZES
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.goheap.layout import layouts_for
from whyrss.goroutines import Goroutines
from whyrss.snapshot import Snapshot

G_BYTES = 512  # a power of two, so that bounds are whole numbers of them


def dead(count: int, working: int = 0, stack_bytes: int = 0) -> Goroutines:
    sites = [site_of("main.work", working, 2048, "select")] if working else []
    return goroutines_of(*sites, dead=count, g_bytes=G_BYTES, dead_stack_bytes=stack_bytes)


def snapshot(found: Goroutines) -> Snapshot:
    return snapshot_of({"goroutines_made": found.total}, found)


def look(count: int, rss_bytes: int = 0, working: int = 0, live_bytes: int = 0) -> Finding | None:
    lines = {"heap/live": live_bytes or count * G_BYTES + MIB}
    return dead_goroutines.look(snapshot(dead(count, working)), account_of(lines, rss_bytes))


@pytest.mark.parametrize(
    ("count", "rss_bytes", "mentioned"),
    [
        (8192, 0, True),
        (8191, 0, False),  # 4 MiB
        (16384, 160 * MIB, True),
        (16384, 160 * MIB + 1, False),  # a twentieth of RSS
    ],
)
def test_mentioned_from(count: int, rss_bytes: int, mentioned: bool) -> None:
    assert (look(count, rss_bytes) is not None) == mentioned


@pytest.mark.parametrize(
    ("count", "rss_bytes", "weight"),
    [
        (65536, 128 * MIB, PROBLEM),
        (65535, 100 * MIB, NOTE),  # 32 MiB
        (65536, 128 * MIB + 4, NOTE),  # a quarter of RSS
    ],
)
def test_a_problem_from(count: int, rss_bytes: int, weight: str) -> None:
    finding = look(count, rss_bytes)
    assert finding and (finding.weight, finding.bytes) == (weight, count * G_BYTES)
    assert finding.reclaimable_bytes == (finding.bytes if weight == PROBLEM else 0)
    assert f"structures of {count} goroutines" in finding.summary


@pytest.mark.parametrize(("working", "mentioned"), [(8192 - SYSTEM, True), (8193 - SYSTEM, False)])
def test_ten_for_each_that_lives(working: int, mentioned: bool) -> None:
    assert (look(81920, working=working) is not None) == mentioned


def test_those_that_live_do_not_count() -> None:
    """A leak, or a busy server: the structures are in use."""
    assert dead_goroutines.look(snapshot(dead(0, 100_000)), account_of({"heap/live": 60 * MIB})) is None


def test_not_more_than_the_line() -> None:
    finding = look(65536, live_bytes=10 * MIB)
    assert finding and (finding.bytes, finding.line) == (10 * MIB, "heap/live")


@pytest.mark.parametrize(("made", "rss_bytes"), [(8191, 0), (10_000, 120 * MIB)])
def test_goroutines_are_not_read_where_so_many_were_never_made(made: int, rss_bytes: int) -> None:
    without = snapshot_of({"goroutines_made": made})
    assert dead_goroutines.look(without, account_of({"heap/live": 110 * MIB}, rss_bytes)) is None


def test_nor_where_the_line_is_small() -> None:
    assert dead_goroutines.look(snapshot(dead(65536)), account_of({"heap/live": 4 * MIB - 1})) is None


@pytest.mark.parametrize(
    ("minor", "architecture"), [*((minor, "amd64") for minor in range(12, 28)), (15, "arm64"), (27, "arm64")]
)
def test_the_structure_of_every_known_release_lies_in_such_a_slot(minor: int, architecture: str) -> None:
    """By the layouts, which are made from the runtime's own source."""
    for layout in layouts_for(f"go1.{minor}.1", architecture):
        size_bytes = layout.size("g")
        assert min(size for size in SIZES if size >= size_bytes) <= dead_goroutines.SLOT_BYTES


def test_evidence_can_be_checked_by_hand() -> None:
    found = dead(65536, working=3, stack_bytes=300 << 10)
    seen, lines = snapshot(found), account_of({"heap/live": 40 * MIB})
    finding = dead_goroutines.look(seen, lines)
    assert finding
    values = [each.value for each in finding.evidence]
    assert values == [65536, 3 + SYSTEM, G_BYTES, 40 * MIB, 300 << 10]
    assert [by_hand(each, seen, lines) for each in finding.evidence] == [str(value) for value in values]


def test_fixes() -> None:
    finding = look(65536)
    assert finding and [fix.kind for fix in finding.fixes] == ["code", "code"]
    assert "semaphore" in finding.fixes[0].text and "restart" in finding.fixes[1].text


def test_missing_sections() -> None:
    lines, made = account_of({"heap/live": 40 * MIB}), {"goroutines_made": 65536}
    with pytest.raises(Missing, match="goroutines_made"):
        dead_goroutines.look(snapshot_of({}, dead(65536)), lines)
    with pytest.raises(Missing, match="Goroutines"):
        dead_goroutines.look(snapshot_of(made), lines)
    gone = snapshot_of(made, missing={"Goroutines": Missing("the recording has no goroutines")})
    with pytest.raises(Missing, match="the recording has no goroutines"):
        dead_goroutines.look(gone, lines)
