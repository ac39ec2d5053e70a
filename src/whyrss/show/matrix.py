"""The confusion matrix as text, as a page of documentation, and as the document of --json."""

from __future__ import annotations

import json

from whyrss.lab.matrix import DOCUMENTED, LIVE, MEASURED, NOT_CHECKED, SILENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from whyrss.lab.matrix import Row

LETTERS = {"problem": "P", "note": "n", SILENT: ".", NOT_CHECKED: "?"}
VERDICTS = {True: "right", False: "WRONG", None: "skipped"}
PAINTS = {"P": "\x1b[1;31m", "n": "\x1b[33m", "right": "\x1b[32m", "WRONG": "\x1b[1;31m", "skipped": "\x1b[33m"}
OFF = "\x1b[0m"
ORIGINS = {LIVE: "Live", MEASURED: "Recordings", DOCUMENTED: "Documented recordings"}
NAME_WIDTH = 24
GO_WIDTH = 8
CELL_WIDTH = 3
LEGEND_WIDTH = 28
KEY = "P problem, n note, . silent, ? not checked, [ ] the cause that the program has, ( ) one that it has beside it"


def show(rows: Sequence[Row], causes: Sequence[str], colours: bool = False) -> str:
    """A line per row of at most 120 columns with 24 causes, what is wrong below it, the numbers of the columns, and
    how many are right. Ends with a newline."""
    lines = [_head(causes)]
    for before, row in zip((None, *rows), rows, strict=False):
        lines += _row(row, causes, before is not None and before.program == row.program, colours)
    return "\n".join([*lines, "", *_legend(causes), "", KEY + ".", *summary(rows)]) + "\n"


def summary(rows: Sequence[Row]) -> list[str]:
    """A sentence for each kind of row that there is."""
    return [
        f"{title}: {_counted([row for row in rows if row.origin == origin])}."
        for origin, title in ORIGINS.items()
        if any(row.origin == origin for row in rows)
    ]


def to_json(rows: Sequence[Row], causes: Sequence[str]) -> str:
    """{"causes": [names], "rows": [...], "summary": [...]}; `right` is null of a row that was skipped. Ends with a
    newline."""
    document = {"causes": list(causes), "rows": [_as_dict(row) for row in rows], "summary": summary(rows)}
    return json.dumps(document, indent=2) + "\n"


def markdown(rows: Sequence[Row], causes: Sequence[str]) -> str:
    """A table whose columns are numbered, what is wrong or skipped, and the counts. Ends with a newline."""
    numbers = [str(number) for number in range(1, len(causes) + 1)]
    table = [["program", "Go", *numbers, ""], ["---"] * (len(causes) + 3)]
    table += [_markdown_row(row, causes) for row in rows]
    lines = [f"| {' | '.join(cells)} |" for cells in table]
    remarks = [f"* {row.program}, Go {row.go or '-'}: {text}" for row in rows for text in _remarks(row)]
    return "\n".join([*lines, "", *(remarks and [*remarks, ""]), *_counts_as_list(rows)]) + "\n"


def _head(causes: Sequence[str]) -> str:
    numbers = "".join(f"{number:^{CELL_WIDTH}}" for number in range(1, len(causes) + 1))
    return (f"{'program':<{NAME_WIDTH}} {'Go':<{GO_WIDTH}} " + numbers).rstrip()


def _row(row: Row, causes: Sequence[str], again: bool, colours: bool) -> list[str]:
    label = "" if again else row.program
    cells = "".join(_cell(row, cause, colours) for cause in causes) if not row.skipped else ""
    verdict = _paint(VERDICTS[row.right], VERDICTS[row.right], colours)
    line = f"{label:<{NAME_WIDTH}} {row.go or '-':<{GO_WIDTH}} {cells or ' ' * CELL_WIDTH * len(causes)} {verdict}"
    return [line, *(f"{'':<{NAME_WIDTH}}   {text}" for text in _remarks(row))]


def _cell(row: Row, cause: str, colours: bool) -> str:
    letter, brackets = _letter(row, cause), _brackets(row, cause)
    return brackets[0] + _paint(letter, letter, colours) + brackets[1]


def _letter(row: Row, cause: str) -> str:
    return LETTERS[row.marks.get(cause, NOT_CHECKED)]


def _brackets(row: Row, cause: str) -> str:
    if cause == row.expected.cause:
        return "[]"
    return "()" if cause in row.expected.beside else "  "


def _paint(text: str, kind: str, colours: bool) -> str:
    return f"{PAINTS[kind]}{text}{OFF}" if colours and kind in PAINTS else text


def _remarks(row: Row) -> list[str]:
    return [row.skipped] if row.skipped else row.wrong


def _legend(causes: Sequence[str]) -> list[str]:
    """The numbers and names in as many columns as fit."""
    entries = [f"{number:>2} {name}" for number, name in enumerate(causes, 1)]
    columns = 4
    height = -(-len(entries) // columns)
    return ["".join(f"{entry:<{LEGEND_WIDTH}}" for entry in entries[line::height]).rstrip() for line in range(height)]


def _counted(rows: Sequence[Row]) -> str:
    ran = [row for row in rows if not row.skipped]
    right = sum(row.right is True for row in ran)
    alarms = sum(len(row.false_alarms) for row in ran)
    unseen = sum(mark == NOT_CHECKED for row in ran for mark in row.marks.values())
    cells = sum(len(row.marks) for row in ran)
    skipped = f", {len(rows) - len(ran)} skipped" if len(rows) > len(ran) else ""
    plural = "" if alarms == 1 else "s"
    return (
        f"{right} of {len(ran)} top verdicts are right, {alarms} false alarm{plural}{skipped}; "
        f"{unseen} of {cells} cells were not checked"
    )


def _as_dict(row: Row) -> dict[str, object]:
    return {
        "program": row.program,
        "go": row.go or None,
        "origin": row.origin,
        "expected": row.expected.cause or None,
        "weight": row.expected.weight if row.expected.cause else None,
        "beside": list(row.expected.beside),
        "looks": row.looks,
        "marks": row.marks,
        "right": row.right,
        "wrong": row.wrong,
        "false_alarms": row.false_alarms,
        "skipped": row.skipped or None,
    }


def _markdown_row(row: Row, causes: Sequence[str]) -> list[str]:
    """The expected cause in bold."""
    cells = [_markdown_cell(row, cause) for cause in causes] if not row.skipped else [""] * len(causes)
    return [row.program, row.go or "-", *cells, VERDICTS[row.right]]


def _markdown_cell(row: Row, cause: str) -> str:
    letter = _letter(row, cause)
    return {"[]": f"**{letter}**", "()": f"({letter})"}.get(_brackets(row, cause), letter)


def _counts_as_list(rows: Sequence[Row]) -> list[str]:
    return [f"* {line}" for line in summary(rows)]
