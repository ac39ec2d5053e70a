"""The curves of a course on a terminal, drawn by plotext where it is installed."""

from __future__ import annotations

from whyrss.show.curves import SECOND, curves_of, points_of
from whyrss.show.ticks import size_ticks, time_ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from whyrss.show.curves import Curve, Document
    from whyrss.show.svg import Point

HEIGHT = 20
HINT = "No plot: plotext 5 is not installed; pip install 'whyrss[plot]'"


def plot_lines(document: Document, colours: bool, width: int) -> list[str]:
    """The lines of the plot and its legend; without plotext one line that says how to get it."""
    from importlib import import_module  # it has no types

    try:
        plotext = import_module("plotext")
    except ImportError:
        return [HINT]
    if not hasattr(plotext, "clear_figure"):  # plotext 6 has another interface
        return [HINT]
    curves = curves_of(document)
    canvas = _drawn(plotext, curves, colours, width)
    return [line.rstrip() for line in canvas.splitlines()] + _legend(curves, colours, width)


def _drawn(plotext: Any, curves: Sequence[Curve], colours: bool, width: int) -> str:
    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plot_size(width, HEIGHT)
    plotext.theme("clear")
    inner, most_s = _axes(plotext, curves, width)
    for curve in curves:
        _draw(plotext.plot, curve, points_of(curve[2], curve[0].key), colours)
    for number, curve in enumerate(curves):
        # Once more, in columns of its own: where curves lie on each other, each shows now and then.
        columns = range(number, inner, len(curves))
        _draw(
            plotext.scatter, curve, _now_and_then(points_of(curve[2], curve[0].key), columns, inner, most_s), colours
        )
    canvas: str = plotext.build()
    plotext.clear_figure()
    return canvas if colours else plotext.uncolorize(canvas)


def _draw(how: Callable[..., None], curve: Curve, points: Sequence[Point], colours: bool) -> None:
    seconds, values = [at for at, _ in points], [value for _, value in points]
    how(seconds, values, marker=_marker(curve, colours), color=_ansi(curve))


def _now_and_then(points: Sequence[Point], columns: range, width: int, most_s: float) -> list[Point]:
    """What those columns of a plot, of `width` columns and two braille dots in each, show of a curve."""
    dots = [2 * column + side for column in columns for side in (0, 1)]
    found = []
    after = 0
    for at in (most_s * dot / (2 * width - 1) for dot in dots):
        while after < len(points) - 1 and points[after][0] < at:
            after += 1
        (left_s, left), (right_s, right) = points[max(after - 1, 0)], points[after]
        part = min(1.0, (at - left_s) / (right_s - left_s)) if right_s > left_s else 0.0
        found.append((at, left + (right - left) * part))
    return found


def _axes(plotext: Any, curves: Sequence[Curve], width: int) -> tuple[int, float]:
    """Sets limits and ticks. Returns the columns between the axes, and the seconds that they show."""
    drawn = [point for figure, _, whose, _ in curves for point in points_of(whose, figure.key)]
    most_s = max(seconds for seconds, _ in drawn) or 1.0
    sizes = size_ticks(int(max(value for _, value in drawn)))
    times = time_ticks(most_s)
    plotext.xlim(0, most_s)
    plotext.ylim(0, sizes[-1][0])
    plotext.yticks([at for at, _ in sizes], [text for _, text in sizes])
    plotext.xticks([at for at, _ in times], [text for _, text in times])
    return width - max(len(text) for _, text in sizes) - 2, most_s


def _marker(curve: Curve, colours: bool) -> str:
    figure, second = curve[0], curve[3]
    if colours:
        return "dot" if second else "braille"
    return SECOND[figure.key][0] if second else figure.letter


def _ansi(curve: Curve) -> int:
    return SECOND[curve[0].key][1] if curve[3] else curve[0].ansi


def _legend(curves: Sequence[Curve], colours: bool, width: int) -> list[str]:
    """Below the plot, where it hides no curve."""
    lines: list[str] = []
    used = width
    for curve in curves:
        marker = _marker(curve, colours)
        mark = {"braille": "⣿", "dot": "•"}.get(marker, marker)
        mark = f"\x1b[38;5;{_ansi(curve)}m{mark}\x1b[0m" if colours else mark
        entry = f"{mark} {curve[1]}"
        if used + len(curve[1]) + 5 > width:
            lines.append(entry)
            used = len(curve[1]) + 2
        else:
            lines[-1] += "   " + entry
            used += len(curve[1]) + 5
    return lines
