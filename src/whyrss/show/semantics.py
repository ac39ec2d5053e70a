"""The kernel's semantics as text, an experiment at a time, and as the document of --json."""

from __future__ import annotations

import json

from whyrss.show.text import wrap
from whyrss.show.units import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from whyrss.lab.semantics.row import Row

MARKS = {True: "holds", False: "CONTRADICTED", None: "not tried"}
COLOURS = {True: "\x1b[32m", False: "\x1b[1;31m", None: "\x1b[33m"}
OFF = "\x1b[0m"
INDENT = "    "
LABEL_WIDTH = len("expected  ")


def show(rows: Sequence[Row], colours: bool = False) -> str:
    """Each row in lines of at most 80 columns, and a count at the end. Ends with a newline."""
    parts = ["\n".join(_row(row, colours)) for row in rows]
    return "\n\n".join([*parts, summary(rows)]) + "\n"


def summary(rows: Sequence[Row]) -> str:
    counts = {holds: sum(row.holds is holds for row in rows) for holds in MARKS}
    return f"{counts[True]} hold, {counts[False]} contradicted, {counts[None]} not tried here."


def to_json(rows: Sequence[Row]) -> str:
    """{"experiments": [the rows]}, where `holds` is true, false or null. Ends with a newline."""
    return json.dumps({"experiments": [row.as_dict() for row in rows]}, indent=2) + "\n"


def _row(row: Row, colours: bool) -> list[str]:
    mark = f"{COLOURS[row.holds]}{MARKS[row.holds]}{OFF}" if colours else MARKS[row.holds]
    lines = [f"{mark}  {row.name}", *wrap(row.what, INDENT)]
    lines += _labelled("expected", row.expected)
    lines += _labelled("measured", ", ".join(_figure(*each) for each in row.measured.items()))
    lines += _labelled("why not", row.reason)
    return lines + _labelled("because", row.because)


def _labelled(label: str, text: str) -> list[str]:
    first = INDENT + f"{label:<{LABEL_WIDTH}}"
    return wrap(text, " " * len(first), first) if text else []


def _figure(name: str, value: int | str) -> str:
    """ "rss_after_bytes" and 0 as "rss after 0 B", "zero_pages" and 12 as "zero 12 pages"."""
    if isinstance(value, int) and name.endswith("_bytes"):
        return f"{name.removesuffix('_bytes').replace('_', ' ')} {size(value)}"
    if name.endswith("_pages"):
        return f"{name.removesuffix('_pages').replace('_', ' ')} {value} pages"
    return f"{name} {value}"
