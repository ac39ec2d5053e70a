"""The names of functions by address: of real programs against their symbols, by nm; of tables laid out by hand."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import go_program
from whyrss.errors import FormatError
from whyrss.read.elf import Elf
from whyrss.read.pclntab import BLOCK, FORMS, MOST_NAME_BYTES, Pclntab, printed

VERSIONS = ("1.15", "1.19", "1.21", "1.24", "1.27")
OLD, OF_16, OF_18, OF_20 = FORMS
Order = Literal["little", "big"]


class Bytes:
    """A table in memory that counts how often it is read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0

    def __call__(self, offset: int, size: int) -> bytes:
        assert offset >= 0 and size >= 0
        self.reads += 1
        return self.data[offset : offset + size]


def table(
    functions: list[tuple[int, str]], end: int, magic: int = OF_20, order: Order = "little", word: int = 8
) -> bytes:
    """A table of these functions (place, name), the last of which ends at `end`. Without a name: code that is not
    Go's. As cmd/link/internal/ld/pcln.go of Go 1.15, 1.17, 1.19 and 1.27 write it."""
    names = b"".join(name.encode() + b"\0" for _, name in functions)
    narrow = magic in (OF_18, OF_20)
    width = 4 if narrow else word
    words = {OLD: 1, OF_16: 7, OF_18: 8, OF_20: 8}[magic]
    header = 8 + words * word
    rows = (2 * len(functions) + 1) * width
    old = magic == OLD
    names_at = header + rows if old else header
    list_at = header if old else header + len(names)
    base = 0 if old else list_at
    records_at = names_at + len(names) if old else list_at + rows

    def number(value: int, size: int) -> bytes:
        return value.to_bytes(size, order)

    listed, records, name_at = b"", b"", names_at if old else 0
    for place, name in functions:
        offset = records_at + len(records) - base if name else (1 << 8 * width) - 1
        listed += number(place, width) + number(offset, width)
        records += number(place, width) + number(name_at, 4)
        name_at += len(name.encode()) + 1
    listed += number(end, width)
    head = number(magic, 4) + bytes([0, 0, 1, word]) + number(len(functions), word)
    filler = number(7, word)
    text_start = filler if narrow else b""
    if old:
        return head + listed + names + records
    head += filler + text_start + number(names_at, word) + 3 * filler + number(list_at, word)
    return head + names + listed + records


def by_hand(data: bytes) -> Pclntab:
    return Pclntab(Bytes(data))


# Real programs


@functools.cache
def real(version: str) -> tuple[bytes, int, dict[int, set[str]]]:
    """The table of a program, where its text starts, and all its symbols of code."""
    if not shutil.which("nm"):
        pytest.skip("needs nm (binutils)")
    path = go_program(version)
    data = path.read_bytes()
    section = Elf(lambda at, size: data[at : at + size], len(data)).section(".gopclntab")
    assert section
    return data[section.offset : section.offset + section.size_bytes], *_symbols(path)


