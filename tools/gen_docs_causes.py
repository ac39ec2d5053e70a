"""Writes docs/causes from the docstrings of the causes, and with --matrix also docs/matrix.md, for which it runs the
program of every cause: python tools/gen_docs_causes.py [--matrix]"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))

from whyrss.causes import CAUSES, GROUPS  # noqa: E402  (src may have to be put on the path first)
from whyrss.finding import Entry  # noqa: E402  (src may have to be put on the path first)
from whyrss.lab import matrix  # noqa: E402  (src may have to be put on the path first)
from whyrss.lab.causes import EXPERIMENTS, SIZE_MIB  # noqa: E402  (src may have to be put on the path first)
from whyrss.show.causes import (  # noqa: E402  (src may have to be put on the path first)
    BULLETS,
    BY_HAND,
    page_of,
    ranges,
)
from whyrss.show.matrix import KEY, markdown  # noqa: E402  (src may have to be put on the path first)

FOLDER = ROOT / "docs" / "causes"
MATRIX = ROOT / "docs" / "matrix.md"
RECORDINGS = ROOT / "tests" / "recordings"
WRITTEN = "This page is written by `tools/gen_docs_causes.py` from `src/whyrss/causes/{}.py`."
INDEX = """\
# The causes

Why memory is resident, one page for each cause that whyrss knows: how it is measured, with what error, how to
check it by hand, when it is no problem, and what to do. `whyrss causes NAME` shows the same. They stand in
the order in which they are looked at: the special before the general, and no byte is claimed twice. [The
matrix](../matrix.md) shows that each speaks of its own program and is silent about the others.

`tools/gen_docs_causes.py` writes these pages from the docstrings of `src/whyrss/causes`. The releases of Go
are those that were tried here.
"""
MATRIX_INTRO = """\
# The confusion matrix

Each cause has a program that produces it (`whyrss lab CAUSE`). Here every cause is asked about every one of
these programs, built by several releases of Go, and about three healthy programs. A row is right when the
first finding is the program's own cause with its own weight, and nothing is a problem that the program does
not have; a healthy program has no problem at all. A program that moves is looked at three times, and every
look has to be right.

`whyrss lab matrix` makes the first table again on your machine, `whyrss lab matrix tests/recordings/*` the
second.
"""


def pages() -> dict[str, str]:
    """The name of each file of docs/causes, and what it has to hold."""
    made = {"README.md": _index()}
    for group, entries in GROUPS.items():
        made |= {f"{entry.name}.md": _page(entry, group) for entry in entries}
    return made


def write_pages(folder: Path = FOLDER) -> None:
    """Also removes the pages of causes that are no more."""
    folder.mkdir(exist_ok=True)
    wanted = pages()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")
    for path in folder.glob("*.md"):
        if path.name not in wanted:
            path.unlink()


def matrix_page(live: list[matrix.Row], recorded: list[matrix.Row]) -> str:
    names = [cause.name for cause in CAUSES]
    columns = [f"{number}. [{name}](causes/{name}.md)" for number, name in enumerate(names, 1)]
    key = KEY.replace("[ ]", "bold:").replace("( )", "in brackets:")
    parts = [MATRIX_INTRO, "The columns:\n", "\n".join(columns), f"\n{key}.\n"]
    parts += [f"## Programs that run ({SIZE_MIB} MiB)\n", markdown(live, names)]
    parts += ["## Recordings\n", markdown(recorded, names)]
    return "\n".join(parts)


def _index() -> str:
    parts = [INDEX]
    for group, entries in GROUPS.items():
        if entries:
            lines = ["| cause | | Go | |", "|---|---|---|---|"]
            lines += [_line(entry) for entry in entries]
            parts += [f"## {group}\n", "\n".join(lines) + "\n"]
    return "\n".join(parts)


def _line(entry: Entry) -> str:
    lab = f"`whyrss lab {entry.name}`" if entry.name in EXPERIMENTS else ""
    return f"| [{entry.name}]({entry.name}.md) | {entry.load().title} | {_releases(entry)} | {lab} |"


def _page(entry: Entry, group: str) -> str:
    page = page_of(entry)
    parts = [f"# {entry.name}\n\n{page.lead}\n"]
    applies = f"{group}. Go: {_releases(entry)}."
    parts.append(applies + (" Also programs that are not Go's.\n" if entry.any_program else "\n"))
    for heading, paragraphs in page.sections:
        parts += [f"## {heading}\n", *(_paragraph(text) + "\n" for text in paragraphs)]
    parts += _reproduce(entry)
    file = entry.name.replace("-", "_")
    return "\n".join([*parts, f"[All causes](README.md). {WRITTEN.format(file)}"]) + "\n"


def _releases(entry: Entry) -> str:
    experiment = EXPERIMENTS.get(entry.name)
    return ranges(experiment.versions) if experiment else "-"


def _reproduce(entry: Entry) -> list[str]:
    experiment = EXPERIMENTS.get(entry.name)
    if experiment is None:
        return []
    command = f"whyrss lab {entry.name} --go {experiment.versions[-1]}"
    about = experiment.about[0].upper() + experiment.about[1:]
    return ["## Reproduce\n", f"{about}:\n", f"```\n{command}\n```\n"]


def _paragraph(text: str) -> str:
    if text.startswith("    "):
        return "```\n" + "\n".join(line[4:] for line in text.splitlines()) + "\n```"
    bullet = text[:2] if text.startswith(BULLETS) else ""
    made = bullet + _escaped(text[len(bullet) :])
    return made.replace(BY_HAND, f"**{BY_HAND}**", 1) if made.startswith(BY_HAND) else made


def _escaped(text: str) -> str:
    """What Markdown would take as its own, outside of code."""
    parts = text.split("`")
    parts[::2] = [re.sub(r"([*<_\[])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def _live() -> list[matrix.Row]:
    rows = []
    for experiment, go in matrix.plan():
        print(f"{experiment.name} by Go {go}", file=sys.stderr)
        rows.append(matrix.run_live(experiment, go, SIZE_MIB))
    return rows


def main() -> None:
    write_pages()
    if "--matrix" in sys.argv[1:]:
        recorded = [matrix.run_recording(str(path)) for path in sorted(RECORDINGS.iterdir())]
        MATRIX.write_text(matrix_page(_live(), recorded), encoding="utf-8")


if __name__ == "__main__":
    main()
