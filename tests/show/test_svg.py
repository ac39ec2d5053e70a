"""The line chart: well-formed, complete, harmless, and true to its points."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrss.show.svg import HEIGHT, WIDTH, Series, chart
from whyrss.show.ticks import size_ticks, time_ticks

SVG = "{http://www.w3.org/2000/svg}"
MIB = 1 << 20


def parsed(*series: Series, **more: object) -> ElementTree.Element:
    return ElementTree.fromstring(chart(series, "title", **more))  # type: ignore[arg-type]


def coordinates(root: ElementTree.Element) -> list[list[tuple[float, float]]]:
    return [
        [(float(x), float(y)) for x, _, y in (pair.partition(",") for pair in line.get("points", "").split())]
        for line in root.iter(SVG + "polyline")
    ]


def axis(root: ElementTree.Element, kind: str) -> dict[str, float]:
    """Label -> place of the ticks of the axis "x" or "y", from the picture itself."""
    anchor = {"x": "middle", "y": "end"}[kind]
    texts = [text for text in root.iter(SVG + "text") if text.get("text-anchor") == anchor]
    return {text.text or "": float(text.get(kind, "")) - (4 if kind == "y" else 0) for text in texts}


def test_a_point_stands_where_the_axes_say() -> None:
    """Half of 128 MiB is as high as the tick of 64 MiB, a minute is at the tick of 1 min."""
    root = parsed(Series("RSS", [(0, 0), (60, 64 * MIB), (120, 128 * MIB)], 0))
    (line,) = coordinates(root)
    x, y = axis(root, "x"), axis(root, "y")
    assert line[1] == pytest.approx((x["60 s" if "60 s" in x else "1 min"], y["64 MiB"]), abs=0.2)
    assert line[2][1] == pytest.approx(y["128 MiB"], abs=0.2)
    assert line[0][1] == pytest.approx(y["0"], abs=0.2)


def test_texts_are_escaped() -> None:
    evil = '</text><script>alert("1")</script>&\x00\x1b'
    text = chart([Series(evil, [(0, 1), (1, 2)], 0)], evil, evil, evil, [(0.5, evil)])
    root = ElementTree.fromstring(text)
    assert "<script" not in text
    shown = [element.text for element in root.iter(SVG + "text")]
    assert shown.count(evil.rstrip("\x00\x1b")) == 5


def test_it_loads_nothing_and_runs_nothing() -> None:
    text = chart([Series("RSS", [(0, 1), (1, 2)], 0)], "title")
    tags = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(text).iter()}
    assert tags <= {"svg", "title", "style", "rect", "text", "line", "polyline", "path"}
    assert text.count("http") == 1  # the namespace
    assert "prefers-color-scheme:dark" in text


def test_the_same_data_give_the_same_text() -> None:
    series = [Series("a", [(0, 5), (3, 7.5)], 0), Series("a", [(0, 4), (3, 7)], 0, second=True)]
    assert chart(series, "t", "s", marks=[(1, "m")]) == chart(series, "t", "s", marks=[(1, "m")])


def test_marks() -> None:
    """Those that nearly coincide share a label, the others have a line each, and no two labels overlap."""
    marks = [(0.0, "allocate 1MiB"), (0.001, "free all"), (40.0, "wait 10s"), (43.0, "exit"), (99.9, "pressure 1MiB")]
    root = parsed(Series("RSS", [(0, 0), (100, MIB)], 0), marks=marks)
    lines = [line for line in root.iter(SVG + "line") if line.get("class") == "edge"]
    texts = [text for text in root.iter(SVG + "text") if text.get("class") == "mark"]
    assert [text.text for text in texts] == ["allocate 1MiB, free all", "wait 10s", "exit", "pressure 1MiB"]
    assert len(lines) == 4
    places = [(float(text.get("y", "")), float(text.get("x", "")), len(text.text or "") * 6.1) for text in texts]
    for row in {y for y, _, _ in places}:
        spans = sorted((x, x + width) for y, x, width in places if y == row)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))
    assert all(x >= 0 and x + width <= WIDTH for _, x, width in places)


def test_more_marks_than_there_is_room_for() -> None:
    marks = [(float(at), "a rather long name of a phase") for at in range(50)]
    root = parsed(Series("RSS", [(0, 0), (50, MIB)], 0), marks=marks)
    assert len([line for line in root.iter(SVG + "line") if line.get("class") == "edge"]) == 50
    assert 0 < len([text for text in root.iter(SVG + "text") if text.get("class") == "mark"]) < 50


def test_points_that_change_nothing_are_left_out() -> None:
    level = [(float(at), 5 * MIB) for at in range(1000)]
    (line,) = coordinates(parsed(Series("RSS", [*level, (1000.0, 9 * MIB)], 0)))
    assert len(line) == 3


@given(
    st.lists(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 1 << 45)), max_size=20).map(sorted), max_size=3),
    st.text(),
    st.lists(st.tuples(st.floats(0, 1e6), st.text(max_size=300)), max_size=8).map(sorted),
)
def test_any_data_stay_in_the_picture(
    curves: list[list[tuple[float, int]]], text: str, marks: list[tuple[float, str]]
) -> None:
    most_s = max((at for points in curves for at, _ in points), default=0.0)
    marks = [(at, label) for at, label in marks if at <= most_s]
    root = ElementTree.fromstring(chart([Series(text, points, 7) for points in curves], text, text, marks=marks))
    for line in coordinates(root):
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line)


@given(st.integers(0, 1 << 50))
def test_size_ticks(most_bytes: int) -> None:
    ticks = size_ticks(most_bytes)
    steps = {after - before for (before, _), (after, _) in pairwise(ticks)}
    assert 2 <= len(ticks) <= 6
    assert ticks[0] == (0, "0")
    assert ticks[-1][0] >= most_bytes > ticks[-2][0] or most_bytes == 0
    assert len(steps) == 1
    assert steps.pop().bit_count() == 1
    assert len({text for _, text in ticks}) == len(ticks)


@given(st.floats(0.001, 1e8))
def test_time_ticks(most_s: float) -> None:
    ticks = time_ticks(most_s)
    assert 1 <= len(ticks) <= 9
    assert ticks[0] == (0, "0")
    assert ticks[-1][0] <= most_s
    assert len({text.split()[1] for _, text in ticks[1:]}) <= 1
    assert len({text for _, text in ticks}) == len(ticks)


def test_ticks_in_words() -> None:
    assert [text for _, text in size_ticks(260 * MIB)] == ["0", "64 MiB", "128 MiB", "192 MiB", "256 MiB", "320 MiB"]
    assert [text for _, text in size_ticks(3 << 30)] == ["0", "1 GiB", "2 GiB", "3 GiB"]
    assert [text for _, text in time_ticks(142)] == ["0", "30 s", "60 s", "90 s", "120 s"]
    assert [text for _, text in time_ticks(900)] == [
        *("0", "2 min", "4 min", "6 min", "8 min", "10 min", "12 min", "14 min")
    ]
