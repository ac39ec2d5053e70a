"""Writes src/whyrss/facts/layouts/ARCH.json from the Go runtime's own source: python tools/gen_layouts.py

    --toolchains            of every Go toolchain of the cache, each compared with DWARF that it makes itself
    --repository FOLDER     of every release that has a tag in this clone of Go's repository
    --source 1.17.13=ROOT   of a source tree, whose src/runtime is that release's
    --known FILE            compare with offsets known before (docs/layouts.md)

What has no source this time is kept as it is. Any difference, also between two sources of one release, ends the
run without a change to the files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tools import layoutcheck, layoutfiles, layoutrepository  # noqa: E402  (the path has to be set first)
from tools.layoutfiles import ARCHITECTURES, HOW, Entries, Entry, Release  # noqa: E402  (as above)
from tools.layoutreader import read_dwarf, read_source  # noqa: E402  (as above)
from whyrss.errors import TargetError  # noqa: E402  (as above)
from whyrss.lab import toolchain  # noqa: E402  (as above)
from whyrss.lab.debian import cache_folder  # noqa: E402  (as above)

# The first release of each architecture of which the account by page is promised.
FIRST_MINOR = {"amd64": 12, "arm64": 15}
# GOEXPERIMENT settings, other than a release's defaults, that change the runtime's structures (internal/goexperiment
# of each release, and its uses in src/runtime). Only what does change them is kept.
EXPERIMENTS = {
    22: ("noallocheaders",),
    24: ("nospinbitmutex",),
    25: ("greenteagc",),
    26: ("nogreenteagc", "runtimesecret"),
    27: ("nogreenteagc", "runtimesecret"),
}
# Known offsets that are not those of the release itself, and why.
NOT_THE_RELEASE = {"1.18": "known from the branch point before the release"}
PROGRAM = ROOT / "tools" / "layouts" / "testdata" / "empty.go"


def main(argv: Sequence[str] | None = None) -> int:
    """0, or 1 with one line on stderr."""
    arguments = _parser().parse_args(argv)
    try:
        tables = {arch: _generate(arch, arguments) for arch in ARCHITECTURES}
    except (TargetError, layoutcheck.Mismatch, ValueError, OSError) as error:
        print(f"gen_layouts: {error}", file=sys.stderr)
        return 1
    for arch, entries in tables.items():
        layoutfiles.write(arguments.into / f"{arch}.json", entries)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toolchains", action="store_true", help="read the toolchains of the cache")
    parser.add_argument("--repository", type=Path, metavar="FOLDER", help="read the releases of Go's repository")
    parser.add_argument("--source", action="append", default=[], metavar="RELEASE=ROOT")
    parser.add_argument("--known", type=Path, metavar="FILE")
    parser.add_argument("--into", type=Path, default=layoutfiles.FOLDER, metavar="FOLDER")
    return parser


def _generate(arch: str, arguments: argparse.Namespace) -> Entries:
    """The entries of an architecture: those of the file, replaced by what there is a source for."""
    kept = layoutfiles.read(arguments.into / f"{arch}.json")
    entries: Entries = {}
    for found in _found(arch, arguments):
        _add(arch, entries, found)
    entries = {name: entry for name, entry in kept.items() if entry.how in HOW} | entries
    if arguments.known and arch == "amd64":
        _hold_to(entries, layoutcheck.known_offsets(arguments.known))
    _report(arch, entries)
    return entries


def _found(arch: str, arguments: argparse.Namespace) -> Iterable[Entries]:
    """The entries of each release that there is a source for; what is compared with DWARF comes last."""
    for release in layoutrepository.releases(arguments.repository) if arguments.repository else ():
        if _reaches(release, arch):
            with layoutrepository.unpacked(arguments.repository, release) as root:
                yield _of_source("tag", release, root, arch)
    for release, root in map(_pair, arguments.source):
        if _reaches(release, arch):
            yield _of_source("source", release, root, arch)
    for root in _toolchains() if arguments.toolchains else ():
        if _reaches(root.name, arch):
            yield _of_toolchain(root, arch)


def _add(arch: str, entries: Entries, found: Entries) -> None:
    """Add to the entries. Raises Mismatch where there is one of that release already, from elsewhere and other."""
    for name, entry in found.items():
        other = entries.setdefault(name, entry)
        if other.structs != entry.structs:
            raise layoutcheck.Mismatch(f"{name} {arch}: by {entry.how} it is other than by {other.how}")
    entries.update(found)


def _hold_to(entries: Entries, known: Mapping[str, layoutcheck.Values]) -> None:
    """Compare with known offsets. Raises Mismatch."""
    for name, entry in entries.items():
        if name not in known:
            continue
        try:
            entry.known_values = layoutcheck.compare_known(name, entry.structs, known[name])
        except layoutcheck.Mismatch as error:
            if name not in NOT_THE_RELEASE:
                raise
            print(f"{error} ({NOT_THE_RELEASE[name]})")


def _pair(text: str) -> tuple[str, Path]:
    release, found, root = text.partition("=")
    Release.parse(release)
    if not found or not (Path(root) / "src" / "runtime").is_dir():
        raise ValueError(f"{text!r}: write it as 1.17.13=FOLDER, where FOLDER/src/runtime is")
    return release, Path(root).absolute()


def _reaches(release: str, arch: str) -> bool:
    return Release.parse(release).minor >= FIRST_MINOR[arch]


def _toolchains() -> Iterable[Path]:
    """The roots of the cached toolchains, in the order of their releases."""
    return sorted((cache_folder() / "go").glob("1.*"), key=lambda path: Release.parse(path.name))


def _of_source(how: str, release: str, root: Path, arch: str) -> Entries:
    """The release's default layout, and one for each of its experiments that changes it."""
    default = Entry(how, read_source(root, arch, release))
    entries = {release: default}
    for experiment in EXPERIMENTS.get(Release.parse(release).minor, ()):
        structs = read_source(root, arch, release, [_change(experiment)])
        if structs != default.structs:
            entries[f"{release} X:{experiment}"] = Entry(how, structs)
    return entries


def _of_toolchain(root: Path, arch: str) -> Entries:
    """As `_of_source`, each layout compared with the DWARF of a program that this toolchain builds."""
    entries = _of_source("source", root.name, root, arch)
    for name, entry in entries.items():
        dwarf = read_dwarf(_program(root, arch, Release.parse(name).experiments))
        entry.dwarf_values = layoutcheck.compare_dwarf(f"{name} {arch}", entry.structs, dwarf)
    return entries


def _program(root: Path, arch: str, experiments: str) -> Path:
    env = {"GOARCH": arch, **({"GOEXPERIMENT": experiments} if experiments else {})}
    return toolchain.build(root / "bin" / "go", PROGRAM, env=env)


def _change(experiment: str) -> str:
    return f"-{experiment[2:]}" if experiment.startswith("no") else f"+{experiment}"


def _report(arch: str, entries: Entries) -> None:
    for name in sorted(entries, key=Release.parse):
        entry = entries[name]
        compared = f"{entry.dwarf_values} values equal DWARF, {entry.known_values} equal known offsets"
        print(f"{arch} {name}: {len(layoutcheck.values_of(entry.structs))} values by {entry.how}; {compared}")
    distinct = len({tuple(sorted(entry.structs.items())) for entry in entries.values()})
    print(f"{arch}: {len(entries)} releases, {distinct} distinct layouts")


if __name__ == "__main__":
    sys.exit(main())
