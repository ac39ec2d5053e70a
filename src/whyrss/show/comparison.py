"""The model beside real Go programs: a table of 80 columns for a terminal, or Markdown."""

from __future__ import annotations

from whyrss.lab.comparison import BOUND_BYTES, BOUND_SHARE
from whyrss.show.text import clean, wrap
from whyrss.show.units import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from whyrss.lab.comparison import Comparison, Row

PHASE_WIDTH = 23
NAMES = {"rss_bytes": "RSS", "lazyfree_bytes": "LazyFree"}
COUNTS = ("NumGC",)
NEVER_BYTES = 1 << 62  # a NextGC above it stands for GOGC=off (runtime/mgcpacer.go)
HEADER = ("phase", "figure", "model", "Go", "error", "", "")
BOUND = f"{BOUND_SHARE:.0%} or {size(BOUND_BYTES)}".replace("%", " %").replace(".0", "")


def show(comparisons: Sequence[Comparison]) -> str:
    """A table for each version of Go, its summary below it; ends in a newline."""
    return "\n".join("\n".join([*_table(one), "", *_summary(one), ""]) for one in comparisons)


def to_markdown(comparisons: Sequence[Comparison]) -> str:
    """The same for a document."""
    parts = []
    for one in comparisons:
        cells = [("phase", "figure", "model", "Go", "error", "%", "within"), ("---", "---", *["---:"] * 4, "---")]
        rows = [f"| {' | '.join(row)} |" for row in [*cells, *_cells(one)]]
        parts.append("\n".join([f"### {one.go}", "", *rows, "", *_summary(one)]))
    return "\n\n".join(parts) + "\n"


def _table(comparison: Comparison) -> list[str]:
    lines = [_line(HEADER)]
    before = ""
    for cells in _cells(comparison):
        label = _short(cells[0]) if cells[0] != before else ""
        lines.append(_line((label, *cells[1:])))
        before = cells[0]
    return lines


def _line(cells: Sequence[str]) -> str:
    label, figure, model, go, error, percent, mark = cells
    return f"{label:<{PHASE_WIDTH}} {figure:<12} {model:>9} {go:>9} {error:>10} {percent:>8} {mark}".rstrip()


def _cells(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for row in comparison.rows:
        mark = "moving" if row.moving else "" if not row.bounded else "ok" if row.within else "FAR"
        label = f"{row.phase} {clean(row.label)}"
        yield label, _name(row), _value(row, row.model), _value(row, row.go), *_error(row), mark


def _error(row: Row) -> tuple[str, str]:
    """The difference and its share of Go's figure; nothing where either stands for "never"."""
    if max(row.model, row.go) > NEVER_BYTES:
        return "", ""
    sign = "+" if row.difference > 0 else "-" if row.difference < 0 else ""
    percent = f"{100 * row.difference / row.go:+.1f} %" if row.go and row.difference else ""
    return sign + _value(row, abs(row.difference)), percent if len(percent) <= 8 else ""


def _value(row: Row, value: int) -> str:
    if row.figure in COUNTS:
        return str(value)
    return size(value) if value <= NEVER_BYTES else "never"


def _name(row: Row) -> str:
    return NAMES.get(row.figure, row.figure)


def _short(label: str) -> str:
    return label if len(label) <= PHASE_WIDTH else label[: PHASE_WIDTH - 1] + "…"


def _summary(comparison: Comparison) -> list[str]:
    bounded = comparison.bounded
    good = sum(row.within for row in bounded)
    worst = comparison.worst()
    error, percent = _error(worst)
    error += f" ({percent})" if percent else ""
    where = f"{_name(worst)} after phase {worst.phase} ({clean(worst.label)})"
    text = f"{comparison.go}: {good} of {len(bounded)} figures within {BOUND}; worst: {where}, {error}."
    notes = [line for note in comparison.notes for line in wrap(clean(note), "  ")]
    return [*wrap(text), *notes]
