"""The model beside real Go: what both do at once has to agree at the end of every phase. What depends on how far a
background scavenger has come is in docs/lab-against-go.md instead."""

from __future__ import annotations

import pytest

from tests.support import needs_linux
from whyrss.lab import realgo
from whyrss.lab.comparison import compare
from whyrss.lab.run import Course
from whyrss.lab.scenario import changed, parse_scenario

PHASES = b"""
[[phase]]
do = "allocate"
bytes = "96MiB"
size = "1MiB"
[[phase]]
do = "allocate"
bytes = "32MiB"
size = "1KiB"
[[phase]]
do = "free"
share = 0.75
[[phase]]
do = "free-os-memory"
[[phase]]
do = "allocate"
bytes = "48MiB"
size = "96KiB"
[[phase]]
do = "goroutines"
count = 4000
stack = "8KiB"
[[phase]]
do = "gc"
[[phase]]
do = "free"
[[phase]]
do = "exit"
[[phase]]
do = "free-os-memory"
"""


@pytest.mark.parametrize("settings", [(), ("godebug=madvdontneed=0",), ("gogc=off",), ("gogc=50",)], ids=str)
@pytest.mark.parametrize("go", ["1.15", "1.19", "1.21", "1.24", "1.27"])
def test_every_figure_is_within_its_bound(go: str, settings: tuple[str, ...]) -> None:
    needs_linux()
    scenario = changed(parse_scenario(b'go = "1.15"\n' + PHASES, "test.toml"), f"go={go}")
    for setting in settings:
        scenario = changed(scenario, setting)
    comparison = compare(Course(scenario).run(), realgo.run(scenario, go))
    far = [(row.phase, row.label, row.figure, row.model, row.go) for row in comparison.bounded if not row.within]
    assert not far
    assert len(comparison.bounded) >= 5 * len(scenario.phases) - 9  # little is moving where nobody waits
