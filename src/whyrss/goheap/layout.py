"""Where the Go runtime's structures keep their fields, by release and architecture.

The tables are whyrss/facts/layouts/ARCH.json, written by tools/gen_layouts.py; docs/layouts.md says how each
was obtained. A table only proposes: whoever uses a layout proves it on the process (see `locate`).
"""

from __future__ import annotations

import os

from whyrss.errors import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Fields = Mapping[str, tuple[int, int, str]]  # offset, width, the structure that it is or ""
    Release = tuple[int, int]  # minor and patch; what has no release (a candidate, a branch) has patch -1

ARCHITECTURES = ("amd64", "arm64")
# What a layout says of itself that does not come from the tables (see `fromdwarf`); `key` and part of its name.
OWN = "DWARF"
NEIGHBOUR_MINORS = 1
DIGITS = "0123456789"

_tables: dict[str, Table] = {}


class Layout:
    """The offsets of one release on one architecture, all in bytes. `name` is "go1.24.11 amd64".

    A field may lie in a field: "mheap.pages.chunks" is "pageAlloc.chunks" in "mheap.pages". Of an array of
    structures it is the first one; size("heapStatsDelta"), or size("mstats.by_size") where the structure has no
    name, is the stride.

    `how` says how they were obtained, `experiments` which of GOEXPERIMENT's settings they are for. `key` is equal
    for releases whose structures are all equal.
    """

    def __init__(
        self, release: str, arch: str, key: str, how: str, structs: Callable[[str], Mapping[str, str]]
    ) -> None:
        number, _, experiments = release.partition(" X:")
        self.name = f"go{release} {arch}"
        self.go_version = f"go{number}"
        self.arch = arch
        self.key = key
        self.how = how
        self.experiments = tuple(name for name in experiments.split(",") if name)
        self._structs = structs
        self._known: Mapping[str, str] | None = None
        self._parsed: dict[str, tuple[int, Fields]] = {}
        self._found: dict[str, tuple[int, int] | None] = {}

    def __repr__(self) -> str:
        return f"<Layout {self.name}>"

    def offset(self, field: str) -> int:
        """Where in its structure a field begins: "mheap.pages". Raises Missing where the release has none such."""
        return self._field(field)[0]

    def width(self, field: str) -> int:
        """The bytes that a field takes; of an array the whole of it. Raises Missing as `offset`."""
        return self._field(field)[1]

    def size(self, struct: str) -> int:
        """The bytes that a structure takes: "mspan". Raises Missing where the release has none such."""
        parsed = self._struct(struct)
        if not parsed or not parsed[0]:
            raise Missing(f"the layout of {self.name} has no structure {struct}")
        return parsed[0]

    def has(self, field: str) -> bool:
        """Whether the release has the field, or (without a dot) the structure."""
        if "." in field:
            if field not in self._found:
                self._found[field] = self._find(field)
            return self._found[field] is not None
        return field in self._texts

    def constant(self, name: str) -> int:
        """The value of a constant of the runtime: "pallocChunksL2Bits". Raises Missing as `offset`."""
        return self._field(f"const.{name}")[0]

    @property
    def _texts(self) -> Mapping[str, str]:
        if self._known is None:
            self._known = self._structs(self.key)
        return self._known

    def _field(self, field: str) -> tuple[int, int]:
        if field not in self._found:
            self._found[field] = self._find(field)
        found = self._found[field]
        if found is None:
            raise Missing(f"the layout of {self.name} has no field {field}")
        return found

    def _find(self, field: str) -> tuple[int, int] | None:
        """Offset and width; "mheap.pages.chunks" goes on in the structure that the field mheap.pages is."""
        struct, _, name = field.partition(".")
        parsed = self._struct(struct)
        if parsed is None:
            return None
        fields = parsed[1]
        if name in fields:
            return fields[name][:2]
        head, dot, tail = name.rpartition(".")
        while dot:
            if head in fields and fields[head][2]:
                inner = self._find(f"{fields[head][2]}.{tail}")
                return inner and (fields[head][0] + inner[0], inner[1])
            head, dot, more = head.rpartition(".")
            tail = f"{more}.{tail}"
        return None

    def _struct(self, struct: str) -> tuple[int, Fields] | None:
        if struct not in self._parsed:
            if struct not in self._texts:
                return None
            self._parsed[struct] = parse(self._texts[struct])
        return self._parsed[struct]


def layouts_for(go_version: str, arch: str, experiments: Sequence[str] = ()) -> list[Layout]:
    """The layouts that a program of `go_version` ("go1.24.11", also with " X:greenteagc") may have, best first.

    First the release itself, then others of its minor version by their distance, then the minor versions beside
    it; those for the same `experiments` go first. Equal layouts are given once. Raises Missing where no table has
    the architecture or the minor version.
    """
    text, _, named = go_version.replace("-X:", " X:").partition(" X:")
    wanted = _release(text)
    table = _table(arch)
    if wanted is None or not table.of_minor(wanted[0]):
        raise Missing(f"no layout of the runtime of {go_version or 'an unknown Go'} on {arch} is known here")
    chosen = {*experiments, *(name for name in named.split(",") if name)}
    return table.candidates(wanted, chosen)


