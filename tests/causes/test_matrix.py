"""Every cause against every recording: each fires on its own and stays silent on the others."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from whyrss.causes import CAUSES, fragmentation, lazyfree
from whyrss.finding import PROBLEM, Entry
from whyrss.gates import always
from whyrss.lab.causes import EXPERIMENTS
from whyrss.lab.matrix import DOCUMENTED, HEALTHY_PROGRAMS, MEASURED, run_recording, shown_by
from whyrss.sources import open_source
from whyrss.sources.recording import MANIFEST
from whyrss.verdict import why

RECORDINGS = Path(__file__).parent.parent / "recordings"
NAMES = sorted(path.name for path in RECORDINGS.iterdir() if path.is_dir())
CATALOGUE = [cause.name for cause in CAUSES]
HEADINGS = ["Why it is resident", "How it is measured", "When it is no problem", "Fix", "References"]
HEALTHY = "healthy"


def weights(name: str) -> dict[str, str]:
    """By cause, the first finding first."""
    return {found.cause: found.weight for found in why(open_source(str(RECORDINGS / name))).diagnosis.findings}


@pytest.mark.parametrize("name", NAMES)
def test_matrix(name: str) -> None:
    """A problem comes first, and none is there beside it but what is true of the program too; where the cause is only
    to be noted, and in a healthy program, nothing is a problem."""
    found, shown = weights(name), shown_by(name, CATALOGUE)
    problems = [cause for cause, weight in found.items() if weight == PROBLEM]
    if shown == HEALTHY:
        assert problems == []
    elif EXPERIMENTS[shown].weight == PROBLEM:
        assert problems[:1] == [EXPERIMENTS[shown].behind or shown]
        assert set(problems) <= {shown, *EXPERIMENTS[shown].beside}
    else:
        assert problems == []
        assert shown in found
    assert run_recording(str(RECORDINGS / name)).right


@pytest.mark.parametrize("name", NAMES)
def test_each_cause_is_in_exactly_one_of_the_three(name: str) -> None:
    diagnosis = why(open_source(str(RECORDINGS / name))).diagnosis
    seen = [finding.cause for finding in diagnosis.findings] + diagnosis.silent
    seen += [cause for cause, _ in diagnosis.not_checked]
    assert sorted(seen) == sorted(CATALOGUE)


@pytest.mark.parametrize("name", NAMES)
def test_no_finding_claims_more_than_its_line(name: str) -> None:
    verdict = why(open_source(str(RECORDINGS / name)))
    for finding in verdict.diagnosis.findings:
        assert 0 <= finding.reclaimable_bytes <= finding.bytes
        assert finding.bytes <= verdict.account.root.bytes_of(finding.line)


@pytest.mark.parametrize("name", NAMES)
def test_evidence_can_be_checked_by_hand(name: str) -> None:
    verdict = why(open_source(str(RECORDINGS / name)))
    for finding in verdict.diagnosis.findings:
        assert finding.evidence
        for evidence in finding.evidence:
            shown = subprocess.run(["sh", "-c", evidence.check], capture_output=True, text=True, check=True).stdout
            assert shown.strip() == str(evidence.value)  # a recording does not move: no tolerance


@pytest.mark.parametrize(
    ("module", "limit", "value", "name", "wrong"),
    [
        # too eager: what a healthy heap has is a problem
        (fragmentation, "PROBLEM_BYTES", 1 << 20, "healthy-churn", "false alarm: fragmentation"),
        # too shy: its own program is not enough
        (fragmentation, "PROBLEM_BYTES", 1 << 40, "fragmentation", "fragmentation is note, not problem"),
        (lazyfree, "PROBLEM_BYTES", 1 << 40, "lazyfree", "lazyfree is note, not problem"),
        (fragmentation, "MENTION_BYTES", 1 << 40, "fragmentation", "fragmentation is silent, not problem"),
    ],
)
def test_a_wrong_threshold_is_noticed(
    module: object, limit: str, value: int, name: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, limit, value)
    monkeypatch.setattr(fragmentation, "PROBLEM_SHARE", 1000)
    monkeypatch.setattr(fragmentation, "MENTION_SHARE", 1000)
    (entry,) = [entry for entry in CAUSES if entry.name == "fragmentation"]
    monkeypatch.setattr(entry, "gate", always)
    row = run_recording(str(RECORDINGS / name))
    assert row.right is False
    assert wrong in row.wrong


@pytest.mark.parametrize("cause", CATALOGUE)
def test_a_cause_is_a_triad(cause: str) -> None:
    """A recording and a lab program of the same name."""
    assert cause in NAMES
    assert cause in EXPERIMENTS
    assert Path(EXPERIMENTS[cause].go_source).exists()


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_measured_says_so(name: str) -> None:
    """And by which sources it was changed; it is counted apart."""
    manifest = json.loads((RECORDINGS / name / MANIFEST).read_text())
    documented = manifest["origin"] == DOCUMENTED
    assert run_recording(str(RECORDINGS / name)).origin == (DOCUMENTED if documented else MEASURED)
    assert bool(manifest.get("changed")) == documented
    assert all(": " in each or "(" in each for each in manifest.get("changed", ()))


def test_what_cannot_be_produced_here_is_documented() -> None:
    for name in (name for name, experiment in EXPERIMENTS.items() if experiment.why_not):
        assert json.loads((RECORDINGS / name / MANIFEST).read_text())["origin"] == DOCUMENTED


@pytest.mark.parametrize("name", NAMES)
def test_a_recording_is_small(name: str) -> None:
    assert sum(path.stat().st_size for path in (RECORDINGS / name).rglob("*") if path.is_file()) <= 100_000


def test_there_is_no_experiment_without_a_cause() -> None:
    assert set(EXPERIMENTS) <= set(CATALOGUE)
    assert {name for experiment in EXPERIMENTS.values() for name in experiment.beside} <= set(CATALOGUE)


@pytest.mark.parametrize("name", HEALTHY_PROGRAMS)
def test_a_healthy_program_is_recorded(name: str) -> None:
    assert name in NAMES


@pytest.mark.parametrize("entry", CAUSES, ids=lambda entry: entry.name)
def test_headings(entry: Entry) -> None:
    """The five headings, in their order, in every cause file; and how to check it by hand."""
    cause = entry.load()
    text = __import__(cause.look.__module__, fromlist=["CAUSE"]).__doc__ or ""
    assert cause.name == entry.name
    assert [line for line in text.splitlines() if line in HEADINGS] == HEADINGS
    assert "\n    By hand: " in text
