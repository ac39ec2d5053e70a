"""DWARF's units and entries: as much of versions 2 to 5 as describes types (dwarfstd.org, DWARF 5, chapter 7).

Sections are hostile: every length is held against what is there, and what is impossible is a FormatError. Strings by
index (DW_FORM_strx), which Go does not write, are empty.
"""

from __future__ import annotations

from whyrss.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whyrss.read.debugsections import Stream

    Value = int | bytes
    Strings = Callable[[str, int], bytes]  # (section, offset) -> the string there
    Attribute = tuple[int, int, int]  # name, form, and the value of DW_FORM_implicit_const

TAG_ARRAY, TAG_MEMBER, TAG_POINTER, TAG_STRUCT, TAG_SUBROUTINE, TAG_TYPEDEF = 0x01, 0x0D, 0x0F, 0x13, 0x15, 0x16
TAG_VARIABLE = 0x34
AT_NAME, AT_BYTE_SIZE, AT_LANGUAGE, AT_MEMBER_LOCATION, AT_TYPE = 0x03, 0x0B, 0x13, 0x38, 0x49
FORM_STRING = 0x08
_FORM_ADDRESS, _FORM_SDATA, _FORM_REF_ADDR, _FORM_PRESENT, _FORM_IMPLICIT = 0x01, 0x0D, 0x10, 0x19, 0x21
LANG_GO = 0x16

# What a form's value takes: so many bytes; a length of so many bytes before it; the size of an offset; or LEB128.
_FIXED = {
    0x05: 2, 0x06: 4, 0x07: 8, 0x0B: 1, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x1E: 16, 0x20: 8,
    0x1C: 4, 0x24: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3, 0x2C: 4,
}  # fmt: skip
_BLOCKS = {0x03: 2, 0x04: 4, 0x0A: 1, 0x09: 0, 0x18: 0}
_OFFSETS = {0x0E: "str", 0x1F: "line_str", 0x17: "", 0x1D: ""}
_LEB128 = {0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23}
_IN_UNIT = {0x11, 0x12, 0x13, 0x14, 0x15}  # references from the unit's beginning
_STRINGS_BY_INDEX = {0x1A, 0x25, 0x26, 0x27, 0x28}

UNITS_MAX = 1 << 16
KEPT_MAX_BYTES = 128 << 20
ATTRIBUTES_MAX = 64
# Of all abbreviations together. A program linked with C has a table for each of its C files.
DESCRIBED_MAX = 1 << 20
# Of a unit its first entry up to name and language; Go writes them first.
HEAD_BYTES = 2048
_LEB128_BYTES = 10
_DW_UT_COMPILE = 1
_WIDE = 0xFFFFFFFF  # the length of a unit in the 64-bit format


class Abbreviation:
    """What entries of a kind are made of."""

    __slots__ = ("attributes", "children", "tag")

    def __init__(self, tag: int, children: bool, attributes: list[Attribute]) -> None:
        self.tag = tag
        self.children = children
        self.attributes = attributes


class Entry:
    """One entry. `values` are by attribute; references are offsets in the section; `next` is where, in its unit, the
    entry behind it begins, which is its first child where it has children."""

    __slots__ = ("children", "next", "tag", "values")

    def __init__(self, tag: int, children: bool, values: dict[int, Value], following: int) -> None:
        self.tag = tag
        self.children = children
        self.values = values
        self.next = following

    def number(self, name: int) -> int | None:
        """A value that is a number; None where it is absent or another thing."""
        value = self.values.get(name)
        return value if isinstance(value, int) else None

    @property
    def name(self) -> str:
        value = self.values.get(AT_NAME)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


