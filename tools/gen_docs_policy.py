"""Writes docs/policy.md from the tables in whyrss.facts: python tools/gen_docs_policy.py"""

from __future__ import annotations

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":
    sys.path.insert(0, os.path.join(ROOT, "src"))

from whyrss.facts import go as table  # noqa: E402  (src may have to be put on the path first)
from whyrss.facts import kernel as linux  # noqa: E402  (src may have to be put on the path first)
from whyrss.policy import (  # noqa: E402  (src may have to be put on the path first)
    GoVersion,
    decide,
    fact_of,
    parse_godebug,
)

PATH = os.path.join(ROOT, "docs", "policy.md")
MINORS = range(table.FIRST_MINOR, table.LAST_MINOR + 1)
COLUMNS = (
    ("default", "default_advice"),
    ("`madvdontneed=0`", "advice_if_zero"),
    ("`madvdontneed=1`, or any other number", "advice_if_not_zero"),
    ("tried in turn where it fails", "chain"),
    ("`-X runtime.godebugDefault`", "has_godebug_default"),
)
EXAMPLES = (
    ("go1.11", "6.1", ""),
    ("go1.15.15", "6.1", ""),
    ("go1.15.15", "4.9", ""),
    ("go1.15.15", "4.4", ""),
    ("go1.15.15", "6.1", "madvdontneed=1"),
    ("go1.16", "6.1", ""),
    ("go1.27.3", "6.1", "madvdontneed=0"),
)
INTRO = """\
# How each Go release returns memory

When the Go runtime has free heap pages to give back, it tells the kernel so with
`madvise`. The advice decides what becomes of RSS: after `MADV_DONTNEED` it falls at
once, after `MADV_FREE` the pages stay in it until the kernel needs them.
`whyrss policy GOVERSION` or `whyrss policy PID` says which it is, step by step.

This page is written by `tools/gen_docs_policy.py` from `whyrss/facts/go.py` and
`whyrss/facts/kernel.py`. Releases that are not in the table are not guessed.
"""
READING = """\
## How the variable is read

* `GODEBUG` is read when the program starts. `os.Setenv` changes nothing afterwards, and
  the go command of Go 1.21 and later refuses `//go:debug madvdontneed=...`.
* What is set in the environment goes before what is linked in with
  `-ldflags "-X runtime.godebugDefault=..."`.
* The value is a decimal 32-bit integer: 0 asks for `MADV_FREE`, any other, negative ones
  too, for `MADV_DONTNEED`. What is no integer is ignored; a blank beside it makes it none.
* Of a repeated key the last *number* counts: `madvdontneed=0,madvdontneed=x` is 0.
* Go 1.12 to 1.25 read `-` as 0 and ignore `+1`; Go 1.26 and later the other way round.
"""


def generate() -> str:
    """The whole page."""
    parts = [INTRO, "## By release\n", _table(_go_head(), _go_rows()), READING]
    parts += ["## Examples\n", _table(["Go", "Linux", "`GODEBUG`", "advice", "what it means"], _examples())]
    parts += ["## What Linux does\n", _table(["Linux", "fact", "value", "source"], _kernel_rows())]
    parts += ["## Sources\n", _table(["Go", "fact", "value", "source"], _source_rows())]
    return "\n".join(parts)


def _go_head() -> list[str]:
    return ["Go", *(title for title, _ in COLUMNS)]


def _go_rows() -> list[list[str]]:
    """A row for each run of releases that agree in every column."""
    rows: list[list[str]] = []
    first = last = table.FIRST_MINOR
    for minor in MINORS:
        if _cells(minor) != _cells(first):
            rows.append([_range(first, last), *_cells(first)])
            first = minor
        last = minor
    return [*rows, [_range(first, last), *_cells(first)]]


def _cells(minor: int) -> list[str]:
    return [_text(fact_of(minor, fact)[0]) for _, fact in COLUMNS]


def _examples() -> list[list[str]]:
    rows = []
    for version, kernel, godebug in EXAMPLES:
        go = GoVersion.parse(version)
        policy = decide(go, kernel, parse_godebug(godebug, go))
        rows.append([version, kernel, f"`{godebug}`" if godebug else "", _text(policy.advice), policy.rss])
    return rows


def _kernel_rows() -> list[list[str]]:
    return [
        [_kernels(since, until), f"`{fact}`", _text(value), source]
        for since, until, fact, value, source in linux.ROWS
    ]


def _source_rows() -> list[list[str]]:
    return [
        [_range(since, until), f"`{fact}`", _text(value), source] for since, until, fact, value, source in table.ROWS
    ]


def _range(since: int, until: int) -> str:
    return f"1.{since}" if since == until else f"1.{since} to 1.{until}"


def _kernels(since: tuple[int, int] | None, until: tuple[int, int] | None) -> str:
    low = "" if since is None else f"{since[0]}.{since[1]} and later"
    high = "" if until is None else f"before {until[0]}.{until[1]}"
    return ", ".join(filter(None, (low, high))) or "all"


def _text(value: str | bool | tuple[str, ...] | None) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", then ".join(f"`{step}`" for step in value)
    if value is None:
        return "no such variable"
    return f"`{value}`" if value.startswith("MADV") else value


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    with open(PATH, "w", encoding="utf-8") as file:
        file.write(generate())


if __name__ == "__main__":
    main()
