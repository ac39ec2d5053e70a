"""large-pages at its thresholds, by the kernel's page, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, large_pages
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.shape import Hole, Shape
from whyrss.snapshot import Host

FIGURES = {"HeapIdle": 900 * MIB, "HeapReleased": 100 * MIB, "HeapInuse": 100 * MIB, "HeapSys": 1000 * MIB}
GATE = next(entry.gate for entry in CAUSES if entry.name == "large-pages")
KIB = 1024


def hole(runs: int, free_bytes: int, idle_bytes: int) -> Hole:
    made = Hole()
    made.runs, made.free_bytes, made.idle_bytes = runs, free_bytes, idle_bytes
    return made


def host(page_kib: int) -> Host:
    return Host("6.8.0", page_kib * KIB, "madvise", 0)


def look(
    holes: dict[int, Hole], *, rss_bytes: int = 0, page_kib: int = 64, retained_bytes: int = 0
) -> Finding | None:
    idle_bytes = sum(each.idle_bytes for each in holes.values())
    account = account_of({"heap/retained": retained_bytes or idle_bytes}, rss_bytes)
    return large_pages.look(snapshot_of(FIGURES, Shape([], holes, []), host(page_kib)), account)


def short(size_bytes: int) -> dict[int, Hole]:
    """Runs of seven pages of Go."""
    return {2: hole(size_bytes // (56 * KIB), size_bytes, size_bytes)}


@pytest.mark.parametrize(
    ("size_bytes", "rss_bytes", "weight"),
    [
        (4 * MIB - 1, 10 * MIB, None),
        (4 * MIB, 80 * MIB, NOTE),
        (4 * MIB, 80 * MIB + 1, None),
        (32 * MIB - 1, 64 * MIB, NOTE),
        (32 * MIB, 128 * MIB, PROBLEM),
        (32 * MIB, 128 * MIB + 1, NOTE),
    ],
)
def test_thresholds(size_bytes: int, rss_bytes: int, weight: str | None) -> None:
    finding = look(short(size_bytes), rss_bytes=rss_bytes)
    assert (finding.weight if finding else None) == weight
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes, finding.line) == (size_bytes, size_bytes, "heap/retained")
        assert (finding.confidence, finding.fixes[0].kind) == ("certain", "kernel")
        assert "64 KiB" in finding.summary


@pytest.mark.parametrize(
    ("page_kib", "exponent", "counted"),
    [
        # runs of one page of Go; of two to three; of four to seven; of eight to fifteen
        (4, 0, False),
        (8, 0, False),
        (16, 0, True),
        (16, 1, False),
        (64, 0, True),
        (64, 1, True),
        (64, 2, True),
        (64, 3, False),
    ],
)
def test_what_is_shorter_than_a_page_of_the_kernels(page_kib: int, exponent: int, counted: bool) -> None:
    """One run that is huge, so that its ends do not count."""
    assert (look({exponent: hole(1, 64 * MIB, 64 * MIB)}, page_kib=page_kib) is not None) == counted


def test_the_ends_of_longer_runs() -> None:
    """1024 runs of 128 KiB, of which 8 to 15 pages of Go lie in no whole page of 64 KiB, and were not released."""
    finding = look({4: hole(1024, 128 * MIB, 60 * MIB)})
    assert finding and (finding.bytes, finding.confidence) == (56 * MIB, "likely")
    finding = look({4: hole(1024, 128 * MIB, 40 * MIB)})
    assert finding and finding.bytes == 40 * MIB
    mixed = look({2: hole(1000, 50 * MIB, 50 * MIB), 4: hole(512, 64 * MIB, 30 * MIB)})
    assert mixed and (mixed.bytes, mixed.confidence) == (78 * MIB, "certain")


def test_no_more_than_the_line() -> None:
    finding = look(short(64 * MIB), retained_bytes=40 * MIB)
    assert finding and finding.bytes == 40 * MIB


def test_long_runs_that_wait_for_the_scavenger() -> None:
    assert look({12: hole(10, 320 * MIB, 320 * MIB)}) is None


def test_what_was_released_is_not_kept() -> None:
    assert look({2: hole(10000, 546 * MIB, 0)}, retained_bytes=500 * MIB) is None


def test_small_pages_are_not_even_imported_for() -> None:
    account = account_of({"heap/retained": 64 * MIB})
    assert not GATE(snapshot_of(FIGURES, host(4)), account)
    assert not GATE(snapshot_of(FIGURES, host(8)), account)
    assert GATE(snapshot_of(FIGURES, host(16)), account)
    assert GATE(snapshot_of(FIGURES, host(64)), account)
    assert not GATE(snapshot_of(FIGURES, host(64)), account_of({"heap/retained": 4 * MIB - 1}))


def test_missing_sections() -> None:
    account = account_of({"heap/retained": 64 * MIB})
    with pytest.raises(Missing, match="Shape"):
        large_pages.look(snapshot_of(FIGURES, host(64)), account)
    with pytest.raises(Missing, match="Host"):
        large_pages.look(snapshot_of(FIGURES, Shape([], short(64 * MIB), [])), account)


def test_figures_that_contradict_each_other_are_no_evidence() -> None:
    lying = {**FIGURES, "HeapReleased": 2000 * MIB}
    found = snapshot_of(lying, Shape([], short(64 * MIB), []), host(64))
    finding = large_pages.look(found, account_of({"heap/retained": 64 * MIB}))
    assert finding and "HeapReleased" not in [each.what for each in finding.evidence]
