"""Line charts as SVG, without a dependency: bytes over seconds, readable on a light and on a dark page.

No script, nothing from outside, and the same text for the same data.
"""

from __future__ import annotations

from whyrss.show.ticks import size_ticks, time_ticks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Point = tuple[float, float]

WIDTH, HEIGHT = 860, 480
LEFT, RIGHT, BOTTOM = 74, 24, 84
TITLE_HEIGHT = 62
ROW_HEIGHT = 15
ROWS_MOST = 4
CHAR_WIDTH = 6.1  # of the labels' 11 px in the fonts below, on average
LEGEND_CHAR_WIDTH = 7.6
SAME_MARK = 9.0  # px: marks that are closer share one label

# Colours after Okabe and Ito, which also people tell apart who see few colours: on a light page, on a dark one.
COLOURS = (
    *(("#d55e00", "#ff8a3c"), ("#0072b2", "#56b4e9"), ("#009e73", "#2fd6a5")),
    *(("#aa4a9c", "#e08fd0"), ("#7a7a7a", "#a0a0a0"), ("#1a1a1a", "#ffffff")),
)
STYLE = """
text{{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#444}}
.page{{fill:#fff}}.title{{font-size:17px;font-weight:600;fill:#111}}.mark{{font-size:11px;fill:#666}}
.grid{{stroke:#e6e6e6}}.axis{{stroke:#888}}.edge{{stroke:#999;stroke-dasharray:1.5 3}}
polyline,.key{{fill:none;stroke-linejoin:round;stroke-linecap:round}}.second{{stroke-dasharray:7 5}}
{light}
@media(prefers-color-scheme:dark){{
text{{fill:#bbb}}.page{{fill:#14171c}}.title{{fill:#f2f2f2}}.mark{{fill:#9a9a9a}}
.grid{{stroke:#2b3038}}.axis{{stroke:#777}}.edge{{stroke:#6a7079}}
{dark}
}}
"""


class Series:
    """One curve: points (seconds, bytes) in order of time. `colour` is a number in COLOURS; `second`: dashed;
    `width`, in px, tells curves apart where they lie on each other."""

    __slots__ = ("colour", "name", "points", "second", "width")

    def __init__(
        self, name: str, points: Sequence[Point], colour: int, second: bool = False, width: float = 2.0
    ) -> None:
        self.name = name
        self.points = points
        self.colour = colour
        self.second = second
        self.width = width