class Unit:
    """A unit that begins at `start` of the section; `data` is all of it, or its beginning, and `first` where in it
    its first entry is."""

    def __init__(self, data: bytes, start: int, strings: Strings) -> None:
        self.data = data
        self.start = start
        self.abbreviations: dict[int, Abbreviation] = {}
        self._strings = strings
        self.offset_bytes = 8 if data[:4] == b"\xff\xff\xff\xff" else 4
        at = 12 if self.offset_bytes == 8 else 4
        self.version = int.from_bytes(data[at : at + 2], "little")
        at += 2
        kind = _DW_UT_COMPILE
        if self.version >= 5:
            kind, self.address_bytes = data[at], data[at + 1]
            at += 2
        self.abbreviations_at = int.from_bytes(data[at : at + self.offset_bytes], "little")
        at += self.offset_bytes
        if self.version < 5:
            self.address_bytes = data[at]
            at += 1
        self.first = at
        self.usable = 2 <= self.version <= 5 and kind == _DW_UT_COMPILE and self.address_bytes in (4, 8)

    def entry(self, at: int) -> Entry | None:
        """The entry at an offset of the unit; None for the one that ends a list of children. Raises FormatError."""
        code, at = self.leb128(at)
        if not code:
            return None
        abbreviation = self.abbreviations.get(code)
        if abbreviation is None:
            raise FormatError(f"DWARF has no abbreviation {code}")
        values: dict[int, Value] = {}
        for name, form, constant in abbreviation.attributes:
            values[name], at = self._value(form, constant, at)
        return Entry(abbreviation.tag, abbreviation.children, values, at)

    def head(self) -> tuple[bool, str]:
        """Whether the first entry says that the unit is Go's, and the unit's name. Raises FormatError."""
        code, at = self.leb128(self.first)
        values: dict[int, Value] = {}
        abbreviation = self.abbreviations.get(code)
        for name, form, constant in abbreviation.attributes if abbreviation else ():
            values[name], at = self._value(form, constant, at, strings=values.get(AT_LANGUAGE) == LANG_GO)
            if AT_NAME in values and AT_LANGUAGE in values:
                break
        return values.get(AT_LANGUAGE) == LANG_GO, Entry(0, False, values, at).name

    def leb128(self, at: int) -> tuple[int, int]:
        """An unsigned number, and where it ends."""
        value = shift = 0
        for place in range(at, at + _LEB128_BYTES):
            byte = self._byte(place)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, place + 1
            shift += 7
        raise FormatError("a number of DWARF has no end")

    def sleb128(self, at: int) -> tuple[int, int]:
        """A signed number, and where it ends."""
        value, end = self.leb128(at)
        bits = 7 * (end - at)
        return value - (value >> bits - 1 << bits), end

    def _byte(self, at: int) -> int:
        if not 0 <= at < len(self.data):
            raise FormatError("a unit of DWARF ends too early")
        return self.data[at]

    def _value(self, form: int, constant: int, at: int, strings: bool = True) -> tuple[Value, int]:
        if form == FORM_STRING:
            end = self.data.find(b"\0", at)
            if end < 0:
                raise FormatError("a unit of DWARF ends too early")
            return self.data[at:end], end + 1
        if form in _FIXED:
            value, end = self._number(at, _FIXED[form])
        elif form in _LEB128:
            value, end = self.leb128(at)
        elif form in _OFFSETS:
            return self._offset(_OFFSETS[form] if strings else "", at)
        elif form in _BLOCKS:
            length, at = self._number(at, _BLOCKS[form]) if _BLOCKS[form] else self.leb128(at)
            return self._bytes(at, length), at + length
        else:
            return self._rare(form, constant, at)
        if form in _STRINGS_BY_INDEX:
            return b"", end
        return value + self.start if form in _IN_UNIT else value, end

    def _rare(self, form: int, constant: int, at: int) -> tuple[Value, int]:
        if form == _FORM_ADDRESS:
            return self._number(at, self.address_bytes)
        if form == _FORM_REF_ADDR:  # in DWARF 2 an address, later an offset
            return self._number(at, self.address_bytes if self.version == 2 else self.offset_bytes)
        if form == _FORM_SDATA:
            return self.sleb128(at)
        if form in (_FORM_PRESENT, _FORM_IMPLICIT):
            return (1 if form == _FORM_PRESENT else constant), at
        raise FormatError(f"DWARF has a value of the unknown form {form:#x}")

    def _offset(self, section: str, at: int) -> tuple[Value, int]:
        offset, end = self._number(at, self.offset_bytes)
        return (self._strings(section, offset) if section else offset), end

    def _number(self, at: int, size: int) -> tuple[int, int]:
        return int.from_bytes(self._bytes(at, size), "little"), at + size

    def _bytes(self, at: int, size: int) -> bytes:
        if at + size > len(self.data):
            raise FormatError("a unit of DWARF ends too early")
        return self.data[at : at + size]


