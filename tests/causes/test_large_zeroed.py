"""large-zeroed at its thresholds, by release, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, large_zeroed
from whyrss.errors import Missing
from whyrss.facts.largeobjects import ROWS
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.shape import LargeObject, Shape, Zeros
from whyrss.snapshot import Build, Snapshot

GATE = next(entry.gate for entry in CAUSES if entry.name == "large-zeroed")


def build(go_version: str | None) -> Build:
    made = Build("amd64", False)
    made.is_go = True
    made.go_version = go_version
    return made


def shape(resident_bytes: int, noscan_bytes: int = 0) -> Shape:
    """One object with pointers, and one without."""
    at = 0xC000400000
    large = [LargeObject(at, 1 << 40, False, resident_bytes), LargeObject(1 << 41, 1 << 40, True, noscan_bytes)]
    return Shape([], {}, large)


def snapshot(
    zero_bytes: int, looked_bytes: int, go_version: str | None = "go1.24.4", *, target: str = "7", others: int = 0
) -> Snapshot:
    """All that is resident was looked at."""
    return snapshot_of(
        {},
        build(go_version),
        shape(looked_bytes, others),
        Zeros(looked_bytes, zero_bytes),
        go_minor=24,
        target=target,
    )


def look(zero_bytes: int, *, rss_bytes: int = 0, go_version: str = "go1.24.4") -> Finding | None:
    account = account_of({"heap/live": max(zero_bytes, 64 * MIB)}, rss_bytes)
    return large_zeroed.look(snapshot(zero_bytes, zero_bytes + MIB, go_version), account)


@pytest.mark.parametrize(
    ("zero_bytes", "rss_bytes", "weight"),
    [
        (4 * MIB - 1, 64 * MIB, None),
        (4 * MIB, 80 * MIB, NOTE),
        (4 * MIB, 80 * MIB + 1, None),
        (32 * MIB - 1, 64 * MIB, NOTE),
        (32 * MIB, 128 * MIB, PROBLEM),
        (32 * MIB, 128 * MIB + 1, NOTE),
    ],
)
def test_thresholds(zero_bytes: int, rss_bytes: int, weight: str | None) -> None:
    finding = look(zero_bytes, rss_bytes=rss_bytes)
    assert (finding.weight if finding else None) == weight
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes, finding.line) == (zero_bytes, zero_bytes, "heap/live")
        assert finding.confidence == "likely"
        assert "OOM" in finding.summary and "go1.24.4" in finding.summary


@pytest.mark.parametrize(
    ("go_version", "clears"),
    [
        # golang/go 72991 was found in 1.24.0; its correction is in 1.24.6 and 1.25.0, not in 1.24.5
        ("go1.23.12", False),
        ("go1.24", True),
        ("go1.24.0", True),
        ("go1.24rc1", True),
        ("go1.24.3 X:nocoverageredesign", True),
        ("go1.24.5", True),
        ("go1.24.6", False),
        ("go1.24.11", False),
        ("go1.25.0", False),
        ("go1.27.3", False),
    ],
)
def test_by_release(go_version: str, clears: bool) -> None:
    assert (look(64 * MIB, go_version=go_version) is not None) == clears


def test_other_releases_are_not_even_imported_for() -> None:
    account = account_of({"heap/live": 64 * MIB})
    assert GATE(snapshot(0, MIB), account)
    assert not GATE(snapshot(0, MIB, "go1.27.3"), account)
    assert not GATE(snapshot(0, MIB), account_of({"heap/live": 4 * MIB - 1}))


def test_the_table_has_no_gap() -> None:
    assert ROWS[0][0] == (9, 0) and ROWS[-1][1] == (28, 0)
    assert [row[1] for row in ROWS[:-1]] == [row[0] for row in ROWS[1:]]
    assert all(source for *_, source in ROWS)


def test_of_a_sample_the_rest_is_inferred() -> None:
    """A quarter of what was looked at is zero, so is a quarter of all."""
    found = snapshot_of({}, build("go1.24.3"), shape(1024 * MIB, 4096 * MIB), Zeros(256 * MIB, 64 * MIB))
    finding = large_zeroed.look(found, account_of({"heap/live": 8192 * MIB}))
    assert finding is None
    finding = large_zeroed.look(found, account_of({"heap/live": 1024 * MIB}))
    assert finding and (finding.bytes, finding.weight) == (256 * MIB, PROBLEM)
    assert [each.value for each in finding.evidence[1:3]] == [64 * MIB, 256 * MIB]


def test_no_more_than_the_line() -> None:
    finding = large_zeroed.look(snapshot(64 * MIB, 64 * MIB), account_of({"heap/live": 40 * MIB}))
    assert finding and finding.bytes == 40 * MIB


def test_large_objects_that_are_filled_are_honest() -> None:
    account = account_of({"heap/live": 500 * MIB})
    assert large_zeroed.look(snapshot(MIB, 500 * MIB), account) is None
    assert large_zeroed.look(snapshot(0, 0, others=500 * MIB), account) is None


def test_checks_of_a_live_process_and_of_a_recording() -> None:
    account = account_of({"heap/live": 64 * MIB})
    live = large_zeroed.look(snapshot(64 * MIB, 64 * MIB), account)
    kept = large_zeroed.look(snapshot(64 * MIB, 64 * MIB, target="some/recording"), account)
    assert live and "whyrss --json 7" in live.evidence[1].check
    assert kept and "/heap | head -n 1" in kept.evidence[1].check


@pytest.mark.parametrize("name", ["Zeros", "Shape"])
def test_missing_sections(name: str) -> None:
    sections = {"Zeros": Zeros(MIB, MIB), "Shape": shape(MIB)}
    del sections[name]
    found = snapshot_of({}, build("go1.24.4"), *sections.values(), missing={name: Missing(f"no {name} here")})
    with pytest.raises(Missing, match=f"no {name} here"):
        large_zeroed.look(found, account_of({"heap/live": 64 * MIB}))


@pytest.mark.parametrize("go_version", [None, "devel go1.25-0f3cb58", "go1.99.1"])
def test_a_release_without_a_table(go_version: str | None) -> None:
    with pytest.raises(Missing):
        large_zeroed.look(snapshot(MIB, MIB, go_version), account_of({"heap/live": 64 * MIB}))
