"""The kernel's semantics by experiment: what holds on this kernel, and that a wrong measurement contradicts."""

from __future__ import annotations

import glob
import json
import os
import re
import sys
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("needs Linux", allow_module_level=True)

import whyrss.lab.semantics as semantics
from whyrss.errors import UsageError
from whyrss.lab.group import PREFIX
from whyrss.lab.memory import OS_PAGE_BYTES
from whyrss.lab.semantics import EXPERIMENTS, lists, run_experiments
from whyrss.lab.semantics.pages import BATCH_BYTES, BATCH_PAGES, SIZE_BYTES, Contents, content, fill, mapped
from whyrss.lab.semantics.row import Experiment, Row
from whyrss.policy import parse_kernel
from whyrss.read.cgroup import Cgroup, parse_stat
from whyrss.show.semantics import show, summary, to_json

FIXTURES = Path(__file__).parent / "fixtures" / "cgroup2"
DOCS = Path(__file__).parents[2] / "docs" / "kernel.md"
MIB = 1 << 20
LAZY = parse_kernel(os.uname().release)[:2] >= (4, 12)

# These need neither rights nor a setting: they are tried, and hold, on every kernel from 4.12 on.
ALWAYS = ("dontneed", "free-keeps", "free-readable", "free-written", "shared-dontneed", "shared-free")

# What would be measured if the kernel did not do as expected, by experiment: each alone contradicts it.
WRONG: dict[str, list[dict[str, int | str]]] = {
    "dontneed": [{"rss_after_bytes": OS_PAGE_BYTES}, {"zero_pages": 4095}, {"rss_before_bytes": 0}],
    "free-keeps": [
        {"lazyfree_bytes": SIZE_BYTES - BATCH_BYTES - OS_PAGE_BYTES},
        {"lazyfree_bytes": 0},
        {"rss_after_bytes": 0},
    ],
    "free-readable": [{"old_pages": 0}, {"lazyfree_bytes": 0}],
    "free-written": [
        {"lazyfree_after_bytes": SIZE_BYTES},
        {"lazyfree_after_bytes": 0},
        {"rss_after_bytes": 0},
    ],
    "free-taken": [{"rss_after_bytes": SIZE_BYTES}, {"zero_pages": 0}, {"lost_pages": 1}],
    "free-written-survives": [
        {"new_pages": 1023},
        {"new_pages": 0, "written_pages": 0},
        {"rss_after_bytes": 0},
        {"lost_pages": 1},
    ],
    "free-pageout": [{"rss_after_bytes": SIZE_BYTES}, {"rss_after_bytes": 0}, {"kept_pages": 0}, {"zero_pages": 0}],
    "locked": [{"MADV_FREE": "done"}, {"MADV_DONTNEED": "done"}, {"rss_after_bytes": 0}, {"old_pages": 0}],
    "huge-free-part": [
        {"huge_after_bytes": 4 * MIB},
        {"lazyfree_after_bytes": 0},
        {"lazyfree_after_bytes": 2 * MIB},
        {"rss_after_bytes": 3 * MIB},
    ],
    "huge-dontneed-part": [{"huge_after_bytes": 4 * MIB}, {"rss_after_bytes": 4 * MIB}, {"changed_pages": 1}],
    "huge-free-whole": [{"huge_after_bytes": 0}, {"lazyfree_after_bytes": 0}, {"rss_after_bytes": 0}],
    "shared-dontneed": [{"rss_after_bytes": 4 * MIB}, {"old_pages": 0}, {"MADV_DONTNEED": "EINVAL"}],
    "shared-free": [{"MADV_FREE": "done"}, {"rss_after_bytes": 0}],
    "cgroup-lists": [
        {"anon_moved_bytes": -lists.SIZE_BYTES},
        {"inactive_file_moved_bytes": 0},
        {"working_set_moved_bytes": 0},
        {"usage_moved_bytes": -lists.SIZE_BYTES},
    ],
    "free-before-4.12": [{"rss_after_bytes": SIZE_BYTES}],
}
# Experiments that cannot be tried here, as they would be measured where they can.
ELSEWHERE: dict[str, dict[str, int | str]] = {
    "free-before-4.12": {"rss_before_bytes": SIZE_BYTES, "rss_after_bytes": 0}
}


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return {row.name: row for row in run_experiments()}


def test_each_experiment_has_a_row_in_order(rows: dict[str, Row]) -> None:
    assert list(rows) == list(EXPERIMENTS)
    assert rows.keys() == WRONG.keys()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_nothing_contradicts(rows: dict[str, Row], name: str) -> None:
    row = rows[name]
    assert row.holds is not False, row.measured
    assert (row.holds is None) == bool(row.reason) == (not row.measured)


@pytest.mark.skipif(not LAZY, reason="Linux before 4.12 frees lazily only with swap, and does not count it")
@pytest.mark.parametrize("name", ALWAYS)
def test_this_kernel_shows_it(rows: dict[str, Row], name: str) -> None:
    assert rows[name].holds is True, rows[name].reason


