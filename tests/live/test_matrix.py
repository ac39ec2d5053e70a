"""The causes against real programs: each speaks of its own, and of no healthy one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from whyrss.causes import CAUSES
from whyrss.finding import PROBLEM
from whyrss.lab.causes import CI_VERSIONS, EXPERIMENTS, Experiment
from whyrss.lab.matrix import HEALTHY_PROGRAMS, plan, run_live
from whyrss.sources import open_source
from whyrss.verdict import Verdict, why

CELLS_MAX = 60
SIZE_MIB = 128
# Why a machine may not be able to run a program; anything else is a defect.
EXCUSES = ("memory cgroup", "not permitted", "denied", "cannot be produced here")
SUITES = ("bullseye", "bookworm", "trixie")


def chosen() -> list[tuple[Experiment, str]]:
    """Of every program the newest Go, of the healthy ones all; then, as far as that goes, one more Go of each,
    another one from cause to cause."""
    cells = [(EXPERIMENTS[name], go) for name in EXPERIMENTS for _, go in plan([name])[-1:]]
    cells += plan(list(HEALTHY_PROGRAMS))
    for number, name in enumerate(EXPERIMENTS):
        older = plan([name])[:-1]
        cells += [older[number % len(older)]] if older else []
    return cells[:CELLS_MAX]


CELLS = chosen()


@pytest.mark.parametrize(("experiment", "go"), CELLS, ids=[f"{each.name}-go{go}" for each, go in CELLS])
def test_cell(experiment: Experiment, go: str) -> None:
    support.needs_linux()
    row = run_live(experiment, go, SIZE_MIB)
    if row.skipped and any(excuse in row.skipped for excuse in EXCUSES):
        pytest.skip(row.skipped)
    assert (row.skipped, row.wrong) == ("", []), row.marks
    assert row.right
    assert sorted(row.marks) == sorted(cause.name for cause in CAUSES)


def test_every_cause_and_every_release_is_among_them() -> None:
    assert {each.name for each, _ in CELLS} == EXPERIMENTS.keys() | HEALTHY_PROGRAMS.keys()
    assert {go for each, go in CELLS if each.name in HEALTHY_PROGRAMS} == set(CI_VERSIONS)
    assert len(CELLS) <= CELLS_MAX


def test_no_program_is_left_over() -> None:
    """The programs of the cells are children of this process: all have ended."""
    before = children()
    row = run_live(HEALTHY_PROGRAMS["healthy-idle"], CI_VERSIONS[-1], 32)
    assert row.right
    assert children() == before


def test_an_interrupted_look_leaves_no_program(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> Verdict:
        raise KeyboardInterrupt

    before = children()
    monkeypatch.setattr("whyrss.lab.matrix.why", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_live(HEALTHY_PROGRAMS["healthy-idle"], CI_VERSIONS[-1], 32)
    assert children() == before


def test_a_program_that_cannot_be_built_is_skipped_and_not_right() -> None:
    row = run_live(HEALTHY_PROGRAMS["healthy-idle"], "1.3", 32)
    assert (row.right, row.marks, row.looks) == (None, {}, 0)
    assert "1.3" in row.skipped


def children() -> set[str]:
    """The processes whose parent this one is, zombies too."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.fixture(scope="module", params=SUITES)
def etcd(request: pytest.FixtureRequest) -> Iterator[support.Etcd]:
    with support.etcd(suite=request.param) as server:
        yield server


@pytest.fixture(scope="module", params=SUITES)
def prometheus(request: pytest.FixtureRequest) -> Iterator[support.Prometheus]:
    with support.prometheus(suite=request.param) as server:
        yield server


def test_etcd_has_no_problem(etcd: support.Etcd) -> None:
    """At rest, and after some work of the size that it is made for."""
    assert problems(etcd) == []
    etcd.load(puts=50, value_bytes=1 << 10, ranges=50, settle=50)
    assert problems(etcd) == []


def test_prometheus_has_no_problem(prometheus: support.Prometheus) -> None:
    assert problems(prometheus) == []
    prometheus.load(queries=2, points=100, collections=0)
    assert problems(prometheus) == []


def problems(server: support.Server) -> list[str]:
    """And not for want of figures: the causes were looked at."""
    diagnosis = why(open_source(str(server.pid), pid=True)).diagnosis
    assert [name for name, _ in diagnosis.not_checked] == []
    return [found.cause for found in diagnosis.findings if found.weight == PROBLEM]
