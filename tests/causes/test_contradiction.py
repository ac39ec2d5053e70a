"""A process whose figures cannot be true together: that is shown, and no cause that rests on them is judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli import whyrss
from whyrss.sources import open_source
from whyrss.verdict import Verdict, why

RECORDINGS = Path(__file__).parent.parent / "recordings"
# The cause, and a counter of another moment: of a heap ten times as large.
LIES = [
    ("live-heap", "HeapAlloc", 10),
    ("gogc-headroom", "HeapAlloc", 10),
    ("no-gomemlimit", "HeapAlloc", 10),
]


def lie(recording: Path, to: Path, figure: str, factor: int) -> Path:
    """A copy in which that figure is so many times as large, and one more."""
    shutil.copytree(recording, to / recording.name)
    (heap,) = (to / recording.name).glob("proc/*/heap")
    line, _, columns = heap.read_bytes().partition(b"\n")
    document = json.loads(line)
    document["memstats"][figure] = (document["memstats"][figure] + 1) * factor
    heap.write_bytes(json.dumps(document).encode() + b"\n" + columns)
    return to / recording.name


def verdict_of(path: Path) -> Verdict:
    return why(open_source(str(path)))


@pytest.mark.parametrize(("cause", "figure", "factor"), LIES)
def test_a_cause_that_rests_on_a_contradiction_is_not_checked(
    cause: str, figure: str, factor: int, tmp_path: Path
) -> None:
    true = verdict_of(RECORDINGS / cause)
    assert cause in {finding.cause for finding in true.diagnosis.findings}
    false = verdict_of(lie(RECORDINGS / cause, tmp_path, figure, factor))
    assert cause not in {finding.cause for finding in false.diagnosis.findings}
    assert figure in dict(false.diagnosis.not_checked)[cause]


def test_it_is_shown_and_healthy_is_said_with_a_condition(tmp_path: Path) -> None:
    assert verdict_of(RECORDINGS / "healthy-idle").healthy
    path = lie(RECORDINGS / "healthy-idle", tmp_path, "HeapAlloc", 10)
    verdict = verdict_of(path)
    assert not verdict.healthy
    code, out, err = whyrss(str(path))
    assert (code, err) == (0, "")
    assert "This cannot be true: HeapAlloc is" in out
    assert out.startswith("Healthy, as far as could be checked (")


def test_causes_that_rest_on_other_figures_are_judged(tmp_path: Path) -> None:
    path = lie(RECORDINGS / "lazyfree", tmp_path, "HeapAlloc", 10)
    assert verdict_of(path).diagnosis.findings[0].cause == "lazyfree"


def test_the_account_is_the_kernels_whatever_the_counters_say(tmp_path: Path) -> None:
    true = verdict_of(RECORDINGS / "healthy-idle").account
    false = verdict_of(lie(RECORDINGS / "healthy-idle", tmp_path, "HeapInuse", 10)).account
    assert (false.rss_bytes, false.root.bytes_of("heap/live")) == (true.rss_bytes, true.root.bytes_of("heap/live"))


def test_a_figure_that_is_no_number_of_64_bits_is_damage(tmp_path: Path) -> None:
    path = lie(RECORDINGS / "healthy-idle", tmp_path, "HeapAlloc", 1 << 64)
    code, out, err = whyrss(str(path))
    assert (code, err) == (0, "")
    assert "damaged" in out
