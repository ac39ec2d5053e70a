"""The files whyrss/facts/layouts/ARCH.json: read into one entry for each release, and written with nothing twice."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "src" / "whyrss" / "facts" / "layouts"
ARCHITECTURES = ("amd64", "arm64")
ABOUT = (
    "Where the Go runtime keeps the fields of its structures, in bytes. releases: RELEASE: LAYOUT, HOW it was "
    "obtained, then, where it was compared, NUMBER of values equal to DWARF, NUMBER equal to offsets known before. "
    "layouts: which form of each of the structures, in their order, - for none. structs: the forms, each SIZE "
    "FIELD=OFFSET:WIDTH[:ITS STRUCTURE]. Written by tools/gen_layouts.py, all in strings: whyrss/goheap/layout.py "
    "reads it without a JSON parser."
)
HOW = {
    "source": "source of this release, of a toolchain or a package",
    "tag": "source of this release, by its tag in Go's repository",
}

ABSENT = "-"

Structs = Mapping[str, str]


@dataclass
class Entry:
    """The layout of one release: each structure's text; how it was obtained; how many values were compared."""

    how: str
    structs: Structs
    dwarf_values: int = 0
    known_values: int = 0


@dataclass(order=True, frozen=True)
class Release:
    """A key of the table, in the order of time: "1.25.5", "1.25.5 X:greenteagc"."""

    minor: int
    patch: int
    experiments: str = field(default="")

    @classmethod
    def parse(cls, text: str) -> Release:
        """Raises ValueError for what is no release."""
        found = re.fullmatch(r"1\.(\d+)(?:\.(\d+))?(?: X:(\w+))?", text, re.ASCII)
        if not found:
            raise ValueError(f"{text!r} is no release of Go, such as 1.18 or 1.25.5")
        return cls(int(found[1]), int(found[2] or 0), found[3] or "")


Entries = dict[str, Entry]


def read(path: Path) -> Entries:
    """What a file holds; nothing where there is none."""
    if not path.exists():
        return {}
    data = json.loads(path.read_text())
    entries = {}
    for name, text in data["releases"].items():
        key, how, *counts = text.split()
        forms = zip(data["structs"].items(), data["layouts"][key].split(), strict=True)
        structs = {struct: texts[int(at)] for (struct, texts), at in forms if at != ABSENT}
        entries[name] = Entry(how, structs, *map(int, counts))
    return entries


def write(path: Path, entries: Entries) -> None:
    """Store each distinct layout once, under its first release, and each distinct form of a structure once."""
    structs: dict[str, list[str]] = {name: [] for name in sorted({s for e in entries.values() for s in e.structs})}
    keys: dict[str, str] = {}
    releases = {}
    for name in sorted(entries, key=Release.parse):
        entry = entries[name]
        text = " ".join(_place(forms, entry.structs.get(struct)) for struct, forms in structs.items())
        key = keys.setdefault(text, name.replace(" ", "-"))
        counts = f" {entry.dwarf_values} {entry.known_values}" if entry.dwarf_values or entry.known_values else ""
        releases[name] = f"{key} {entry.how}{counts}"
    layouts = {key: text for text, key in keys.items()}
    path.write_text(_dump({"releases": releases, "layouts": layouts, "structs": structs}))


def _place(forms: list[str], form: str | None) -> str:
    if form is None:
        return ABSENT
    if form not in forms:
        forms.append(form)
    return str(forms.index(form))


def _dump(sections: Mapping[str, Mapping[str, str | list[str]]]) -> str:
    """JSON with a line for each string, so that a new release shows as new lines."""
    parts = [f'"about": {json.dumps(ABOUT)}', _section("how", HOW)]
    parts += [_section(name, section) for name, section in sections.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _section(name: str, section: Mapping[str, str | list[str]]) -> str:
    lines = [f"{json.dumps(key)}: {_value(value)}" for key, value in section.items()]
    return f'"{name}": {{\n' + ",\n".join(lines) + "\n}"


def _value(value: str | list[str]) -> str:
    return json.dumps(value) if isinstance(value, str) else "[\n" + ",\n".join(map(json.dumps, value)) + "]"
