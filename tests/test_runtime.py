"""Figures of the runtime that cannot be true together are found out, and nothing is concluded from them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrss.errors import Missing
from whyrss.runtime import AT_MOST, EXACT, SUMS, Runtime

MIB = 1 << 20
# As a program of 100 MiB has them (HeapSys = HeapInuse + HeapIdle).
TRUE = {
    "HeapAlloc": 80 * MIB,
    "HeapInuse": 90 * MIB,
    "HeapIdle": 38 * MIB,
    "HeapReleased": 30 * MIB,
    "HeapSys": 128 * MIB,
    "StackInuse": MIB,
    "StackSys": MIB,
    "Sys": 140 * MIB,
    "NumGC": 7,
    "NumForcedGC": 1,
    "gc_percent": -1,
    "goal_bytes": (1 << 64) - 1,
}


def contradicted(**figures: float) -> set[str]:
    return {name for names, _ in Runtime({**TRUE, **figures}, "memory").contradictions for name in names}


def test_figures_that_agree() -> None:
    assert contradicted() == set()
    assert Runtime(TRUE, "memory")["HeapAlloc"] == 80 * MIB


@pytest.mark.parametrize(
    ("figures", "named"),
    [
        ({"HeapAlloc": 100 * MIB}, {"HeapAlloc", "HeapInuse"}),
        ({"HeapReleased": 60 * MIB}, {"HeapReleased", "HeapIdle"}),
        ({"HeapSys": 256 * MIB, "Sys": 300 * MIB}, {"HeapSys", "HeapInuse", "HeapIdle"}),
        ({"Sys": 100 * MIB}, {"HeapSys", "Sys"}),
        ({"NumForcedGC": 8}, {"NumForcedGC", "NumGC"}),
        ({"HeapAlloc": -1}, {"HeapAlloc"}),
        ({"HeapAlloc": float("nan")}, {"HeapAlloc"}),
        ({"HeapAlloc": float("inf")}, {"HeapAlloc"}),
        ({"HeapAlloc": 10**400}, {"HeapAlloc"}),
        ({"gc_percent": -(10**400)}, {"gc_percent"}),
    ],
)
def test_figures_that_cannot_be_true_together(figures: dict[str, float], named: set[str]) -> None:
    assert contradicted(**figures) == named


def test_a_contradiction_takes_its_figures_and_no_others() -> None:
    runtime = Runtime({**TRUE, "HeapAlloc": 100 * MIB}, "memory")
    for name in ("HeapAlloc", "HeapInuse"):
        with pytest.raises(Missing, match="HeapAlloc is 104857600 and HeapInuse, which contains it, 94371840"):
            runtime[name]
        assert runtime.get(name) is None
    assert runtime["HeapIdle"] == 38 * MIB


@pytest.mark.parametrize("more_bytes", [0, 1, 4 * MIB, 9 * MIB // 2])
def test_counters_that_are_read_one_after_the_other_may_differ_a_little(more_bytes: int) -> None:
    """A twentieth of 94 MiB is 4.7 MiB."""
    assert contradicted(HeapAlloc=90 * MIB + more_bytes) == set()


@pytest.mark.parametrize(("walked_bytes", "named"), [(91 * MIB, set()), (120 * MIB, {"HeapInuse"}), (10**400, set())])
def test_a_walk_of_the_heap_and_the_counter(walked_bytes: int, named: set[str]) -> None:
    runtime = Runtime(TRUE, "memory", walked={"HeapInuse": walked_bytes})
    assert {name for names, _ in runtime.contradictions for name in names} == named


@given(st.datetimes(datetime(1970, 1, 1), datetime(2099, 12, 31)), st.integers(0, 1 << 40))
def test_seconds_since_the_last_collection(moment: datetime, before_ns: int) -> None:
    """`date` here is Python's."""
    seconds = int(moment.replace(tzinfo=UTC).timestamp())
    runtime = Runtime({"LastGC": max(0, seconds * 10**9 - before_ns)}, "memory")
    found = runtime.seconds_since_collection(moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert found == pytest.approx(min(before_ns / 1e9, seconds), abs=1e-5)


@pytest.mark.parametrize("text", ["", "now", "2026-01-01", "2026-01-01T", "2026-13-01T00:00:00Z"])
def test_a_moment_that_is_none(text: str) -> None:
    with pytest.raises(Missing, match="time of the snapshot"):
        Runtime({"LastGC": 1}, "memory").seconds_since_collection(text)


def test_no_collection_is_known() -> None:
    with pytest.raises(Missing, match="LastGC"):
        Runtime({}, "memory").seconds_since_collection("2026-01-01T00:00:00Z")


NAMES = sorted({name for rule in (*AT_MOST, *EXACT, *SUMS) for name in rule} | {"gc_percent"})
NUMBERS = st.one_of(st.integers(), st.floats(), st.integers(0, 1 << 40))


@given(st.dictionaries(st.sampled_from(NAMES), NUMBERS), st.dictionaries(st.sampled_from(NAMES), NUMBERS))
def test_whatever_the_figures_are(figures: dict[str, float], walked: dict[str, float]) -> None:
    """Each is a number of 64 bits, or is Missing; and the reason is a line."""
    runtime = Runtime(figures, "memory", walked=walked)
    for name in NAMES:
        try:
            assert -(1 << 63) <= runtime[name] < 1 << 64
        except Missing as missing:
            assert 0 < len(missing.reason) < 300