@pytest.mark.skipif(not LAZY or os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("name", ["free-taken", "free-written-survives", "locked"])
def test_root_shows_it(rows: dict[str, Row], name: str) -> None:
    row = rows[name]
    assert row.holds is True, row.reason
    if "by" in row.measured:
        # The oldest pages go first, so of what was freed nothing is left but what waits in a batch.
        assert int(row.measured["old_pages"]) <= BATCH_PAGES


@pytest.mark.skipif(not LAZY, reason="it can be tried here")
def test_the_old_kernel_is_not_tried_on_a_newer_one(rows: dict[str, Row]) -> None:
    row = rows["free-before-4.12"]
    assert row.holds is None
    assert "this kernel is newer" in row.reason


WRONG_CASES = [(name, wrong) for name, cases in WRONG.items() for wrong in cases]


@pytest.mark.parametrize(("name", "wrong"), WRONG_CASES, ids=[f"{name}-{wrong}" for name, wrong in WRONG_CASES])
def test_a_wrong_measurement_contradicts(rows: dict[str, Row], name: str, wrong: dict[str, int | str]) -> None:
    right = rows[name].measured or ELSEWHERE.get(name, {})
    if not right:
        pytest.skip(f"not tried here: {rows[name].reason}")
    assert wrong.keys() <= right.keys()
    assert Row(EXPERIMENTS[name], right).holds is True
    assert Row(EXPERIMENTS[name], {**right, **wrong}).holds is False


def test_no_group_is_left_behind(rows: dict[str, Row]) -> None:
    assert rows
    pids = (int(path.rpartition(PREFIX)[2]) for path in glob.glob(f"/sys/fs/cgroup/**/{PREFIX}*", recursive=True))
    assert [pid for pid in pids if not os.path.exists(f"/proc/{pid}")] == []


@pytest.mark.parametrize(
    ("kernel", "name", "word"),
    [
        ("4.4", "free-keeps", "MADV_FREE"),
        ("4.4", "locked", "MADV_FREE"),
        ("4.9", "free-taken", "free_pages"),
        ("4.9", "cgroup-lists", "free_pages"),
        ("5.3", "free-pageout", "MADV_PAGEOUT"),
    ],
)
def test_what_a_kernel_cannot_do_is_not_tried(kernel: str, name: str, word: str) -> None:
    (row,) = run_experiments([name], kernel)
    assert (row.holds, row.measured) == (None, {})
    assert word in row.reason


def test_a_kernel_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError):
        run_experiments(["dontneed"], "six")


def test_an_experiment_that_breaks_off_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child does not know this name, and ends with an exception."""
    broken = Experiment("broken", "", "", "", dict, lambda it: True)
    monkeypatch.setitem(semantics.EXPERIMENTS, "broken", broken)
    (row,) = run_experiments(["broken"])
    assert row.holds is None
    assert "ended with code 1" in row.reason


def test_every_page_has_a_content_of_its_own() -> None:
    pages = range(1 << 14)
    assert len({content(page, writing) for page in pages for writing in (1, 2)}) == 2 * len(pages)
    assert all(len(content(page, 1)) == OS_PAGE_BYTES and any(content(page, 1)) for page in pages)


def test_contents_are_told_apart() -> None:
    with mapped(4 * OS_PAGE_BYTES) as memory:
        fill(memory, [0], 1)
        fill(memory, [1], 2)
        memory.write(memory.base + 2 * OS_PAGE_BYTES, content(2, 1)[:8])
        found = Contents(memory, range(4))
    assert (found.old, found.new, found.lost, found.zero) == (1, 1, 1, 1)


# cgroup v2, by its documented files.


def v2_figures(stat: str, **changes: int) -> Cgroup:
    cgroup = Cgroup(2, "/app", {**parse_stat((FIXTURES / stat).read_bytes()), **changes})
    cgroup.usage_bytes = int((FIXTURES / "memory.current").read_text())
    return cgroup


def test_the_figures_of_v2_move_alike() -> None:
    moved = lists.measured(v2_figures("memory.stat.before"), v2_figures("memory.stat"), 96 * MIB)
    assert moved["by"] == "cgroup v2"
    assert moved["working_set_moved_bytes"] == -96 * MIB
    assert Row(EXPERIMENTS["cgroup-lists"], moved).holds is True


def test_a_v2_that_counts_otherwise_contradicts() -> None:
    after = v2_figures("memory.stat", inactive_file=0)
    moved = lists.measured(v2_figures("memory.stat.before"), after, 96 * MIB)
    assert Row(EXPERIMENTS["cgroup-lists"], moved).holds is False


# The views.


def test_the_text_has_80_columns_and_every_row(rows: dict[str, Row]) -> None:
    text = show(list(rows.values()))
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    found = re.findall(r"^(holds|CONTRADICTED|not tried)  (\S+)$", text, re.MULTILINE)
    marks = {True: "holds", None: "not tried", False: "CONTRADICTED"}
    assert found == [(marks[row.holds], row.name) for row in rows.values()]


def test_colours_add_nothing_but_colours(rows: dict[str, Row]) -> None:
    coloured = show(list(rows.values()), colours=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == show(list(rows.values()))


def test_a_contradiction_is_shown() -> None:
    row = Row(EXPERIMENTS["shared-free"], {"MADV_FREE": "done", "rss_after_bytes": 0})
    assert "CONTRADICTED  shared-free" in show([row])
    assert "measured  MADV_FREE done, rss after 0 B\n" in show([row])
    assert summary([row]) == "0 hold, 1 contradicted, 0 not tried here."


def test_the_json_has_every_row(rows: dict[str, Row]) -> None:
    document = json.loads(to_json(list(rows.values())))
    keys = ["name", "what", "expected", "measured", "holds", "because", "reason"]
    assert [list(each) for each in document["experiments"]] == [keys] * len(rows)
    assert document["experiments"] == [row.as_dict() for row in rows.values()]


def test_the_page_has_every_row() -> None:
    lines = DOCS.read_text().splitlines()
    for each in EXPERIMENTS.values():
        assert f"| `{each.name}` | {each.what} | {each.expected} | {each.because} |" in lines
