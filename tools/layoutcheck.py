"""Comparisons of layouts: with DWARF, and with offsets known before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tools.layoutfiles import Structs

Values = dict[str, int]  # "mspan" -> size, "mspan.nelems" -> offset, "mspan.nelems.w" -> width


class Mismatch(Exception):
    """Two sources of one layout disagree."""


def values_of(structs: Structs) -> Values:
    """All numbers of a layout by name."""
    values: Values = {}
    for struct, text in structs.items():
        size, *fields = text.split()
        values[struct] = int(size)
        for item in fields:
            name, _, place = item.partition("=")
            offset, *rest = place.split(":")
            values[f"{struct}.{name}"] = int(offset)
            if rest:
                values[f"{struct}.{name}.w"] = int(rest[0])
    return values


def compare_dwarf(name: str, structs: Structs, dwarf: Structs) -> int:
    """How many values of DWARF the layout has too, all equal; Mismatch for any other. The linker leaves out what a
    program does not use: what DWARF lacks is no difference."""
    ours, theirs = values_of(structs), values_of(dwarf)
    return _compare(name, "DWARF", ours, theirs)


def known_offsets(path: Path) -> dict[str, Values]:
    """A file {"layouts": {release: {structure: {field: offset, "#": size, "field.w": width}}}} by release."""
    layouts = json.loads(path.read_text())["layouts"]
    return {release: _known(structs) for release, structs in layouts.items()}


def _known(structs: Mapping[str, Mapping[str, int]]) -> Values:
    return {
        struct if name == "#" else f"{struct}.{name}": value
        for struct, fields in structs.items()
        for name, value in fields.items()
    }


def compare_known(name: str, structs: Structs, known: Values) -> int:
    """How many known values the layout has, all equal; Mismatch for any other or for one that it lacks."""
    return _compare(name, "the known offsets", values_of(structs), known)


def _compare(name: str, with_what: str, ours: Values, theirs: Values) -> int:
    wrong = [f"{field} {ours.get(field)}, not {value}" for field, value in theirs.items() if ours.get(field) != value]
    if wrong:
        raise Mismatch(f"{name} differs from {with_what} in {len(wrong)} of {len(theirs)}: {'; '.join(wrong[:9])}")
    return len(theirs)
