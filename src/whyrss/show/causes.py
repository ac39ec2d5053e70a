"""The catalogue for a terminal of 80 columns: the list of causes, and the page of one, which is its docstring."""

from __future__ import annotations

import sys

from whyrss.show.text import COLOURS, PLAIN, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from whyrss.finding import Entry

NAME_WIDTH = 22
INDENT = "  "
BY_HAND = "By hand:"
BULLETS = ("* ", "- ")


class Page:
    """What the docstring of a cause says: `lead` is its first sentence, `sections` its headings in their order, each
    with its paragraphs. A paragraph is one line without its breaks, or an example: lines that keep theirs and begin
    with four blanks."""

    __slots__ = ("lead", "sections")

    def __init__(self, lead: str, sections: list[tuple[str, list[str]]]) -> None:
        self.lead = lead
        self.sections = sections


def parse_page(text: str) -> Page:
    """Headings stand at the margin, their text is indented by four; "By hand:" begins a paragraph of its own."""
    lead: list[str] = []
    sections: list[tuple[str, list[str]]] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        at_margin = bool(line.strip()) and not line.startswith(" ")
        if at_margin and _is_heading(lines, number):
            sections.append((line.strip(), [""]))
        elif not sections:
            lead.append(line.strip())
        else:
            _add(sections[-1][1], line.removeprefix("    ").rstrip())
    made = [(heading, [each for each in paragraphs if each]) for heading, paragraphs in sections]
    return Page(" ".join(filter(None, lead)), made)


def page_of(entry: Entry) -> Page:
    """Imports the cause's file."""
    module = sys.modules[entry.load().look.__module__]
    return parse_page(module.__doc__ or "(python -OO leaves the pages out)")


def show_list(groups: Mapping[str, Sequence[Entry]], colours: bool = False) -> str:
    """A heading for each group, a line for each cause; a title that does not fit is continued below itself. Ends
    with a newline."""
    paint = COLOURS if colours else PLAIN
    parts = []
    for heading, entries in groups.items():
        lines = [paint["bold"] + heading + paint["off"]]
        for entry in entries:
            first = f"{INDENT}{entry.name:<{NAME_WIDTH}}  "
            lines += wrap(entry.load().title, " " * len(first), first)
        parts += ["\n".join(lines)] if entries else []
    return "\n\n".join([*parts, "whyrss causes NAME: one of them in full."]) + "\n"


def show_page(entry: Entry, group: str, reproduce: str, colours: bool = False) -> str:
    """The whole page; `reproduce` says how to, or is empty. Ends with a newline."""
    paint = COLOURS if colours else PLAIN
    page = page_of(entry)
    head = wrap(f"{entry.name}: {entry.load().title}")
    lead = f"{page.lead} (Group: {group}.)"
    parts = ["\n".join(paint["bold"] + line + paint["off"] for line in head), "\n".join(wrap(lead))]
    sections = [*page.sections, *([("Reproduce", [reproduce])] if reproduce else [])]
    for heading, paragraphs in sections:
        body = [line for paragraph in paragraphs for line in _paragraph(paragraph, paint)]
        parts.append("\n".join([paint["bold"] + heading + paint["off"], *body]))
    return "\n\n".join(parts) + "\n"


def as_dict(entry: Entry, group: str, in_full: bool) -> dict[str, object]:
    """For --json: {"name", "title", "group", "any_program"}, and in full also "lead" and "sections", an object of
    lists of paragraphs."""
    short: dict[str, object] = {
        "name": entry.name,
        "title": entry.load().title,
        "group": group,
        "any_program": entry.any_program,
    }
    if not in_full:
        return short
    page = page_of(entry)
    return short | {"lead": page.lead, "sections": dict(page.sections)}


def ranges(versions: Sequence[str]) -> str:
    """ "1.15, 1.19, 1.21 to 1.27": releases one after the other as a range, patch releases by themselves."""
    runs: list[list[str]] = []
    for version in versions:
        follows = runs and _minor(runs[-1][-1]) is not None and _minor(version) == (_minor(runs[-1][-1]) or 0) + 1
        if follows:
            runs[-1].append(version)
        else:
            runs.append([version])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs)


def _minor(version: str) -> int | None:
    """27 of "1.27"; None of a patch release."""
    major, _, minor = version.partition(".")
    return int(minor) if major == "1" and minor.isdigit() else None


def _is_heading(lines: list[str], number: int) -> bool:
    """The docstring's first sentence has no indented text right below it."""
    return number > 0 and number + 1 < len(lines) and lines[number + 1].startswith("    ")


def _add(paragraphs: list[str], line: str) -> None:
    """A line to the last paragraph, or the beginning of another one."""
    if not line:
        paragraphs.append("")
    elif line.startswith("    "):
        verbatim = paragraphs[-1].startswith("    ")
        if verbatim:
            paragraphs[-1] += "\n" + line
        else:
            paragraphs.append(line)
    elif line.startswith((BY_HAND, *BULLETS)) or paragraphs[-1].startswith("    "):
        paragraphs.append(line)
    else:
        paragraphs[-1] += f" {line.strip()}" if paragraphs[-1] else line.strip()


def _paragraph(text: str, paint: Mapping[str, str]) -> list[str]:
    if text.startswith("    "):
        return [f"{INDENT}{line}" for line in text.splitlines()]
    if text.startswith(BULLETS):
        return wrap(text[2:], INDENT * 2, f"{INDENT}{text[:2]}")
    lines = wrap(text, INDENT)
    if text.startswith(BY_HAND):
        lines[0] = lines[0].replace(BY_HAND, paint["bold"] + BY_HAND + paint["off"], 1)
    return lines
