"""DWARF: sections made here in every form that is read, compressed in every way; damaged ones of real programs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import cache as once

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import go_program
from whyrss.errors import FormatError
from whyrss.read import dwarf, dwarfunits
from whyrss.read.debugsections import SECTION_MAX_BYTES, Stream, open_section
from whyrss.read.dwarf import Struct, Types
from whyrss.read.elf import Elf

GO, C = 0x16, 0x0C
PLAIN, FLAGGED, OLD = "plain", "SHF_COMPRESSED", ".zdebug"
AS_IT_IS = "said to be compressed"
STRING, STRP, LINE_STRP, STRX = 0x08, 0x0E, 0x1F, 0x1A
VERSIONS = ("1.15", "1.19", "1.22", "1.25", "1.27")
NAMES = ("mheap", "mspan", "debug", "pageAlloc")


def leb(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class Maker:
    """One program's DWARF: a unit of C's, one of package runtime with its variables, one with its types, one of
    another package. `name_form` says how the names of types are written, `wide` which format units have."""

    # code: tag, children, and (name, form) of the values; 0x0B byte_size, 0x49 type, 0x38 place of a member.
    def kinds(self) -> dict[int, tuple[int, int, list[tuple[int, int]]]]:
        name = (0x03, self.name_form)
        return {
            1: (0x11, 1, [(0x03, STRING), (0x13, 0x0B), (0x25, self.name_form), (0x11, 0x01), (0x55, 0x17)]),
            2: (0x13, 1, [name, (0x0B, 0x0F), (0x2900, 0x0B)]),  # structure, size as udata
            3: (0x0D, 0, [(0x03, STRING), (0x38, 0x0F), (0x49, 0x10), (0x2903, 0x0C)]),  # member
            4: (0x24, 0, [name, (0x0B, 0x0B)]),  # number
            5: (0x0F, 0, [name, (0x49, 0x10)]),  # pointer, without a size
            6: (0x01, 1, [name, (0x49, 0x13), (0x0B, 0x06)]),  # array of a type of this unit
            7: (0x16, 0, [name, (0x49, 0x10)]),  # typedef
            8: (0x34, 0, [name, (0x02, 0x0A), (0x49, 0x10), (0x3F, 0x19)]),  # variable
            9: (0x21, 0, [(0x37, 0x0F)]),  # how long an array is
            10: (0x2E, 1, [(0x03, STRING), (0x40, 0x18), (0x1C, 0x0D), (0x21, 0x21)]),  # function
            11: (0x11, 1, [(0x03, STRP), (0x13, 0x05)]),  # a unit as C compilers write it
            12: (0x15, 0, [name]),  # what a variable of a function has
        }

    def __init__(self, version: int = 4, name_form: int = STRING, wide: bool = False) -> None:
        self.version, self.name_form, self.wide = version, name_form, wide
        self.texts = {STRP: bytearray(b"\0"), LINE_STRP: bytearray(b"\0")}
        self.places: dict[str, int] = {}
        self.info = b""
        self.unit(leb(11) + self.offset(self.text(STRP, "runtime")) + struct.pack("<H", C) + b"\xff" * 40)
        for _ in range(2):  # the second time it is known where the types are
            kept = self.info
            variables = self.variables()
            self.unit(self.head("runtime") + variables + b"\0")
            self.types(len(self.info))
            self.unit(self.head("main") + b"\xff" * 40)
            done, self.info = self.info, kept
        self.info = done

    def offset(self, value: int) -> bytes:
        return struct.pack("<Q" if self.wide else "<I", value)

    def text(self, form: int, text: str) -> int:
        held = self.texts[form]
        at = held.find(b"\0" + text.encode() + b"\0") + 1
        if not at:
            at = len(held)
            held += text.encode() + b"\0"
        return at

    def name(self, text: str) -> bytes:
        if self.name_form == STRING:
            return text.encode() + b"\0"
        return leb(5) if self.name_form == STRX else self.offset(self.text(self.name_form, text))

    def start(self) -> int:
        """Bytes of a unit before its first entry."""
        return (12 if self.wide else 4) + 2 + (8 if self.wide else 4) + 1 + (self.version >= 5)

    def unit(self, body: bytes, kind: int = 1) -> None:
        if self.version >= 5:
            middle = struct.pack("<HBB", self.version, kind, 8) + self.offset(0)
        else:
            middle = struct.pack("<H", self.version) + self.offset(0) + b"\x08"
        size = len(middle) + len(body)
        self.info += (b"\xff" * 4 + struct.pack("<Q", size) if self.wide else struct.pack("<I", size)) + middle + body

    def head(self, name: str) -> bytes:
        return leb(1) + name.encode() + b"\0" + bytes([GO]) + self.name("Go") + bytes(8) + self.offset(0)

    def ref(self, name: str) -> bytes:
        return self.offset(self.places.get(name, 0))

    def variables(self) -> bytes:
        function = leb(10) + b"f\0" + leb(2) + b"\x9c\0" + b"\x7f" + leb(12) + self.name("runtime.mheap") + b"\0"
        debug = leb(8) + self.name("runtime.debug") + b"\x09" + bytes(9) + self.ref("nameless")
        pools = leb(8) + self.name("runtime.stackpool") + b"\x02" + bytes(2) + self.ref("pools")
        return function + debug + pools

    def types(self, start: int) -> None:
        body = b""

        def begin(key: str) -> None:
            self.places[key] = start + self.start() + len(self.head("runtime")) + len(body)

        def member(name: str, offset: int, key: str) -> bytes:
            return leb(3) + name.encode() + b"\0" + leb(offset) + self.ref(key) + b"\0"

        begin("word")
        body += leb(4) + self.name("uint64") + b"\x08"
        begin("pointer")
        body += leb(5) + self.name("*runtime.mspan") + self.ref("mspan")
        begin("function")
        body += leb(12) + self.name("func()")
        begin("handler")
        body += leb(7) + self.name("runtime.handler") + self.ref("function")
        begin("nameless")
        body += leb(2) + self.name("struct { a uint64 }") + leb(16) + b"\x19" + member("a", 8, "word") + b"\0"
        begin("row")
        in_unit = struct.pack("<I", self.places.get("nameless", start) - start)
        body += leb(6) + self.name("[300]struct { a uint64 }") + in_unit + struct.pack("<I", 4800) + leb(9) + leb(300)
        body += b"\0"
        begin("mspan")
        body += leb(2) + self.name("runtime.mspan") + leb(200) + b"\x19"
        body += member("next", 0, "pointer") + member("start", 8, "word") + member("run", 16, "handler") + b"\0"
        begin("named")
        body += leb(7) + self.name("runtime.mspan") + self.ref("mspan")
        begin("mheap")
        body += leb(2) + self.name("runtime.mheap") + leb(6000) + b"\x19"
        body += member("rows", 300, "row") + member("span", 5100, "named") + member("_", 0, "word") + b"\0"
        begin("pools")
        in_unit = struct.pack("<I", self.places.get("mspan", start) - start)
        body += leb(6) + self.name("[4]runtime.mspan") + in_unit + struct.pack("<I", 800) + b"\0"
        self.unit(self.head("runtime") + body + b"\0")

    def abbreviations(self) -> bytes:
        out = b""
        for code, (tag, children, values) in self.kinds().items():
            out += leb(code) + leb(tag) + bytes([children])
            for name, form in values:
                out += leb(name) + leb(form) + (b"\x7b" if form == 0x21 else b"")
            out += b"\0\0"
        return out + b"\0"

    def sections(self) -> dict[str, bytes]:
        held = {"info": self.info, "abbrev": self.abbreviations()}
        return held | {"str": bytes(self.texts[STRP]), "line_str": bytes(self.texts[LINE_STRP])}


def elf_of(sections: dict[str, bytes], how: str = PLAIN) -> Elf:
    """An ELF file of these sections of debugging information."""
    names, body, headers = b"\0.names\0", b"", [bytes(64)]
    for name, content in sections.items():
        flags, packed = 0, content
        if how == FLAGGED:
            flags, packed = 0x800, struct.pack("<IIQQ", 1, 0, len(content), 1) + zlib.compress(content)
        elif how == AS_IT_IS:
            flags = 0x800
        elif how == OLD:
            packed = b"ZLIB" + struct.pack(">Q", len(content)) + zlib.compress(content)
        headers.append(struct.pack("<IIQQQQIIQQ", len(names), 1, flags, 0, 64 + len(body), len(packed), 0, 0, 1, 0))
        names += (b".zdebug_" if how == OLD else b".debug_") + name.encode() + b"\0"
        body += packed
    headers.append(struct.pack("<IIQQQQIIQQ", 1, 3, 0, 0, 64 + len(body), len(names), 0, 0, 1, 0))
    body += names
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 0, 0, 64 + len(body), 0, 64, 56, 0, 64, len(headers),
        len(headers) - 1,
    )  # fmt: skip
    data = head + body + b"".join(headers)
    return Elf(lambda at, size: data[at : at + size], len(data))


def whole(elf: Elf, name: str) -> bytes:
    stream = open_section(elf, name)
    return stream.take(stream.size_bytes) if stream else b""


def types_of(elf: Elf) -> Types:
    info = open_section(elf, "info")
    assert info is not None
    return Types.of(info, whole(elf, "abbrev"), lambda name, at: whole(elf, name)[at:].partition(b"\0")[0])


def told(struct_: Struct) -> tuple[str, int, list[tuple[str, int, int]]]:
    return struct_.name, struct_.size_bytes, [(each.name, each.offset, each.width) for each in struct_.members]


def assert_is_as_made(types: Types) -> None:
    found = types.named(["mheap", "mspan", "debug", "stackpool", "handler", "absent"])
    span = ("mspan", 200, [("next", 0, 8), ("start", 8, 8), ("run", 16, 8)])
    assert {name: told(each) for name, each in found.items()} == {
        "mheap": ("mheap", 6000, [("rows", 300, 4800), ("span", 5100, 200), ("_", 0, 8)]),
        "mspan": span,
        "debug": ("", 16, [("a", 8, 8)]),
        "stackpool": span,
    }
    rows, named, word = found["mheap"].members
    inner, is_array = types.struct(rows.type)
    assert inner and is_array and told(inner) == ("", 16, [("a", 8, 8)])
    inner, is_array = types.struct(named.type)
    assert inner and not is_array and inner.name == "mspan"
    assert types.struct(word.type) == (None, False)


@pytest.mark.parametrize("wide", [False, True], ids=["32-bit", "64-bit"])
@pytest.mark.parametrize("how", [PLAIN, FLAGGED, OLD])
@pytest.mark.parametrize(
    ("version", "form"), [(3, STRING), (4, STRING), (5, STRING), (4, STRP), (5, STRP), (5, LINE_STRP)]
)
def test_what_was_written_is_read(version: int, form: int, how: str, wide: bool) -> None:
    """With names that are not in place the search finds nothing, and all entries are read."""
    assert_is_as_made(types_of(elf_of(Maker(version, form, wide).sections(), how)))


def test_strings_by_index_are_not_known() -> None:
    assert types_of(elf_of(Maker(5, STRX).sections())).named(NAMES) == {}


def test_a_reference_of_dwarf_2_has_the_size_of_an_address() -> None:
    made = Maker(2, STRING, wide=True)  # the 64-bit format has offsets of this size
    assert_is_as_made(types_of(elf_of(made.sections())))


def test_of_units_of_other_packages_and_languages_only_the_head_is_read() -> None:
    """Maker puts bytes that are no entries behind the heads of the first and the last unit."""
    info = Maker().info
    assert info.count(b"\xff" * 40) == 2
    types = types_of(elf_of(Maker().sections()))
    assert [unit.head() for unit in types._units] == [(True, "runtime")] * 2


@pytest.mark.parametrize("kind", [2, 4, 0x80])
def test_units_of_another_kind_are_left_out(kind: int) -> None:
    made = Maker(5)
    before = len(made.info)
    made.unit(made.head("runtime") + b"\xff" * 40, kind)
    assert len(made.info) > before
    assert_is_as_made(types_of(elf_of(made.sections())))


def test_only_the_first_level_counts_where_all_entries_are_read() -> None:
    """Maker's function has a variable of the name runtime.mheap."""
    types = types_of(elf_of(Maker(4, STRP).sections()))
    wanted = {b"runtime.mheap": "mheap"}
    assert len(list(types._walk(wanted))) == 1
    assert list(types._search(wanted)) == []


