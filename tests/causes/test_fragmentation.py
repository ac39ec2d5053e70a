"""fragmentation at its thresholds."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import fragmentation
from whyrss.finding import NOTE, PROBLEM, Finding


def look(slack_bytes: int, live_bytes: int = 0, rss_bytes: int = 0) -> Finding | None:
    lines = {"heap/slack": slack_bytes, "heap/live": live_bytes}
    return fragmentation.look(snapshot_of({}), account_of(lines, rss_bytes))


@pytest.mark.parametrize(
    ("slack_bytes", "rss_bytes", "mentioned"),
    [
        (4 * MIB, 40 * MIB, True),
        (4 * MIB - 1, 0, False),
        (4 * MIB, 40 * MIB + 1, False),  # a tenth of RSS
        (5 * MIB, 88 * MIB, False),  # structures of goroutines that do not fill their spans
    ],
)
def test_mentioned_from(slack_bytes: int, rss_bytes: int, mentioned: bool) -> None:
    assert (look(slack_bytes, rss_bytes=rss_bytes) is not None) == mentioned


@pytest.mark.parametrize(
    ("slack_bytes", "live_bytes", "weight"),
    [(32 * MIB, 96 * MIB, PROBLEM), (32 * MIB - 1, 0, NOTE), (32 * MIB, 96 * MIB + 4, NOTE)],
)
def test_a_problem_from(slack_bytes: int, live_bytes: int, weight: str) -> None:
    finding = look(slack_bytes, live_bytes)
    assert finding and finding.weight == weight
    assert finding.reclaimable_bytes == (slack_bytes if weight == PROBLEM else 0)
