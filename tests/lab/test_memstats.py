"""MemStats: the fields of the real one, and what holds in every one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.served import VERSIONS, real
from tests.support import needs_linux
from whyrss.lab import toolchain
from whyrss.lab.memstats import INVARIANTS, MemStats, SizeClass, empty, violated

PARTS = ("HeapSys", "StackSys", "MSpanSys", "MCacheSys", "BuckHashSys", "GCSys", "OtherSys")
# Figures of which any other value breaks an equation.
IN_EQUATIONS = (
    *PARTS,
    "Sys",
    "HeapIdle",
    "HeapInuse",
    "Alloc",
    "HeapAlloc",
    "Mallocs",
    "Frees",
    "HeapObjects",
    "Lookups",
)

size = st.integers(0, 1 << 50)


@st.composite
def consistent(draw: st.DrawFn) -> MemStats:
    """Any figures of which a runtime could be the author."""
    stats = empty()
    alloc, released, slack, idle, frees, objects = (draw(size) for _ in range(6))
    stats["Alloc"] = stats["HeapAlloc"] = alloc
    stats["TotalAlloc"] = alloc + draw(size)
    stats["HeapInuse"] = alloc + slack
    stats["HeapReleased"] = released
    stats["HeapIdle"] = released + idle
    stats["HeapSys"] = alloc + slack + released + idle
    stats["HeapObjects"], stats["Frees"], stats["Mallocs"] = objects, frees, frees + objects
    stats["BySize"][3] = SizeClass(Size=24, Mallocs=frees + objects, Frees=frees)
    for in_use, of in (("StackInuse", "StackSys"), ("MSpanInuse", "MSpanSys"), ("MCacheInuse", "MCacheSys")):
        stats[in_use] = draw(size)  # type: ignore[literal-required]
        stats[of] = stats[in_use] + draw(size)  # type: ignore[literal-required]
    stats["BuckHashSys"], stats["GCSys"], stats["OtherSys"] = draw(size), draw(size), draw(size)
    stats["NumForcedGC"] = draw(size)
    stats["NumGC"] = stats["NumForcedGC"] + draw(size)
    stats["Sys"] = sum(stats[name] for name in PARTS)  # type: ignore[literal-required]
    return stats


@pytest.mark.parametrize("version", VERSIONS)
def test_the_fields_are_those_of_the_runtime(version: str) -> None:
    needs_linux()
    source = toolchain.find(version).parent.parent / "src" / "runtime" / "mstats.go"
    struct = source.read_text().split("\ntype MemStats struct {", 1)[1].split("\n}", 1)[0]
    assert re.findall(r"^\t([A-Z]\w+) ", struct, re.MULTILINE) == list(MemStats.__annotations__)


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_is_violated_in_a_real_program(version: str) -> None:
    assert violated(real(version)) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_record_has_the_shape_of_a_real_one(version: str) -> None:
    found, ours = real(version), empty(int(version.split(".")[1]))
    assert list(found) == list(ours)
    assert [row["Size"] for row in found["BySize"]] == [row["Size"] for row in ours["BySize"]]
    assert len(found["PauseNs"]) == len(ours["PauseNs"])
    assert len(found["PauseEnd"]) == len(ours["PauseEnd"])


def test_an_empty_record_is_all_zero() -> None:
    stats = empty()
    assert not any(value for value in stats.values() if not isinstance(value, list))
    assert not any(stats["PauseNs"] + stats["PauseEnd"])
    assert not any(row["Mallocs"] or row["Frees"] for row in stats["BySize"])
    assert violated(stats) == []
    stats["PauseNs"][0] = stats["BySize"][1]["Frees"] = 1
    assert empty()["PauseNs"][0] == empty()["BySize"][1]["Frees"] == 0


@given(consistent())
def test_consistent_figures_violate_nothing(stats: MemStats) -> None:
    assert violated(stats) == []


@given(consistent(), st.sampled_from(IN_EQUATIONS), st.integers(-(1 << 50), 1 << 50).filter(bool))
def test_any_other_figure_in_an_equation_violates_it(stats: MemStats, name: str, by: int) -> None:
    stats[name] += by  # type: ignore[literal-required]
    named = [text for text in violated(stats) if " == " in text]
    assert any(re.search(rf"\b{name}\b", text) for text in named)


@given(
    consistent(),
    st.sampled_from(
        [
            ("HeapReleased", "HeapIdle"), ("HeapAlloc", "HeapInuse"), ("Alloc", "TotalAlloc"),
            ("NumForcedGC", "NumGC"), ("StackInuse", "StackSys"), ("MSpanInuse", "MSpanSys"),
            ("MCacheInuse", "MCacheSys"),
        ]
    ),
)  # fmt: skip
def test_a_part_larger_than_its_whole_violates(stats: MemStats, pair: tuple[str, str]) -> None:
    part, whole = pair
    stats[part] = stats[whole]  # type: ignore[literal-required]
    assert f"{part} <= {whole}" not in violated(stats)
    stats[part] += 1  # type: ignore[literal-required]
    assert f"{part} <= {whole}" in violated(stats)


def test_every_invariant_can_be_violated() -> None:
    """By figures that are wrong in a way of its own."""
    stats = having(Sys=-1, HeapSys=5, HeapReleased=1, HeapAlloc=2, Alloc=1, HeapObjects=1, Lookups=1, NumForcedGC=1)
    stats["StackInuse"] = stats["MSpanInuse"] = stats["MCacheInuse"] = 1
    stats["PauseNs"] = []
    stats["BySize"] = [SizeClass(Size=8, Mallocs=1, Frees=2)]
    assert violated(stats) == [name for name, _ in INVARIANTS]


def test_what_is_no_invariant_is_not_asked_for() -> None:
    """In a real program HeapAlloc is above NextGC now and then."""
    assert violated(having(HeapAlloc=9, Alloc=9, TotalAlloc=9, HeapInuse=9, HeapSys=9, Sys=9, NextGC=4)) == []


def having(**figures: int) -> MemStats:
    stats = empty()
    for name, value in figures.items():
        stats[name] = value  # type: ignore[literal-required]
    return stats
