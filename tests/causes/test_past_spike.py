"""past-spike at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, past_spike
from whyrss.errors import Missing
from whyrss.finding import NOTE, Finding
from whyrss.snapshot import Status

GATE = next(entry.gate for entry in CAUSES if entry.name == "past-spike")


def status(peak_bytes: int) -> Status:
    return Status({"VmHWM": f"{peak_bytes >> 10} kB"}, {})


def look(peak_bytes: int, rss_bytes: int, released_bytes: int) -> Finding | None:
    found = {"HeapReleased": released_bytes, "HeapSys": released_bytes + MIB}
    return past_spike.look(snapshot_of(found, status(peak_bytes)), account_of({}, rss_bytes))


@pytest.mark.parametrize(
    ("peak_bytes", "rss_bytes", "released_bytes", "found"),
    [
        (138 * MIB, 8 * MIB, 130 * MIB, True),
        (40 * MIB, 8 * MIB, 32 * MIB, True),
        (40 * MIB - 1024, 8 * MIB, 32 * MIB, False),
        # half of the peak is there yet
        (160 * MIB, 80 * MIB, 80 * MIB, True),
        (160 * MIB, 81 * MIB, 79 * MIB, False),
        # the peak was not the heap's
        (138 * MIB, 8 * MIB, 65 * MIB, True),
        (138 * MIB, 8 * MIB, 65 * MIB - 1, False),
        # proc(5): the figure may be a little below RSS
        (8 * MIB, 9 * MIB, 130 * MIB, False),
    ],
)
def test_thresholds(peak_bytes: int, rss_bytes: int, released_bytes: int, found: bool) -> None:
    finding = look(peak_bytes, rss_bytes, released_bytes)
    assert (finding is not None) == found
    if finding:
        assert (finding.weight, finding.bytes, finding.reclaimable_bytes) == (NOTE, 0, 0)
        assert finding.evidence[0].value == peak_bytes


def test_gate() -> None:
    """Half of the smallest peak."""
    account = account_of({}, 8 * MIB)
    assert GATE(snapshot_of({"HeapReleased": past_spike.MENTION_BYTES}), account)
    assert not GATE(snapshot_of({"HeapReleased": past_spike.MENTION_BYTES - 1}), account)
    assert look(40 * MIB, 8 * MIB, past_spike.MENTION_BYTES)


@pytest.mark.parametrize("fields", [{}, {"VmHWM": "many kB"}, {"VmHWM": "12"}])
def test_missing_peak(fields: dict[str, str]) -> None:
    found = snapshot_of({"HeapReleased": 130 * MIB}, Status(fields, {}))
    with pytest.raises(Missing, match="VmHWM"):
        past_spike.look(found, account_of({}, 8 * MIB))


def test_missing_figures() -> None:
    with pytest.raises(Missing, match="HeapReleased"):
        past_spike.look(snapshot_of({}, status(138 * MIB)), account_of({}, 8 * MIB))
    with pytest.raises(Missing, match="Status"):
        past_spike.look(snapshot_of({"HeapReleased": 130 * MIB}), account_of({}, 8 * MIB))


def test_contradiction() -> None:
    found = {"HeapReleased": 130 * MIB, "HeapIdle": 2 * MIB}
    with pytest.raises(Missing, match="which contains it"):
        past_spike.look(snapshot_of(found, status(138 * MIB)), account_of({}, 8 * MIB))