# Real programs


@once
def real(version: str, flags: tuple[str, ...] = ()) -> dict[str, bytes]:
    """The sections of a real program, unpacked."""
    data = go_program(version, flags=flags).read_bytes()
    elf = Elf(lambda at, size: data[at : at + size], len(data))
    return {name: whole(elf, name) for name in ("info", "abbrev")}


@pytest.mark.parametrize("version", VERSIONS)
def test_search_and_walk_find_the_same(version: str) -> None:
    """The walk reads every entry of package runtime: one that is misread would lead it astray."""
    wanted = {f"runtime.{name}".encode(): name for name in NAMES}
    types = types_of(elf_of(real(version)))
    by_search, by_walk = types._best(types._search(wanted)), types._best(types._walk(wanted))
    assert by_search == by_walk
    assert by_search.keys() == set(NAMES)
    assert sum(len(unit.data) for unit in types._units) < len(real(version)["info"])


# Sections


@given(st.lists(st.tuples(st.sampled_from(["take", "skip", "peek"]), st.integers(0, 400_000)), max_size=12))
@settings(deadline=None, max_examples=60)
@pytest.mark.parametrize("how", [PLAIN, FLAGGED, OLD])
def test_a_stream_is_its_section(how: str, steps: list[tuple[str, int]]) -> None:
    content = bytes(range(251)) * 4000
    stream, at = open_section(elf_of({"info": content}, how), "info"), 0
    assert stream is not None and stream.size_bytes == len(content)
    for step, size in steps:
        if step == "peek":
            assert stream.peek(size) == content[at : at + size]
        elif at + size > len(content):
            with pytest.raises(FormatError, match="ends too early"):
                getattr(stream, step)(size)
        else:
            got = getattr(stream, step)(size)
            assert got is None or got == content[at : at + size]
            at += size
        assert (stream.at, stream.left) == (at, len(content) - at)


