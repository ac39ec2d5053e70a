"""profiling-buckets at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, profiling_buckets
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding

PERSISTENT, TABLE, GUESSED = "runtime/persistent", "runtime/profiling buckets", "runtime/guessed"


def look(
    bucket_bytes: int, rss_bytes: int = 0, lines: dict[str, int] | None = None, go_minor: int = 27
) -> Finding | None:
    """What is said where all of it is resident, if the lines are not given."""
    given = {PERSISTENT: max(bucket_bytes, 0)} if lines is None else lines
    return profiling_buckets.look(
        snapshot_of({"BuckHashSys": bucket_bytes}, go_minor=go_minor), account_of(given, rss_bytes)
    )


@pytest.mark.parametrize(
    ("bucket_bytes", "rss_bytes", "mentioned"),
    [
        (16 * MIB, 0, True),
        (16 * MIB - 1, 0, False),
        (16 * MIB, 320 * MIB, True),
        (16 * MIB, 320 * MIB + 1, False),  # a twentieth of RSS
    ],
)
def test_mentioned_from(bucket_bytes: int, rss_bytes: int, mentioned: bool) -> None:
    finding = look(bucket_bytes, rss_bytes)
    assert (finding is not None) == mentioned


@pytest.mark.parametrize(
    ("bucket_bytes", "rss_bytes", "weight"),
    [
        (32 * MIB, 256 * MIB, PROBLEM),
        (32 * MIB - 1, 100 * MIB, NOTE),
        (32 * MIB, 256 * MIB + 8, NOTE),  # an eighth of RSS
    ],
)
def test_a_problem_from(bucket_bytes: int, rss_bytes: int, weight: str) -> None:
    finding = look(bucket_bytes, rss_bytes)
    assert finding and (finding.weight, finding.bytes, finding.line) == (weight, bucket_bytes, "runtime")
    assert finding.reclaimable_bytes == (bucket_bytes if weight == PROBLEM else 0)


@pytest.mark.parametrize(
    ("lines", "size_bytes"),
    [
        ({PERSISTENT: 30 * MIB, TABLE: MIB}, 31 * MIB),
        ({GUESSED: 30 * MIB, TABLE: MIB}, 31 * MIB),
        ({PERSISTENT: 90 * MIB}, 40 * MIB),
    ],
)
def test_not_more_than_is_resident_where_they_lie(lines: dict[str, int], size_bytes: int) -> None:
    finding = look(40 * MIB, lines=lines)
    assert finding and finding.bytes == size_bytes


@pytest.mark.parametrize(
    "lines",
    [
        {"runtime/heap bitmap": 60 * MIB, PERSISTENT: 2 * MIB},  # the books of a heap that was large
        {"runtime/spans": 60 * MIB},
        {"heap/live": 60 * MIB},
        {PERSISTENT: 15 * MIB, "image": 10 * MIB},
    ],
)
def test_a_figure_that_the_pages_do_not_bear_out(lines: dict[str, int]) -> None:
    """A counter that lies, or buckets in swap."""
    assert look(50 * MIB, lines=lines) is None


def test_books_of_a_large_heap_are_another_cause() -> None:
    """What is allocated for good is not of buckets by itself."""
    assert look(2 * MIB, lines={PERSISTENT: 40 * MIB, "runtime/heap bitmap": 40 * MIB}) is None


@pytest.mark.parametrize(
    ("go_minor", "variables"),
    [
        (22, ["GODEBUG=memprofilerate=0", ""]),
        (23, ["GODEBUG=profstackdepth=32", "GODEBUG=memprofilerate=0", ""]),
    ],
)
def test_fixes_by_release(go_minor: int, variables: list[str]) -> None:
    finding = look(40 * MIB, go_minor=go_minor)
    assert finding and [fix.variable for fix in finding.fixes] == variables
    assert all(fix.safety == "costs" and fix.cost for fix in finding.fixes)


def test_evidence() -> None:
    lines = {PERSISTENT: 40 * MIB, TABLE: MIB}
    finding = look(40 * MIB, lines=lines)
    assert finding and [found.value for found in finding.evidence] == [40 * MIB, 40 * MIB, MIB]
    assert '"BuckHashSys"' in finding.evidence[0].check and '"profiling buckets"' in finding.evidence[2].check


def test_missing_figures() -> None:
    lines = account_of({PERSISTENT: 40 * MIB})
    with pytest.raises(Missing, match="BuckHashSys"):
        profiling_buckets.look(snapshot_of({}), lines)
    with pytest.raises(Missing, match="no counters"):
        profiling_buckets.look(snapshot_of(Missing("no counters")), lines)


def test_contradiction() -> None:
    with pytest.raises(Missing, match="BuckHashSys is -1"):
        look(-1, lines={PERSISTENT: 40 * MIB})


@pytest.mark.parametrize(
    ("bucket_bytes", "runtime_bytes", "asked"),
    [(16 * MIB, 16 * MIB, True), (16 * MIB - 1, 90 * MIB, False), (90 * MIB, 16 * MIB - 1, False)],
)
def test_the_gate_is_what_is_mentioned(bucket_bytes: int, runtime_bytes: int, asked: bool) -> None:
    (entry,) = (each for each in CAUSES if each.name == "profiling-buckets")
    snapshot = snapshot_of({"BuckHashSys": bucket_bytes})
    assert entry.gate(snapshot, account_of({PERSISTENT: runtime_bytes})) == asked
    assert entry.gate(snapshot_of({}), account_of({PERSISTENT: 16 * MIB}))  # the cause says why it cannot be told