def _symbols(path: Path) -> tuple[int, dict[int, set[str]]]:
    lines = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines()
    found: dict[int, set[str]] = {}
    places = {}
    for line in lines:
        value, kind, name = line.split(maxsplit=2)
        if kind in "tT":
            places[name] = int(value, 16)
            # Functions that are called by the old convention have a symbol of their own, but no name.
            found.setdefault(int(value, 16), set()).add(name.removesuffix(".abi0"))
    return places["runtime.text"], {at: names for at, names in found.items() if at < places["runtime.etext"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_function_has_the_name_of_its_symbol(version: str) -> None:
    data, text, symbols = real(version)
    found = by_hand(data)
    base = text if found.relative else 0
    # Its own symbols begin and end sections, or are data between functions.
    own = {"runtime.text", "_start", "go.buildid", "go:buildid"}
    named = {at: names for at, names in symbols.items() if names - own}
    assert len(named) > 1000
    assert found.relative == (version != "1.15")
    assert {at: names for at, names in named.items() if _alike(found.name(at - base)) not in map(_alike, names)} == {}


def _alike(name: str) -> str:
    """Go 1.18 to 1.20 leave out of the table what stands in brackets; symbols have no dot in the middle."""
    return printed(name).replace("·", ".")


@pytest.mark.parametrize("version", VERSIONS)
def test_the_last_byte_of_a_function_is_still_its_own(version: str) -> None:
    data, text, symbols = real(version)
    found = by_hand(data)
    base = text if found.relative else 0
    entries = sorted(symbols)
    before_main = entries[entries.index(next(at for at, names in symbols.items() if "main.main" in names)) + 1] - 1
    assert found.name(before_main - base) == "main.main"
    assert found.name(entries[0] - base - 1) == ""
    assert found.name(max(entries) - base + (1 << 24)) == ""


def test_few_reads_find_a_function_among_thousands() -> None:
    data, _, _ = real("1.27")
    counted = Bytes(data)
    found = Pclntab(counted)
    counted.reads = 0
    assert found.name(4096)
    assert found.count > 1000
    assert counted.reads < 15


# By hand

FUNCTIONS = [(0x1000 + 16 * n, f"main.f{n}") for n in range(3 * BLOCK)]
END = 0x1000 + 16 * len(FUNCTIONS)


@pytest.mark.parametrize("word", [4, 8])
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("magic", FORMS)
def test_every_form_in_every_byte_order(magic: int, order: Order, word: int) -> None:
    found = by_hand(table(FUNCTIONS, END, magic, order, word))
    assert found.count == len(FUNCTIONS)
    assert found.first == 0x1000
    assert [found.name(place + 15) for place, _ in FUNCTIONS] == [name for _, name in FUNCTIONS]
    assert [found.name(place) for place, _ in FUNCTIONS] == [name for _, name in FUNCTIONS]
    assert [found.name(place) for place in (-1, 0, 0xFFF, END, END + 1, 1 << 63)] == [""] * 6


@pytest.mark.parametrize("magic", FORMS)
def test_code_that_is_not_gos_has_no_name(magic: int) -> None:
    found = by_hand(table([(16, "main.a"), (32, ""), (48, "main.b")], 64, magic))
    assert [found.name(place) for place in (31, 32, 47, 48)] == ["main.a", "", "", "main.b"]


@pytest.mark.parametrize("name", ["main.f·dwrap·1", "main.F[go.shape.int]", "a" * (MOST_NAME_BYTES - 1)])
def test_names_as_they_are(name: str) -> None:
    assert by_hand(table([(16, name)], 32)).name(16) == name


@pytest.mark.parametrize("name", ["a" * MOST_NAME_BYTES, "main.\x1b[31mred", "main.\nline"])
def test_what_no_function_is_called_is_no_name(name: str) -> None:
    assert by_hand(table([(16, name)], 32)).name(16) == ""


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (b"", "not a table"),
        (b"\xf1\xff\xff\xff\0\0\1", "not a table"),
        (b"\xf2\xff\xff\xff\0\0\1\10" + bytes(64), "not a table"),
        (b"\xf1\xff\xff\xff\0\0\1\7" + bytes(64), "not a table"),
        (b"\xf1\xff\xff\xff\0\1\1\10" + bytes(64), "not a table"),
        (b"\xf1\xff\xff\xff\0\0\1\10" + bytes(7), "truncated"),
        (b"\xf1\xff\xff\xff\0\0\1\10" + b"\1" * 60, "truncated"),
        (b"\xf1\xff\xff\xff\0\0\1\10" + bytes(64), "a table of 0 functions"),
        (b"\xfb\xff\xff\xff\0\0\1\10" + b"\xff" * 64, "functions is none"),
    ],
)
def test_what_is_no_table(head: bytes, why: str) -> None:
    with pytest.raises(FormatError, match=why):
        by_hand(head)


# Hostile ones


def names_of(data: bytes, places: list[int]) -> None:
    """Names, or none; never another error, and never many reads."""
    counted = Bytes(data)
    try:
        found = Pclntab(counted)
    except FormatError:
        return
    for place in places:
        counted.reads = 0
        name = found.name(place)
        assert name.isprintable() and len(name) < MOST_NAME_BYTES
        assert counted.reads < 40


PLACES = st.lists(st.integers(-(1 << 64), 1 << 64), max_size=4)


@settings(deadline=None)
@given(st.sampled_from(list(FORMS)), st.binary(max_size=300), PLACES)
def test_noise_behind_a_sound_beginning(magic: int, noise: bytes, places: list[int]) -> None:
    names_of(magic.to_bytes(4, "little") + bytes([0, 0, 1, 8]) + noise, places)


@settings(deadline=None)
@given(st.data())
def test_tables_cut_off_and_bitten(data: st.DataObject) -> None:
    magic = data.draw(st.sampled_from(list(FORMS)))
    whole = bytearray(table(FUNCTIONS, END, magic))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(8, len(whole) - 8))
        whole[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    names_of(bytes(whole[: data.draw(st.integers(0, len(whole)))]), [*data.draw(PLACES), 0x1000, 0x1234, END - 1])


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1 << 21), st.sampled_from(VERSIONS))
def test_real_tables_cut_off(length: int, version: str) -> None:
    data, text, symbols = real(version)
    entries = list(symbols)[:20]
    names_of(data[:length], [at - text for at in entries] + entries)


# Go's own way to print a name


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("main.main", "main.main"),
        ("main.F[go.shape.int].func1", "main.F[...].func1"),
        ("main.(*T[go.shape.[]uint8,int]).M", "main.(*T[...]).M"),
        ("main.T[go.shape.int].M[go.shape.string]", "main.T[...].M[...]"),
        ("main.odd]", "main.odd]"),
        ("main.odd[", "main.odd["),
        ("", ""),
    ],
)
def test_type_arguments_are_left_out(name: str, text: str) -> None:
    assert printed(name) == text


@given(st.text("ab[]", max_size=12))
def test_any_brackets_can_be_printed(name: str) -> None:
    assert len(printed(name)) <= len(name) + 3 * name.count("[")
