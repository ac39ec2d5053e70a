"""`whyrss lab matrix`: what counts as right, and how it is shown."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from tests.cli import whyrss
from whyrss.account import Account, Line
from whyrss.errors import UsageError
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.lab.causes import CI_VERSIONS, EXPERIMENTS, Experiment
from whyrss.lab.matrix import DOCUMENTED, HEALTHY_PROGRAMS, MEASURED, Expected, Row, plan, shown_by
from whyrss.show import matrix as view
from whyrss.snapshot import Snapshot
from whyrss.verdict import Diagnosis, Verdict

RECORDINGS = Path(__file__).parent.parent / "recordings"
CATALOGUE = ["own", "friend", "stranger"]
EMPTY = Account(Line("rss", 0), "vma", "", None)


def verdict(*found: tuple[str, str], not_checked: tuple[str, ...] = ()) -> Verdict:
    """The findings as given, all other causes silent."""
    diagnosis = Diagnosis()
    diagnosis.findings = [finding(cause, weight) for cause, weight in found]
    diagnosis.not_checked = [(name, "no figure") for name in not_checked]
    seen = {*not_checked, *(cause for cause, _ in found)}
    diagnosis.silent = [name for name in CATALOGUE if name not in seen]
    return Verdict(Snapshot("2026-01-01T00:00:00Z", "7", "cat {}", {}), EMPTY, diagnosis)


def finding(cause: str, weight: str) -> Finding:
    return Finding(
        cause=cause,
        weight=weight,
        line="heap",
        size_bytes=0,
        reclaimable_bytes=0,
        affects=(),
        confidence="certain",
        summary="",
        evidence=[],
        fixes=[],
    )


OWN = Expected("own", PROBLEM, ("friend",))
BEHIND = Expected("own", PROBLEM, ("friend",), behind="friend")
NOTED = Expected("own", NOTE, ("friend",))
NONE = Expected()


@pytest.mark.parametrize(
    ("expected", "found", "wrong"),
    [
        (OWN, [("own", PROBLEM)], []),
        (OWN, [("own", PROBLEM), ("stranger", NOTE)], []),
        (OWN, [("own", PROBLEM), ("friend", PROBLEM)], []),
        (OWN, [("friend", PROBLEM), ("own", PROBLEM)], ["friend goes before own"]),
        (BEHIND, [("friend", PROBLEM), ("own", PROBLEM)], []),
        (BEHIND, [("own", PROBLEM), ("friend", PROBLEM)], ["own goes before friend"]),
        (BEHIND, [("own", PROBLEM)], ["own goes before friend"]),
        (BEHIND, [("friend", PROBLEM)], ["own is silent, not problem"]),
        (BEHIND, [("friend", PROBLEM), ("own", NOTE)], ["own is note, not problem"]),
        (OWN, [("own", PROBLEM), ("stranger", PROBLEM)], ["false alarm: stranger"]),
        (OWN, [("stranger", PROBLEM), ("own", PROBLEM)], ["false alarm: stranger"]),
        (OWN, [("own", NOTE)], ["own is note, not problem"]),
        (OWN, [], ["own is silent, not problem"]),
        (OWN, [("stranger", PROBLEM)], ["own is silent, not problem", "false alarm: stranger"]),
        (NOTED, [("own", NOTE)], []),
        (NOTED, [("stranger", NOTE), ("own", NOTE)], []),
        (NOTED, [("own", PROBLEM)], ["own is problem, not note", "false alarm: own"]),
        (NOTED, [("friend", PROBLEM), ("own", NOTE)], ["false alarm: friend"]),
        (NOTED, [("stranger", NOTE)], ["own is silent, not note"]),
        (NONE, [], []),
        (NONE, [("own", NOTE), ("stranger", NOTE)], []),
        (NONE, [("own", PROBLEM)], ["false alarm: own"]),
    ],
)
def test_what_is_right(expected: Expected, found: list[tuple[str, str]], wrong: list[str]) -> None:
    assert sorted(expected.wrong(verdict(*found))) == sorted(wrong)


def test_what_was_not_checked_is_not_right() -> None:
    assert OWN.wrong(verdict(not_checked=("own",))) == ["own was not checked: no figure"]
    assert OWN.wrong(verdict(("own", PROBLEM), not_checked=("friend",))) == []
    assert NONE.wrong(verdict(not_checked=("own", "friend", "stranger"))) == ["nothing could be checked"]


def test_one_wrong_look_of_several_is_wrong_and_the_heaviest_mark_stays() -> None:
    row = Row("healthy-busy", NONE)
    for found in ([], [("own", PROBLEM), ("friend", NOTE)], [("own", NOTE)]):
        row.look(verdict(*found))
    assert row.looks == 3
    assert row.right is False
    assert row.false_alarms == ["own"]
    assert row.marks == {"own": PROBLEM, "friend": NOTE, "stranger": "silent"}


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("own", "own"),
        ("own-go1.27", "own"),
        ("own-friend-2", "own-friend"),
        ("healthy", "healthy"),
        ("healthy-idle", "healthy"),
    ],
)
def test_a_recording_is_named_for_what_it_shows(name: str, cause: str) -> None:
    assert shown_by(name, ["own", "own-friend", "friend"]) == cause


@pytest.mark.parametrize("name", ["unknown", "owner", "", "un-own"])
def test_a_name_that_says_nothing_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="from its name"):
        shown_by(name, ["own"])


def test_a_plan_has_every_program_in_the_order_of_the_columns() -> None:
    cells = plan()
    names = list(dict.fromkeys(experiment.name for experiment, _ in cells))
    assert set(names) == EXPERIMENTS.keys() | HEALTHY_PROGRAMS.keys()
    assert names[-3:] == list(HEALTHY_PROGRAMS)
    for name in HEALTHY_PROGRAMS:
        assert [go for experiment, go in cells if experiment.name == name] == list(CI_VERSIONS)


def test_a_plan_takes_only_the_releases_that_can_have_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXPERIMENTS, "some", Experiment("some", "", versions=("1.19", "1.24.4", "1.26")))
    monkeypatch.setitem(EXPERIMENTS, "few", Experiment("few", "", versions=("1.22", "1.23.1")))

    def versions(name: str, *asked: str, every: bool = False) -> list[str]:
        return [go for _, go in plan([name], asked, every)]

    assert versions("some") == ["1.19", "1.24.4"]
    assert versions("some", "1.24") == ["1.24.4"]
    assert versions("some", "1.26.2", "1.15") == ["1.26.2"]
    assert versions("some", "1.2") == []
    assert versions("some", every=True) == ["1.19", "1.24.4", "1.26"]
    assert versions("few") == ["1.23.1"]
    with pytest.raises(UsageError, match="nonsense"):
        plan(["nonsense"])


def rows() -> list[Row]:
    own, quiet, loud = Row("own", OWN, go="1.27.3"), Row("own", OWN, go="1.15.15"), Row("healthy-idle", NONE)
    own.look(verdict(("own", PROBLEM), ("stranger", NOTE), not_checked=("friend",)))
    quiet.skipped = "no memory cgroup could be made"
    loud.look(verdict(("stranger", PROBLEM)))
    old = Row("own-1", OWN, DOCUMENTED)
    old.look(verdict(("own", PROBLEM)))
    return [own, quiet, loud, old]


def test_the_table() -> None:
    lines = view.show(rows(), CATALOGUE).splitlines()
    assert lines[:7] == [
        "program                  Go        1  2  3",
        "own                      1.27.3   [P](?) n  right",
        "                         1.15.15            skipped",
        "                           no memory cgroup could be made",
        "healthy-idle             -         .  .  P  WRONG",
        "                           false alarm: stranger",
        "own-1                    -        [P](.) .  right",
    ]
    assert lines[-2:] == [
        "Live: 1 of 2 top verdicts are right, 1 false alarm, 1 skipped; 1 of 6 cells were not checked.",
        "Documented recordings: 1 of 1 top verdicts are right, 0 false alarms; 0 of 3 cells were not checked.",
    ]
    for number, name in enumerate(CATALOGUE, 1):
        assert f"{number} {name}" in "\n".join(lines[7:])


def test_colours_change_no_text() -> None:
    painted = view.show(rows(), CATALOGUE, colours=True)
    assert "\x1b[1;31mP\x1b[0m" in painted
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == view.show(rows(), CATALOGUE)


def test_24_causes_fit_in_120_columns() -> None:
    causes = [f"a-rather-long-name-{number}" for number in range(24)]
    assert max(map(len, view.show(rows(), causes).splitlines())) <= 120


def test_markdown_has_as_many_cells_in_each_line() -> None:
    text = view.markdown(rows(), CATALOGUE)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {len(CATALOGUE) + 4}
    assert table[2] == "| own | 1.27.3 | **P** | (?) | n | right |"
    assert table[3] == "| own | 1.15.15 |  |  |  | skipped |"
    assert "* own, Go 1.15.15: no memory cgroup could be made" in text


def test_recordings_are_explained_by_the_command(tmp_path: Path) -> None:
    paths = [str(RECORDINGS / "lazyfree"), str(RECORDINGS / "healthy")]
    code, out, err = whyrss("lab", "matrix", *paths, "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert [(row["program"], row["expected"], row["right"]) for row in document["rows"]] == [
        ("lazyfree", "lazyfree", True),
        ("healthy", None, True),
    ]
    assert {row["origin"] for row in document["rows"]} == {MEASURED}
    assert all(sorted(row["marks"]) == sorted(document["causes"]) for row in document["rows"])

    impostor = tmp_path / "healthy-impostor"
    shutil.copytree(RECORDINGS / "lazyfree", impostor)
    manifest = impostor / "whyrss-recording.json"
    manifest.write_text(manifest.read_text().replace("measured", "documented"))
    code, out, err = whyrss("lab", "matrix", str(impostor))
    assert (code, err) == (4, "")
    assert "false alarm: lazyfree" in out
    assert "Documented recordings: 0 of 1 top verdicts are right, 1 false alarm;" in out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--cause", "nonsense"], 2, "nonsense"),
        (["--size", "1MiB"], 2, "--size"),
        (["--size", "much"], 2, "--size"),
        (["--cause", "fragmentation", "--go", "1.3"], 2, "1.3"),
        ([str(RECORDINGS / "lazyfree"), "--go", "1.27"], 2, "recordings"),
        ([str(RECORDINGS)], 3, "not a recording"),
        (["/nonexistent"], 3, "not a recording"),
    ],
)
def test_a_wrong_command_line(words: list[str], code: int, said: str) -> None:
    got, out, err = whyrss("lab", "matrix", *words)
    assert (got, out) == (code, "")
    assert said in err


def test_a_live_row_by_the_command() -> None:
    code, out, err = whyrss("lab", "matrix", "--cause", "healthy-idle", "--go", "1.27", "--size", "32MiB", "--json")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)["rows"]
    assert (row["program"], row["origin"], row["right"], row["skipped"]) == ("healthy-idle", "live", True, None)
    assert row["go"].startswith("1.27")


def test_a_cell_that_cannot_run_is_skipped_with_the_reason_and_is_not_right(tmp_path: Path) -> None:
    words = ["lab", "matrix", "--cause", "healthy-idle", "--go", "1.27.99", "--json"]
    code, out, err = whyrss(*words, env={"WHYRSS_CACHE": str(tmp_path), "PIP_NO_INDEX": "1"})
    assert (code, err) == (0, "")
    document = json.loads(out)
    (row,) = document["rows"]
    assert (row["right"], row["looks"], row["marks"]) == (None, 0, {})
    assert "Go 1.27.99 cannot be had" in row["skipped"]
    assert document["summary"] == [
        "Live: 0 of 0 top verdicts are right, 0 false alarms, 1 skipped; 0 of 0 cells were not checked."
    ]


@pytest.mark.parametrize("name", [name for name, experiment in EXPERIMENTS.items() if experiment.behind])
def test_a_cause_without_bytes_stands_behind_a_cause_of_the_same_program(name: str) -> None:
    experiment = EXPERIMENTS[name]
    assert experiment.behind in experiment.beside
    assert EXPERIMENTS[experiment.behind].go_source == experiment.go_source
    assert Expected.of(name).behind == experiment.behind