def units_named(info: Stream, abbreviations: bytes, strings: Strings, name: str) -> list[Unit]:
    """Go's compile units of a package, of all others no more than the head. Raises FormatError."""
    found: list[Unit] = []
    tables = _Tables(abbreviations)
    kept_bytes = 0
    for _ in range(UNITS_MAX):
        if not info.left:
            return found
        unit, size = _next(info, strings)
        if unit.usable and _is_of(unit, tables, name):
            kept_bytes += size
            if kept_bytes > KEPT_MAX_BYTES:
                raise FormatError(f"DWARF has over {KEPT_MAX_BYTES} bytes about package {name}")
            unit.data = info.take(size)
            found.append(unit)
        else:
            info.skip(size)
    raise FormatError(f"DWARF has over {UNITS_MAX} units")


def _next(info: Stream, strings: Strings) -> tuple[Unit, int]:
    """The unit that begins here, its head read, and the bytes that it takes."""
    data = info.peek(HEAD_BYTES)
    length = int.from_bytes(data[:4], "little")
    size = 4 + length if length != _WIDE else 12 + int.from_bytes(data[4:12], "little")
    if size > info.left or size < 24:
        raise FormatError(f"DWARF has a unit of {size} bytes")
    return Unit(data[:size], info.at, strings), size


def _is_of(unit: Unit, tables: _Tables, name: str) -> bool:
    unit.abbreviations = tables.at(unit.abbreviations_at)
    try:
        return unit.head() == (True, name)
    except FormatError:  # of another language, with a head that goes on and on
        return False


class _Tables:
    """The tables of .debug_abbrev, each read once."""

    def __init__(self, section: bytes) -> None:
        self._left = DESCRIBED_MAX
        self._known: dict[int, dict[int, Abbreviation]] = {}
        self._reader = Unit(bytes(24), 0, lambda *_: b"")
        self._reader.data = section

    def at(self, at: int) -> dict[int, Abbreviation]:
        """The table at an offset of the section, as far as it can be read. Raises FormatError where all tables
        together are too large."""
        if at not in self._known:
            self._known[at] = {}
            try:
                self._known[at].update(self._read(at))
            except FormatError:
                if self._left < 0:
                    raise
        return self._known[at]

    def _read(self, at: int) -> Iterator[tuple[int, Abbreviation]]:
        code, at = self._reader.leb128(at)
        while code:
            tag, at = self._reader.leb128(at)
            children, at = self._reader.leb128(at)  # one byte, 0 or 1
            attributes, at = self._attributes(at)
            yield code, Abbreviation(tag, bool(children), attributes)
            code, at = self._reader.leb128(at)

    def _attributes(self, at: int) -> tuple[list[Attribute], int]:
        found: list[Attribute] = []
        for _ in range(ATTRIBUTES_MAX):
            self._left -= 1
            name, at = self._reader.leb128(at)
            form, at = self._reader.leb128(at)
            constant = 0
            if form == _FORM_IMPLICIT:
                constant, at = self._reader.sleb128(at)
            if self._left < 0:
                raise FormatError("the abbreviations of DWARF are too many")
            if not name and not form:
                return found, at
            found.append((name, form, constant))
        raise FormatError("DWARF has an entry of too many values")
