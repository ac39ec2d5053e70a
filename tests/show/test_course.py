"""The page and the picture of a course, made from plausible figures (the input, no expectation)."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from whyrss.lab.scenario import changed, parse_scenario
from whyrss.show.course import show, show_svg
from whyrss.show.courseplot import HINT
from whyrss.show.units import size

MIB = 1 << 20
SVG = "{http://www.w3.org/2000/svg}"
TOML = b"""
go = "1.15"
[[phase]]
do = "allocate"
bytes = "200MiB"
size = "1MiB"
[[phase]]
do = "free"
[[phase]]
do = "wait"
for = "2m"
"""
SCENARIO = parse_scenario(TOML, "story.toml")


def sample(t_s: float, phase: int, label: str, rss: int, lazy: int, in_use: int, released: int) -> dict[str, Any]:
    """Figures in MiB; they add up as Go's do."""
    figures = {"rss_bytes": rss, "lazyfree_bytes": lazy, "HeapSys": 256, "HeapInuse": in_use}
    figures |= {"HeapIdle": 256 - in_use, "HeapReleased": released}
    return {"t_s": t_s, "phase": phase, "label": label, "NumGC": phase * 3} | {
        name: mib * MIB for name, mib in figures.items()
    }


def course(lazily: bool, **more: Any) -> dict[str, Any]:
    """The scenario above: the scavenger works through the wait, with MADV_FREE or with MADV_DONTNEED."""
    samples = [
        sample(0.0, 0, "start", 1, 0, 1, 255),
        sample(0.2, 1, "allocate 200MiB", 201, 0, 201, 55),
        sample(0.2, 2, "free all", 201, 0, 1, 55),
    ]
    for step in range(1, 61):
        back = min(200, 10 * step)
        lazy = back if lazily else 0
        samples.append(sample(0.2 + 2 * step, 3, "wait 2m", 201 - back + lazy, lazy, 1, 55 + back))
    scenario = SCENARIO if lazily else changed(SCENARIO, "godebug=madvdontneed=1")
    return {"scenario": scenario.as_dict(), "samples": samples, **more}


ONE = course(True)
TWO = course(True, compared=course(False))


def test_the_table_has_the_end_of_every_phase() -> None:
    lines = show(ONE, plot=False).split("\n\n")[1].splitlines()
    rows = {line.split("  ")[0]: line.split() for line in lines if line[:1] in "s123" and "MiB" in line}
    assert list(rows) == ["start", "1 allocate 200MiB", "2 free all", "3 wait 2m"]
    last = ONE["samples"][-1]
    keys = ("rss_bytes", "lazyfree_bytes", "HeapInuse", "HeapIdle", "HeapReleased", "HeapSys")
    cells = [word for key in keys for word in size(last[key]).split()]
    assert rows["3 wait 2m"][-13:] == [*cells, str(last["NumGC"])]


def test_the_headline_says_what_came_of_it() -> None:
    text = " ".join(show(ONE, plot=False).split("\n\n")[0].split())
    assert text == "story, Go 1.15: RSS is 201 MiB at the end, its highest, 200 MiB of it lazily freed."


def test_two_courses_are_told_apart_by_what_differs() -> None:
    text = show(TWO, plot=False)
    first, second, rest, third = text.splitlines()[:4]
    assert first == "story, Go 1.15, twice:"
    assert second.startswith("  GODEBUG unset: RSS is 201 MiB")
    assert rest == "    freed."
    assert third == "  GODEBUG=madvdontneed=1: RSS rises to 201 MiB and is 1.0 MiB at the end."
    assert text.count("1 allocate 200MiB") == 2


def test_a_real_program_is_named() -> None:
    text = show({**ONE, "compared": course(True, go="go1.15.15")}, plot=False)
    assert "  model: RSS" in text
    assert "  real go1.15.15: RSS" in text


@pytest.mark.parametrize("document", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("plot", [True, False])
def test_nothing_is_wider_than_the_page(document: dict[str, Any], plot: bool) -> None:
    """And without colours there is nothing that drives a terminal."""
    text = show(document, plot=plot)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_long_label_is_cut() -> None:
    document = course(True)
    document["samples"][-1]["label"] = "wait \x1b[31m" + "x" * 100
    text = show(document, plot=False)
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert "…" in text


def test_colours_change_no_letter() -> None:
    coloured, plain = show(ONE, colours=True, plot=False), show(ONE, plot=False)
    assert "\x1b[" in coloured
    for code in ("\x1b[1m", "\x1b[2m", "\x1b[33m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain


def test_without_plotext_the_table_still_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotext", None)
    assert show(ONE) == show(ONE, plot=False) + "\n" + HINT + "\n"


def plotted(document: dict[str, Any], colours: bool = False) -> list[str]:
    if not hasattr(pytest.importorskip("plotext"), "clear_figure"):
        pytest.skip("plotext 5 is needed")
    return show(document, colours).splitlines()


def test_the_plot_shows_every_curve_where_it_is() -> None:
    lines = plotted(ONE)
    assert lines[-1] == "R RSS   s HeapSys   i HeapIdle   u HeapInuse   r HeapReleased   l LazyFree"
    canvas = [line[line.index("┤" if "┤" in line else "│") + 1 : -1] for line in lines if line.endswith("│")]
    letters = set("".join(canvas)) - {" "}
    assert letters == set("Rsiurl")
    # RSS stays, which the upper half shows to its right end, and HeapInuse ends at the bottom.
    assert "R" in "".join(line[-12:] for line in canvas[: len(canvas) // 2])
    assert "u" in canvas[-1][-12:]
    assert "u" not in "".join(line[-12:] for line in canvas[:-2])


def test_the_plot_of_two_courses() -> None:
    lines = plotted(TWO)
    assert lines[-2:] == [
        "R RSS, GODEBUG unset   X RSS, GODEBUG=madvdontneed=1",
        "r HeapReleased, GODEBUG unset   x HeapReleased, GODEBUG=madvdontneed=1",
    ]
    canvas = [line for line in lines if line.endswith("│")]
    assert "X" in canvas[-1][-12:]
    assert "R" not in canvas[-1][-12:]


def test_the_plot_in_colours_has_the_same_size() -> None:
    plotext = pytest.importorskip("plotext")
    coloured = [plotext.uncolorize(line).rstrip() for line in plotted(ONE, colours=True)]
    plain = plotted(ONE)
    assert len(coloured) == len(plain)
    assert max(map(len, coloured)) <= 80


def test_the_picture_has_every_curve() -> None:
    root = ElementTree.fromstring(show_svg(ONE))
    texts = [element.text or "" for element in root.iter(SVG + "text")]
    assert {"RSS", "HeapSys", "HeapInuse", "HeapIdle", "HeapReleased", "LazyFree"} <= set(texts)
    assert "story" in texts
    assert any("allocate 200MiB" in text and "wait 2m" in text for text in texts)
    assert len(list(root.iter(SVG + "polyline"))) == 6


def test_the_picture_of_two_courses() -> None:
    """The same colour for a figure, the second dashed."""
    root = ElementTree.fromstring(show_svg(TWO))
    classes = [element.get("class", "").split() for element in root.iter(SVG + "polyline")]
    assert len(classes) == 4
    assert classes[1] == [*classes[0], "second"]
    assert classes[3] == [*classes[2], "second"]
    assert classes[0] != classes[2]