class Table:
    """One architecture's file: releases, their distinct layouts, and the distinct structures of these."""

    def __init__(self, arch: str) -> None:
        text = _load(arch)
        self.arch = arch
        self.how = _section(text, "how")
        self.releases = _section(text, "releases")  # "1.25.5 X:greenteagc" -> "1.25.0-X:greenteagc source 790 0"
        self.layouts = _section(text, "layouts")  # "1.25.0" -> "3 - 0": which form of each structure
        # "mspan" -> ["160 next=0:8 prev=8:8 ...", ...]
        self.structs = {
            struct.rpartition('"')[2]: forms.split('"')[1::2]
            for struct, found, forms in (part.partition('": [') for part in _inside(text, "structs").split("]"))
            if found
        }

    def of_minor(self, minor: int) -> list[str]:
        """Its releases of a minor version, by the beginning of their names: there are hundreds of releases."""
        heads = (f"1.{minor}.", f"1.{minor} ")
        return [name for name in self.releases if f"{name} ".startswith(heads)]

    def candidates(self, wanted: Release, experiments: set[str]) -> list[Layout]:
        """See `layouts_for`."""
        minors = range(wanted[0] - NEIGHBOUR_MINORS, wanted[0] + NEIGHBOUR_MINORS + 1)
        near = {name: number for minor in minors for name in self.of_minor(minor) if (number := _release(name))}
        known = {word for name in near for word in name.partition(" X:")[2].split(",")}
        chosen = experiments & known
        in_order = sorted(near, key=lambda name: _distance(name, near[name], wanted, chosen))
        first: dict[str, str] = {}
        for name in in_order:
            first.setdefault(self.releases[name].split()[0], name)
        return [self.layout(name) for name in first.values()]

    def layout(self, name: str) -> Layout:
        """The layout of a release of the table."""
        key, how, *_ = self.releases[name].split()
        return Layout(name, self.arch, key, self.how[how], self.texts)

    def texts(self, key: str) -> dict[str, str]:
        """The structures of a layout, each as it stands in the file."""
        chosen = zip(self.structs.items(), self.layouts[key].split(), strict=True)
        return {struct: forms[int(at)] for (struct, forms), at in chosen if at != "-"}


def vocabulary(arch: str) -> dict[str, dict[str, int]]:
    """Each structure that the releases of an architecture have, and the bytes that each of its fields takes at most
    in any of them. Raises Missing as `layouts_for`."""
    found: dict[str, dict[str, int]] = {}
    for struct, forms in _table(arch).structs.items():
        widths = found[struct] = {}
        for form in forms:
            for name, (_, width, _) in parse(form)[1].items():
                widths[name] = max(width, widths.get(name, 0))
    return found


def edition(arch: str) -> str:
    """Tells a table from one with other structures or fields, which `vocabulary` would be another of."""
    from zlib import crc32

    return f"{crc32(repr(_table(arch).structs).encode()):08x}"


def _distance(name: str, number: Release, wanted: Release, chosen: set[str]) -> tuple[int, ...]:
    minor, patch = number
    for_others = set(name.partition(" X:")[2].split(",")) - {""} != chosen
    farther = abs(minor - wanted[0])
    # Of a neighbouring minor version the release nearest in time is its last one, or its first.
    apart = abs(patch - wanted[1]) if not farther else -patch if minor < wanted[0] else patch
    return farther, for_others, apart, -patch


def _table(arch: str) -> Table:
    if arch not in ARCHITECTURES:
        raise Missing(f"no layout of the Go runtime on {arch or 'an unknown architecture'} is known here")
    if arch not in _tables:
        _tables[arch] = Table(arch)
    return _tables[arch]


def _load(arch: str) -> str:
    path = os.path.join(os.path.dirname(os.path.dirname(__file__)), "facts", "layouts", f"{arch}.json")
    with open(path, encoding="ascii") as file:
        return file.read()


def _inside(text: str, section: str) -> str:
    """What stands between the braces of a section. The file has strings alone, none with a quote or a brace in it,
    so that it can be split at the quotes: importing json would cost more than all the rest."""
    return text.partition(f'"{section}": {{')[2].partition("}")[0]


def _section(text: str, section: str) -> dict[str, str]:
    strings = _inside(text, section).split('"')[1::2]
    return dict(zip(strings[::2], strings[1::2], strict=True))


def _release(text: str) -> Release | None:
    """(24, 11) of "go1.24.11", (24, 0) of "1.24", (24, -1) of "go1.24rc1" and "devel go1.24-0123abc"."""
    number = text.removeprefix("devel ").removeprefix("go")
    rest = number[2:] if number.startswith("1.") else ""
    minor = rest[: len(rest) - len(rest.lstrip(DIGITS))]
    if not 1 <= len(minor) <= 3:
        return None
    rest = rest[len(minor) :]
    patch = rest[1 : len(rest) - len(rest[1:].lstrip(DIGITS))] if rest.startswith(".") else ""
    if rest and not rest.startswith((".", " ")):
        return int(minor), -1
    return int(minor), int(patch[:4] or 0)


def parse(text: str) -> tuple[int, Fields]:
    """The size and the fields of "160 startAddr=24:8 state=99:1:mSpanStateBox"."""
    size, *fields = text.split()
    found = {}
    for field in fields:
        name, _, place = field.partition("=")
        offset, *rest = place.split(":")
        found[name] = (int(offset), int(rest[0]) if rest else 0, rest[1] if len(rest) > 1 else "")
    return int(size), found
