"""Every cause against every recording: each fires on its own and stays silent on the others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from whyrss.causes import CAUSES
from whyrss.finding import PROBLEM
from whyrss.lab.causes import EXPERIMENTS
from whyrss.sources import open_source
from whyrss.verdict import why

RECORDINGS = Path(__file__).parent.parent / "recordings"
NAMES = sorted(path.name for path in RECORDINGS.iterdir() if path.is_dir())
HEALTHY = "healthy"


@pytest.mark.parametrize("name", NAMES)
def test_matrix(name: str) -> None:
    verdict = why(open_source(str(RECORDINGS / name)))
    problems = {finding.cause for finding in verdict.diagnosis.findings if finding.weight == PROBLEM}
    assert problems == (set() if name == HEALTHY else {name})
    assert verdict.healthy == (name == HEALTHY)


@pytest.mark.parametrize("name", NAMES)
def test_each_cause_is_in_exactly_one_of_the_three(name: str) -> None:
    diagnosis = why(open_source(str(RECORDINGS / name))).diagnosis
    seen = [finding.cause for finding in diagnosis.findings] + diagnosis.silent
    seen += [cause for cause, _ in diagnosis.not_checked]
    assert sorted(seen) == sorted(cause.name for cause in CAUSES)


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


@pytest.mark.parametrize("cause", CAUSES, ids=lambda cause: cause.name)
def test_a_cause_is_a_triad(cause: object) -> None:
    """A recording and a lab program of the same name."""
    name = getattr(cause, "name", "")
    assert name in NAMES
    assert name in EXPERIMENTS


def test_headings() -> None:
    """The five headings, in their order, in every cause file."""
    headings = ("Why it is resident", "How it is measured", "When it is no problem", "Fix", "References")
    for cause in CAUSES:
        module = __import__(f"whyrss.causes.{cause.name}", fromlist=["CAUSE"])
        lines = (module.__doc__ or "").splitlines()
        assert [line for line in lines if line in headings] == list(headings)
