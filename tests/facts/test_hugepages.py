"""What each release does about huge pages: exactly one row for each release, and what the releases themselves say."""

from __future__ import annotations

import pytest

from whyrss.errors import Missing
from whyrss.facts import hugepages
from whyrss.policy import GoVersion, huge_fact_of

FIRST, LAST = (9, 0), (28, 0)
FACTS = sorted({fact for _, _, fact, _, _ in hugepages.ROWS})


def rows_of(fact: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    return sorted((since, before) for since, before, name, _, _ in hugepages.ROWS if name == fact)


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_covers_all_releases_without_a_gap(fact: str) -> None:
    rows = rows_of(fact)
    assert (rows[0][0], rows[-1][1]) == (FIRST, LAST)
    assert [before for _, before in rows[:-1]] == [since for since, _ in rows[1:]]
    assert all(since < before for since, before in rows)


@pytest.mark.parametrize("row", hugepages.ROWS)
def test_each_row_names_a_place_in_the_source_tree(row: tuple[object, object, str, object, str]) -> None:
    assert row[4].startswith("runtime/")
    assert "Go 1." in row[4]


@pytest.mark.parametrize(
    ("release", "advice", "disablethp"),
    [
        ("go1.9", "MADV_NOHUGEPAGE", False),
        ("go1.20.14", "MADV_NOHUGEPAGE", False),
        # golang/go issue 61718: 1.21.0 alone asks for huge pages; 63334: the collapse of 1.21.1 is gone in 1.21.4
        ("go1.21", "MADV_HUGEPAGE", False),
        ("go1.21.0", "MADV_HUGEPAGE", False),
        ("go1.21.1", "MADV_COLLAPSE", False),
        ("go1.21.3", "MADV_COLLAPSE", False),
        ("go1.21.4", "none", False),
        # golang/go issue 64332: the commits of the tag go1.21.6 have "add the disablethp GODEBUG setting"
        ("go1.21.5", "none", False),
        ("go1.21.6", "none", True),
        ("go1.22", "none", True),
        ("go1.27.3", "none", True),
    ],
)
def test_by_release(release: str, advice: str, disablethp: bool) -> None:
    go = GoVersion.parse(release)
    assert huge_fact_of(go, "heap_advice")[0] == advice
    value, source = huge_fact_of(go, "has_disablethp")
    assert value is disablethp
    assert source in [row[4] for row in hugepages.ROWS]


def test_a_candidate_goes_by_its_release() -> None:
    assert huge_fact_of(GoVersion.parse("go1.21rc2"), "heap_advice") == huge_fact_of(GoVersion(21, 0), "heap_advice")


@pytest.mark.parametrize("go", [GoVersion(8, 7), GoVersion(28, 0)])
def test_outside_of_the_table(go: GoVersion) -> None:
    with pytest.raises(Missing, match=r"no row for heap_advice in go1\.\d+.*known: go1\.9 to go1\.27"):
        huge_fact_of(go, "heap_advice")


def test_a_fact_that_is_none() -> None:
    with pytest.raises(Missing, match="no row for nonsense"):
        huge_fact_of(GoVersion(21, 0), "nonsense")