def chart(
    series: Sequence[Series],
    title: str,
    subtitle: str = "",
    x_label: str = "time",
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """The file's text. `marks` are moments in seconds, in order, with what begins there."""
    frame = _Frame(series, marks)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img">',
        f"<title>{escape(f'{title}: {subtitle}' if subtitle else title)}</title>",
        f"<style>{_style()}</style>",
        f'<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        _text(24, 30, title, "title"),
        _text(24, 50, subtitle),
        *_axes(frame, x_label),
        *_marks(frame),
        *(_curve(frame, each) for each in series),
        *_legend(series),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """Safe within an element or a quoted attribute; what XML has no form for is left out."""
    allowed = "".join(char for char in text if char.isprintable() or char == " ")
    return allowed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


class _Frame:
    """Where seconds and bytes lie on the picture."""

    def __init__(self, series: Sequence[Series], marks: Sequence[tuple[float, str]]) -> None:
        points = [point for each in series for point in each.points]
        self.most_s = max((seconds for seconds, _ in points), default=0.0) or 1.0
        self.size_ticks = size_ticks(int(max((value for _, value in points), default=0)))
        self.most_bytes = self.size_ticks[-1][0]
        self.marks = _groups([(self.x(seconds), text) for seconds, text in marks])
        self.rows = _in_rows(self.marks)
        used = 1 + max((row for row in self.rows if row is not None), default=-1)
        self.top = TITLE_HEIGHT + used * ROW_HEIGHT + 8
        self.bottom = HEIGHT - BOTTOM

    def x(self, seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * seconds / self.most_s

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * value / self.most_bytes


def _style() -> str:
    light, dark = (
        "".join(f".c{number}{{{{stroke:{pair[side]}}}}}" for number, pair in enumerate(COLOURS))
        .replace("{{", "{")
        .replace("}}", "}")
        for side in (0, 1)
    )
    return STYLE.format(light=light, dark=dark)


def _axes(frame: _Frame, x_label: str) -> Iterator[str]:
    for value, text in frame.size_ticks:
        y = frame.y(value)
        yield _line(LEFT, y, WIDTH - RIGHT, y, "axis" if value == 0 else "grid")
        yield _text(LEFT - 8, y + 4, text, anchor="end")
    for seconds, text in time_ticks(frame.most_s):
        x = frame.x(seconds)
        yield _line(x, frame.bottom, x, frame.bottom + 5, "axis")
        yield _text(x, frame.bottom + 19, text, anchor="middle")
    yield _text(WIDTH - RIGHT, frame.bottom + 36, x_label, anchor="end")


def _marks(frame: _Frame) -> Iterator[str]:
    for (x, text), row in zip(frame.marks, frame.rows, strict=True):
        top = frame.top if row is None else TITLE_HEIGHT + row * ROW_HEIGHT + 2
        yield _line(x, top, x, frame.bottom, "edge")
        if row is not None:
            left = _label_left(x, text)
            yield _text(left, top + 9, text, "mark")


def _groups(marks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Marks that nearly coincide as one, at the first of them."""
    groups: list[tuple[float, list[str]]] = []
    for x, text in marks:
        if groups and x - groups[-1][0] < SAME_MARK:
            groups[-1][1].append(text)
        else:
            groups.append((x, [text]))
    most = int((WIDTH - LEFT - RIGHT) / CHAR_WIDTH)
    return [(x, _cut(", ".join(texts), most)) for x, texts in groups]


def _in_rows(marks: list[tuple[float, str]]) -> list[int | None]:
    """The row of each label, so that no two overlap; None where there is no room for it."""
    ends = [0.0] * ROWS_MOST
    rows: list[int | None] = []
    for x, text in marks:
        left = _label_left(x, text)
        row = next((number for number, end in enumerate(ends) if end <= left), None)
        if row is not None:
            ends[row] = left + (len(text) + 2) * CHAR_WIDTH
        rows.append(row)
    return rows


def _label_left(x: float, text: str) -> float:
    """Right of its line, or left of it where the picture ends."""
    width = len(text) * CHAR_WIDTH
    return x + 4 if x + 4 + width <= WIDTH - 4 else max(4.0, min(x - 4, WIDTH - 4) - width)


def _curve(frame: _Frame, series: Series) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in _thinned(frame, series.points))
    return f'<polyline class="{_classes(series)}" stroke-width="{series.width:g}" points="{points}"/>'


def _thinned(frame: _Frame, points: Sequence[Point]) -> list[Point]:
    """Without the points that change nothing: the same place again, the middle of a level stretch."""
    kept: list[Point] = []
    for seconds, value in points:
        point = round(frame.x(seconds), 1), round(frame.y(value), 1)
        if kept and point == kept[-1]:
            continue
        if len(kept) > 1 and kept[-2][1] == kept[-1][1] == point[1]:
            kept.pop()
        kept.append(point)
    return kept


def _legend(series: Sequence[Series]) -> Iterator[str]:
    """In lines below the axis, each as long as the picture is wide."""
    x, y = float(LEFT), HEIGHT - BOTTOM + 52.0
    for each in series:
        width = 34 + len(each.name) * LEGEND_CHAR_WIDTH + 14
        if x + width > WIDTH and x > LEFT:
            x, y = float(LEFT), y + 20
        yield (
            f'<path class="key {_classes(each)}" stroke-width="{max(each.width, 2):g}" d="M{x:.1f} {y - 4:.1f}h26"/>'
        )
        yield _text(x + 33, y, each.name)
        x += width


def _classes(series: Series) -> str:
    return f"c{series.colour % len(COLOURS)}{' second' if series.second else ''}"


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "") -> str:
    if not text:
        return ""
    attributes = (f' class="{kind}"' if kind else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(text)}</text>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