def test_a_section_that_is_not_there_is_none() -> None:
    assert open_section(elf_of({"line": b"x"}), "info") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (struct.pack("<IIQQ", 1, 0, SECTION_MAX_BYTES + 1, 1), "too large"),
        (struct.pack("<IIQQ", 2, 0, 5, 1), "an unknown way, 2"),
        (struct.pack("<IIQQ", 1, 0, 5, 1) + b"no zlib", "damaged"),
        (struct.pack("<IIQQ", 1, 0, 5, 1) + zlib.compress(b"x"), "ends too early"),
        (struct.pack("<IIQQ", 1, 0, 5, 1) + zlib.compress(b"xxxxx")[:-7], "ends too early"),
        (struct.pack("<IIQ", 1, 0, 5), "cut off"),
    ],
)
def test_sections_that_lie_are_refused(content: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        whole(elf_of({"info": content}, AS_IT_IS), "info")


def test_a_section_longer_than_its_file_ends_too_early() -> None:
    with pytest.raises(FormatError, match="ends too early"):
        Stream(elf_of({}), 0, 1 << 20, 1 << 20, False).take(1 << 20)


# Bad input


def attempt(sections: dict[str, bytes], names: Sequence[str] = NAMES) -> int:
    """Read them to the end, and every type within; gives the entries that were read."""
    try:
        types = types_of(elf_of(sections))
    except FormatError:
        return 0
    try:
        for found in types.named(names).values():
            for member in found.members:
                types.struct(member.type)
    except FormatError:
        pass
    return dwarf.ENTRIES_MAX - types._left


def damaged(data: bytes, places: Sequence[tuple[float, bytes]]) -> bytes:
    out = bytearray(data)
    for share, content in places:
        at = int(share * len(out))
        out[at : at + len(content)] = content
    return bytes(out)


PLACES = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=40)


