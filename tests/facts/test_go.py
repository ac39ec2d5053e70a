"""The table of releases has a row for each, and only one, and every row says where it is from."""

from __future__ import annotations

import ast
import mmap
from itertools import pairwise

import pytest

from whyrss.facts import go, kernel

MINORS = range(9, 28)
FACTS = sorted({fact for _, _, fact, _, _ in go.ROWS})
KERNEL_FACTS = sorted({fact for _, _, fact, _, _ in kernel.ROWS})

# The release notes: go.dev/doc/go1.12 ("now uses MADV_FREE to release unused memory") and go.dev/doc/go1.16
# ("now defaults to releasing memory to the operating system promptly (using MADV_DONTNEED)").
LAZY_BY_RELEASE_NOTES = {12, 13, 14, 15}


@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize("minor", MINORS)
def test_each_fact_has_exactly_one_row_for_each_release(fact: str, minor: int) -> None:
    rows = [row for row in go.ROWS if row[2] == fact and row[0] <= minor <= row[1]]
    assert len(rows) == 1


def test_the_range_is_that_of_the_rows() -> None:
    assert (MINORS[0], MINORS[-1]) == (go.FIRST_MINOR, go.LAST_MINOR)
    assert min(row[0] for row in go.ROWS) == go.FIRST_MINOR
    assert max(row[1] for row in go.ROWS) == go.LAST_MINOR


def test_the_default_is_that_of_the_release_notes() -> None:
    rows = [row for row in go.ROWS if row[2] == "default_advice"]
    lazy = {
        minor
        for minor in MINORS
        for since, until, _, value, _ in rows
        if since <= minor <= until and value == go.FREE
    }
    assert lazy == LAZY_BY_RELEASE_NOTES


@pytest.mark.parametrize("row", go.ROWS)
def test_each_row_of_go_names_a_place_in_its_source_tree(row: tuple[int, int, str, object, str]) -> None:
    since, until, _, _, source = row
    assert since <= until
    assert source.startswith(("runtime/", "internal/", "cmd/"))
    assert "Go 1." in source


@pytest.mark.parametrize("row", kernel.ROWS)
def test_each_row_of_the_kernel_names_a_manual_or_a_file(
    row: tuple[object, object, str, object, str],
) -> None:
    assert row[4].startswith(("madvise(2)", "process_madvise(2)", "Documentation/", "mm/", "fs/", "init/"))


@pytest.mark.parametrize("fact", KERNEL_FACTS)
def test_rows_of_a_kernel_fact_follow_each_other_without_a_gap_to_this_day(fact: str) -> None:
    rows = [row for row in kernel.ROWS if row[2] == fact]
    assert rows[-1][1] is None
    for before, after in pairwise(rows):
        assert before[1] == after[0] is not None


def test_the_advice_numbers_are_those_of_the_c_library() -> None:
    names = [name for name in vars(kernel) if name.startswith("MADV_") and hasattr(mmap, name)]
    assert {"MADV_DONTNEED", "MADV_FREE"} <= set(names)
    assert {name: getattr(kernel, name) for name in names} == {name: getattr(mmap, name) for name in names}


@pytest.mark.parametrize("module", [go, kernel])
def test_the_tables_import_nothing(module: object) -> None:
    with open(str(module.__file__), encoding="utf-8") as file:  # type: ignore[attr-defined]  # the parameter is any module
        tree = ast.parse(file.read())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [getattr(node, "module", "") for node in imports] == ["__future__"]
