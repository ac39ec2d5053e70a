"""Structures of a Go package by a program's DWARF: sizes, and members with their places.

cmd/link writes the types of the whole program into a unit of package runtime, and each variable into one of its
package; both have their name first and in place (cmd/internal/dwarf/dwarf.go). So they are searched for by name, and
only the entries found are read, not the 100,000 beside them. Where nothing is found so, all entries are read.
"""

from __future__ import annotations

from bisect import bisect_right

from whyrss.errors import FormatError
from whyrss.read.dwarfunits import (
    AT_BYTE_SIZE,
    AT_MEMBER_LOCATION,
    AT_NAME,
    AT_TYPE,
    FORM_STRING,
    TAG_ARRAY,
    TAG_MEMBER,
    TAG_POINTER,
    TAG_STRUCT,
    TAG_SUBROUTINE,
    TAG_TYPEDEF,
    TAG_VARIABLE,
    units_named,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from whyrss.read.debugsections import Stream
    from whyrss.read.dwarfunits import Entry, Strings, Unit

PACKAGE = "runtime"
# Which entry of a name counts: the structure itself, the name given to it, a variable of a nameless one.
_RANKS = {TAG_STRUCT: 0, TAG_TYPEDEF: 1, TAG_VARIABLE: 2}
HITS_MAX = 1 << 20
ENTRIES_MAX = 1 << 19  # read in all, about 2 s
MEMBERS_MAX = 4096
TYPEDEFS_MAX = 16
_NAME_MAX_BYTES = 64
_NAMELESS = "struct {"


class Struct:
    """A structure. `name` is without its package where that is the one read, and "" where it has none."""

    __slots__ = ("members", "name", "size_bytes")

    def __init__(self, name: str, size_bytes: int, members: list[Member]) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.members = members


class Member:
    """A member: `offset` and `width` in bytes; `type` is where its type stands in DWARF."""

    __slots__ = ("name", "offset", "type", "width")

    def __init__(self, name: str, offset: int, width: int, type_at: int) -> None:
        self.name = name
        self.offset = offset
        self.width = width
        self.type = type_at


class Types:
    """The types of a program's package runtime."""

    def __init__(self, units: list[Unit]) -> None:
        self._units = units
        self._starts = [unit.start for unit in units]
        self._structs: dict[int, Struct] = {}
        self._left = ENTRIES_MAX

    @classmethod
    def of(cls, info: Stream, abbreviations: bytes, strings: Strings) -> Types:
        """From .debug_info, .debug_abbrev, and the sections of strings. Raises FormatError."""
        return cls(units_named(info, abbreviations, strings, PACKAGE))

    def named(self, names: Collection[str]) -> dict[str, Struct]:
        """The structures of these names; of a variable without a type of its own, what it is, or what it is an array
        of. What is not there, or not such, is left out. Raises FormatError."""
        wanted = {f"{PACKAGE}.{name}".encode(): name for name in names}
        places = self._best(self._search(wanted)) or self._best(self._walk(wanted))
        found = {}
        for name, at in places.items():
            try:
                struct, _ = self.struct(at)
            except FormatError:  # the others are not less true for it
                continue
            if struct:
                found[name] = struct
        return found

    def struct(self, at: int) -> tuple[Struct | None, bool]:
        """The structure that the type at an offset is, or is an array of, and whether it is an array; None for other
        types. Raises FormatError."""
        entry, at = self._resolved(at)
        if entry.tag == TAG_STRUCT:
            return self._struct(entry, at), False
        inner = entry.number(AT_TYPE)
        if entry.tag != TAG_ARRAY or inner is None:
            return None, False
        entry, at = self._resolved(inner)
        return (self._struct(entry, at) if entry.tag == TAG_STRUCT else None), True

    # Finding

    def _search(self, wanted: dict[bytes, str]) -> Iterator[tuple[int, str, int]]:
        """(rank, name, offset) of entries that have a wanted name in place, right behind their abbreviation."""
        prefix, hits = PACKAGE.encode() + b".", 0
        for unit in self._units:
            data, at = unit.data, unit.data.find(prefix)
            while at >= 0:
                hits += 1
                if hits > HITS_MAX:
                    raise FormatError(f"DWARF names package {PACKAGE} too often")
                name = wanted.get(data[at : at + _NAME_MAX_BYTES].partition(b"\0")[0])
                kind = unit.abbreviations.get(data[at - 1]) if name else None
                if name and kind and kind.tag in _RANKS and kind.attributes[:1] == [(AT_NAME, FORM_STRING, 0)]:
                    yield _RANKS[kind.tag], name, unit.start + at - 1
                at = data.find(prefix, at + 1)

    def _walk(self, wanted: dict[bytes, str]) -> Iterator[tuple[int, str, int]]:
        """The same of all entries, one by one, whatever their names are like. Only those of the first level count."""
        for unit in self._units:
            at, depth = unit.first, 0
            while at < len(unit.data):
                entry = self._read(unit, at)
                if entry is None:
                    at, depth = at + 1, depth - 1
                    continue
                name = entry.values.get(AT_NAME)
                if depth == 1 and entry.tag in _RANKS and isinstance(name, bytes) and name in wanted:
                    yield _RANKS[entry.tag], wanted[name], unit.start + at
                at, depth = entry.next, depth + entry.children

    def _best(self, found: Iterator[tuple[int, str, int]]) -> dict[str, int]:
        """Name -> offset of the type."""
        best: dict[str, tuple[int, int]] = {}
        for rank, name, at in found:
            if name not in best or rank < best[name][0]:
                best[name] = rank, at
        return {name: self._type_of(rank, at) for name, (rank, at) in best.items()}

    def _type_of(self, rank: int, at: int) -> int:
        if rank != _RANKS[TAG_VARIABLE]:
            return at
        place = self._entry(at)[0].number(AT_TYPE)
        return at if place is None else place

    # Reading

    def _entry(self, at: int) -> tuple[Entry, Unit]:
        place = bisect_right(self._starts, at) - 1
        unit = self._units[max(0, place)] if self._units else None
        if unit is None or not unit.first <= at - unit.start < len(unit.data):
            raise FormatError("a type of DWARF is in no unit of its package")
        entry = self._read(unit, at - unit.start)
        if entry is None:
            raise FormatError("a type of DWARF is not there")
        return entry, unit

    def _read(self, unit: Unit, at: int) -> Entry | None:
        self._left -= 1
        if self._left < 0:
            raise FormatError(f"DWARF has too many entries about package {PACKAGE}")
        return unit.entry(at)

    def _resolved(self, at: int) -> tuple[Entry, int]:
        """The entry of a type, names that were given to it taken away."""
        for _ in range(TYPEDEFS_MAX):
            entry, _unit = self._entry(at)
            inner = entry.number(AT_TYPE)
            if entry.tag != TAG_TYPEDEF or inner is None:
                return entry, at
            at = inner
        raise FormatError("a type of DWARF leads on and on")

    def _width(self, at: int) -> int:
        """The bytes of a value of a type. Raises FormatError."""
        entry, at = self._resolved(at)
        size = entry.number(AT_BYTE_SIZE)
        if size is not None:
            return size
        if entry.tag not in (TAG_POINTER, TAG_SUBROUTINE):
            raise FormatError("a type of DWARF has no size")
        return self._entry(at)[1].address_bytes

    def _struct(self, entry: Entry, at: int) -> Struct:
        if at not in self._structs:
            name = "" if entry.name.startswith(_NAMELESS) else entry.name.removeprefix(f"{PACKAGE}.")
            members = list(self._members(entry, at)) if entry.children else []
            self._structs[at] = Struct(name, entry.number(AT_BYTE_SIZE) or 0, members)
        return self._structs[at]

    def _members(self, entry: Entry, at: int) -> Iterator[Member]:
        unit = self._entry(at)[1]
        place = entry.next
        for _ in range(MEMBERS_MAX):
            child = self._read(unit, place)
            if child is None:
                return
            place = child.next
            offset, type_at = child.number(AT_MEMBER_LOCATION), child.number(AT_TYPE)
            if child.tag != TAG_MEMBER or child.children or offset is None or type_at is None:
                raise FormatError("a structure of DWARF has a member without a place")
            yield Member(child.name, offset, self._width(type_at), type_at)
        raise FormatError("a structure of DWARF has too many members")