@given(PLACES, PLACES, st.sampled_from(VERSIONS))
@settings(deadline=None, max_examples=60)
def test_damaged_sections_of_real_programs(
    info: list[tuple[float, bytes]], table: list[tuple[float, bytes]], version: str
) -> None:
    sections = real(version)
    for made in ({"info": damaged(sections["info"], info)}, {"abbrev": damaged(sections["abbrev"], table)}):
        assert attempt(sections | made) <= dwarf.ENTRIES_MAX + 1


@given(st.sampled_from(VERSIONS), st.data())
@settings(deadline=None, max_examples=60)
def test_damaged_types_of_real_programs(version: str, data: st.DataObject) -> None:
    """Right where the structures are that are looked for."""
    sections = real(version)
    at = sections["info"].index(data.draw(st.sampled_from([b"runtime.mheap\0", b"runtime.mspan\0"])))
    changes = data.draw(st.lists(st.tuples(st.integers(-20, 600), st.binary(min_size=1, max_size=6)), min_size=1))
    made = bytearray(sections["info"])
    for where, content in changes:
        made[at + where : at + where + len(content)] = content
    assert attempt(sections | {"info": bytes(made)}) <= dwarf.ENTRIES_MAX + 1


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_any_bytes(info: bytes, table: bytes) -> None:
    attempt({"info": info, "abbrev": table})


