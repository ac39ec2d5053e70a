"""Experiments that not every machine can do: that is said in words, and counted as neither right nor wrong."""

from __future__ import annotations

import pytest

from tests.cli import whyrss
from whyrss.lab.causes import CI_VERSIONS, EXPERIMENTS, Experiment
from whyrss.lab.matrix import plan, run_live


@pytest.fixture
def hard(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    made = Experiment("hard", "something rare", versions=("1.21.3", "1.27"), why_not="it takes another machine")
    monkeypatch.setitem(EXPERIMENTS, "hard", made)
    return made


def test_the_matrix_has_one_row_of_it_and_runs_nothing(hard: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whyrss.lab.matrix.running", None)
    assert plan(["hard"]) == plan(["hard"], all_versions=True) == [(hard, "1.27")]
    assert plan(["hard"], ["1.21.3"]) == [(hard, "1.21.3")]
    row = run_live(hard, "1.27", 128)
    assert (row.right, row.marks, row.wrong) == (None, {}, [])
    assert row.skipped == "cannot be produced here: it takes another machine"


def test_one_that_can_be_produced_has_all_its_rows() -> None:
    assert [go for _, go in plan(["fragmentation"])] == list(CI_VERSIONS)


@pytest.mark.parametrize("name", [name for name, experiment in EXPERIMENTS.items() if experiment.why_not])
def test_the_command_says_why(name: str) -> None:
    code, out, err = whyrss("lab", name)
    assert (code, out) == (3, "")
    assert f"{name} cannot be produced here: {EXPERIMENTS[name].why_not}" in err
    assert f"tests/recordings/{name}" in err


def test_it_is_tried_where_that_is_asked_for() -> None:
    """Without a Go of that number, which is another reason."""
    code, _, err = whyrss("lab", "runtime-hugepages", "--go", "1.3")
    assert code == 3
    assert "1.3" in err and "cannot be produced" not in err
