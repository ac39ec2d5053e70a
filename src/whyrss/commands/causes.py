"""`whyrss causes [NAME]`: the catalogue, or the page of one cause."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys

from whyrss.causes import GROUPS
from whyrss.errors import UsageError
from whyrss.lab.causes import EXPERIMENTS
from whyrss.show import causes as view

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.finding import Entry


def run(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    colours = "NO_COLOR" not in os.environ and sys.stdout.isatty()
    if options.name is None:
        sys.stdout.write(_list_json() if options.json else view.show_list(GROUPS, colours))
        return 0
    entry, group = find(options.name)
    if options.json:
        sys.stdout.write(json.dumps(view.as_dict(entry, group, in_full=True), indent=2) + "\n")
    else:
        sys.stdout.write(view.show_page(entry, group, _reproduce(entry.name), colours))
    return 0


def find(name: str) -> tuple[Entry, str]:
    """A cause and its group. Raises UsageError with the names that are near."""
    wanted = name.lower().replace("_", "-")
    for group, entries in GROUPS.items():
        for entry in entries:
            if entry.name == wanted:
                return entry, group
    names = [entry.name for entries in GROUPS.values() for entry in entries]
    near = [each for each in names if len(wanted) > 2 and wanted in each]
    near += [each for each in difflib.get_close_matches(wanted, names) if each not in near]
    hint = f"did you mean {' or '.join(near[:3])}?" if near else "the list: whyrss causes"
    raise UsageError(f"no cause {name!r}", hint)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whyrss causes",
        description="The causes that whyrss knows, in the order in which they are looked at; or what is known of "
        "one: why the memory is resident, how that is measured, when it is no problem, and the fix.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="for example lazyfree")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser


def _list_json() -> str:
    found = [view.as_dict(entry, group, in_full=False) for group, entries in GROUPS.items() for entry in entries]
    return json.dumps({"causes": found}, indent=2) + "\n"


def _reproduce(name: str) -> str:
    experiment = EXPERIMENTS.get(name)
    return f"whyrss lab {name} --go VERSION: {view.ranges(experiment.versions)}." if experiment else ""