@given(PLACES, st.sampled_from([(4, STRING, False), (5, STRP, True), (5, LINE_STRP, False)]))
@settings(deadline=None)
def test_damaged_sections_made_here(places: list[tuple[float, bytes]], made: tuple[int, int, bool]) -> None:
    sections = Maker(*made).sections()
    attempt(sections | {"info": damaged(sections["info"], places)})


@pytest.mark.parametrize("size", range(0, 400, 7))
def test_cut_off_anywhere(size: int) -> None:
    sections = Maker().sections()
    attempt(sections | {"info": sections["info"][:size]})
    attempt(sections | {"abbrev": sections["abbrev"][:size]})


def test_a_type_that_leads_to_itself_ends() -> None:
    made = Maker()
    at = made.places["named"]
    info = bytearray(made.info)
    place = at + 1 + len(b"runtime.mspan\0")
    info[place : place + 4] = struct.pack("<I", at)
    types = types_of(elf_of(made.sections() | {"info": bytes(info)}))
    assert "mheap" not in types.named(["mheap", "mspan"])
    assert "mspan" in types.named(["mheap", "mspan"])
    with pytest.raises(FormatError, match="on and on"):
        types.struct(at)


def units() -> Iterator[tuple[dict[str, bytes], str]]:
    made = Maker()
    empty = struct.pack("<IHIB", 0x20, 4, 0, 8) + bytes(0x20 - 7)
    yield made.sections() | {"info": empty * 65}, "over 64 units"
    yield made.sections() | {"info": struct.pack("<I", 1 << 30) + made.info}, "a unit of"
    yield made.sections() | {"info": bytes(4) + made.info}, "a unit of 4 bytes"
    attributes = leb(1) + leb(0x11) + b"\1" + (leb(3) + leb(8)) * 40 + b"\0\0"
    yield made.sections() | {"abbrev": attributes * 40}, "abbreviations of DWARF are too many"


@pytest.mark.parametrize(("sections", "why"), list(units()))
def test_bounds(sections: dict[str, bytes], why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dwarfunits, "UNITS_MAX", 64)
    monkeypatch.setattr(dwarfunits, "DESCRIBED_MAX", 1000)
    with pytest.raises(FormatError, match=why):
        types_of(elf_of(sections))


def test_the_entries_that_are_read_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dwarf, "ENTRIES_MAX", 12)
    types = types_of(elf_of(Maker(4, STRP).sections()))
    with pytest.raises(FormatError, match="too many entries"):
        types.named(NAMES)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dwarfunits, "KEPT_MAX_BYTES", 300)
    with pytest.raises(FormatError, match="over 300 bytes"):
        types_of(elf_of(Maker().sections()))


def test_how_often_the_package_is_named_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dwarf, "HITS_MAX", 2)
    with pytest.raises(FormatError, match="too often"):
        types_of(elf_of(Maker().sections())).named(NAMES)
