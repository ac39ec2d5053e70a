"""ELF reading: files laid out here by struct, both classes and byte orders, and real ones against readelf."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import go_program
from whyrss.errors import FormatError
from whyrss.read import elf as elf_module
from whyrss.read.elf import ET_DYN, ET_EXEC, PF_W, PT_DYNAMIC, PT_LOAD, Elf

LAYOUTS = [(8, "little"), (8, "big"), (4, "little"), (4, "big")]
AMD64, PPC64 = 62, 21
RELATIVE = {AMD64: 8, PPC64: 22}
BASE, LOADED_BYTES = 0x400000, 0x1000
NAMES = b"\0.text\0.symtab\0.debug_info\0.shstrtab\0"
# Headers, all names, the longest name list, PT_DYNAMIC, one table of relocations twice (bisected, then read).
MAX_READ_BYTES = 1 << 20


class Layout:
    """struct formats of one class and byte order."""

    def __init__(self, word_bytes: int, order: str) -> None:
        self.word_bytes = word_bytes
        self.order = "<" if order == "little" else ">"
        self.letter = "Q" if word_bytes == 8 else "I"

    def words(self, *values: int) -> bytes:
        return struct.pack(f"{self.order}{len(values)}{self.letter}", *values)

    def header(self, *, machine: int = AMD64, kind: int = ET_EXEC, phnum: int = 0, **over: int) -> bytes:
        """e_ident and the rest; `over`: shoff, shentsize, shnum, shstrndx, phoff, phentsize."""
        wide = self.word_bytes == 8
        ident = b"\x7fELF" + bytes((2 if wide else 1, 1 if self.order == "<" else 2, 1)) + bytes(9)
        size, phentsize, shentsize = (64, 56, 64) if wide else (52, 32, 40)
        fixed = struct.pack(f"{self.order}HHI", kind, machine, 1)
        places = self.words(BASE, over.get("phoff", size), over.get("shoff", 0))
        counts = struct.pack(
            f"{self.order}IHHHHHH", 0, size, over.get("phentsize", phentsize), phnum,
            over.get("shentsize", shentsize), over.get("shnum", 0), over.get("shstrndx", 0),
        )  # fmt: skip
        return ident + fixed + places + counts

    def segment(self, kind: int, flags: int, offset: int, address: int, sizes: tuple[int, int]) -> bytes:
        if self.word_bytes == 8:
            return struct.pack(f"{self.order}II6Q", kind, flags, offset, address, address, *sizes, 4096)
        return struct.pack(f"{self.order}8I", kind, offset, address, address, *sizes, flags, 4096)

    def section(self, name: bytes, kind: int, address: int, offset: int, size: int) -> bytes:
        at = NAMES.index(b"\0" + name + b"\0") + 1 if name else 0
        w = self.letter
        return struct.pack(f"{self.order}II4{w}II2{w}", at, kind, 0, address, offset, size, 0, 0, 1, 0)


def elf_of(data: bytes) -> Elf:
    return Elf(lambda offset, size: data[offset : offset + size], len(data))


def with_sections(layout: Layout) -> bytes:
    """One loaded segment of 4 KiB (twice that in memory), three sections and their names."""
    load = layout.segment(PT_LOAD, PF_W, 0, BASE, (LOADED_BYTES, 2 * LOADED_BYTES))
    sections = [
        layout.section(b"", 0, 0, 0, 0),
        layout.section(b".text", 1, BASE + 0x400, 0x400, 0x10),
        layout.section(b".symtab", 2, 0, 0x500, 0x18),
        layout.section(b".shstrtab", 3, 0, LOADED_BYTES, len(NAMES)),
    ]
    shoff = LOADED_BYTES + 64
    header = layout.header(phnum=1, shoff=shoff, shnum=4, shstrndx=3)
    body = (header + load).ljust(LOADED_BYTES, b"\x90") + NAMES
    return body.ljust(shoff, b"\0") + b"".join(sections)


def with_relocations(layout: Layout, machine: int, entries: list[tuple[int, int, int]]) -> bytes:
    """A PIE program whose PT_DYNAMIC names a table of (address, type, addend)."""
    table = b"".join(layout.words(*entry) for entry in entries)
    offset = 0x800
    tags = layout.words(1, 5, 7, BASE + offset, 8, len(table), 9, 3 * layout.word_bytes, 0, 0, 7, 1)
    size = offset + len(table)
    load = layout.segment(PT_LOAD, PF_W, 0, BASE, (size, size))
    dynamic = layout.segment(PT_DYNAMIC, PF_W, 0x400, BASE + 0x400, (len(tags), len(tags)))
    header = layout.header(machine=machine, kind=ET_DYN, phnum=2)
    return (header + load + dynamic).ljust(0x400, b"\0") + tags.ljust(0x400, b"\0") + table


@pytest.mark.parametrize(("word_bytes", "order"), LAYOUTS)
def test_headers(word_bytes: int, order: str) -> None:
    elf = elf_of(with_sections(Layout(word_bytes, order)))
    assert (elf.word_bytes, elf.order, elf.kind, elf.entry, elf.arch) == (
        word_bytes, order, ET_EXEC, BASE, "amd64",
    )  # fmt: skip
    (load,) = elf.loads()
    assert (load.kind, load.flags, load.offset, load.address) == (PT_LOAD, PF_W, 0, BASE)
    assert (load.file_bytes, load.memory_bytes) == (LOADED_BYTES, 2 * LOADED_BYTES)
    assert elf.has_sections
    text = elf.section(".text")
    assert text
    assert (text.kind, text.address, text.offset, text.size_bytes) == (1, BASE + 0x400, 0x400, 0x10)
    assert elf.section(".symtab") and not elf.section(".debug_info") and not elf.section("text")
    assert elf.interpreter is None
    assert elf.dynamic == []


def test_addresses() -> None:
    elf = elf_of(with_sections(Layout(8, "little")))
    last = BASE + LOADED_BYTES - 1
    assert [elf.offset_of(a) for a in (BASE - 1, BASE, last, last + 1)] == [None, 0, LOADED_BYTES - 1, None]
    assert [elf.address_of(o) for o in (0, LOADED_BYTES - 1, LOADED_BYTES)] == [BASE, last, None]
    assert [elf.in_memory(a) for a in (BASE - 1, last + 1, BASE + 2 * LOADED_BYTES)] == [False, True, False]
    assert elf.read_address(last - 1, 8) == b"\x90\x90"
    assert elf.read_address(last + 1, 8) == b""
    assert elf.pointer(last - 7) == 0x9090909090909090
    assert elf.pointer(last - 6) is None


@pytest.mark.parametrize(
    ("machine", "word_bytes", "order", "name"),
    [
        (183, 8, "little", "arm64"),
        (3, 4, "little", "386"),
        (40, 4, "little", "arm"),
        (21, 8, "little", "ppc64le"),
        (21, 8, "big", "ppc64"),
        (22, 8, "big", "s390x"),
        (8, 4, "little", "mipsle"),
        (8, 8, "big", "mips64"),
        (243, 8, "little", "riscv64"),
        (258, 8, "little", "loong64"),
        (999, 8, "little", "machine 999"),
    ],
)
def test_arch_is_the_goarch(machine: int, word_bytes: int, order: str, name: str) -> None:
    assert elf_of(Layout(word_bytes, order).header(machine=machine)).arch == name


@pytest.mark.parametrize(
    "lie",
    [
        {"shoff": 0},
        {"shoff": 1 << 40},
        {"shnum": 0},
        {"shnum": 0xFFFF},
        {"shstrndx": 3, "shnum": 3},
        {"shstrndx": 0},
        {"shstrndx": 0xFFFF},
        {"shentsize": 0},
        {"shentsize": 16},
        {"shoff": 64},
    ],
)
def test_section_headers_that_lie_are_absent(lie: dict[str, int]) -> None:
    layout = Layout(8, "little")
    data = with_sections(layout)
    true = {"shoff": LOADED_BYTES + 64, "shnum": 4, "shstrndx": 3}
    elf = elf_of(layout.header(phnum=1, **{**true, **lie}) + data[64:])
    assert not elf.has_sections
    assert elf.section(".text") is None
    assert len(elf.loads()) == 1


def test_section_headers_of_zeros_are_absent() -> None:
    data = with_sections(Layout(8, "little"))
    assert not elf_of(data[: LOADED_BYTES + 64] + bytes(4 * 64)).has_sections


def test_names_without_an_end_stay_small() -> None:
    layout = Layout(8, "little")
    count, names_bytes = 16384, 1 << 20
    names = layout.section(b"", 3, 0, 128 + 64 * count, names_bytes)
    header = layout.header(shoff=128, shnum=count, shstrndx=0)
    data = header.ljust(128, b"\0") + names * count + b"a" * names_bytes
    assert not elf_of(data).has_sections


@pytest.mark.parametrize(
    ("size", "over"),
    [
        (3, {}),
        (5, {}),
        (63, {}),
        (64, {"phnum": 1}),
        (4096, {"phnum": 1, "phentsize": 8}),
        (4096, {"phnum": 1, "phoff": 1 << 60}),
        (4096, {"phnum": 100}),
        (4096, {"phnum": 0xFFFF}),
        (4096, {"phnum": 0xFFFF, "shoff": 1 << 60}),
    ],
)
def test_program_headers_that_lie(size: int, over: dict[str, int]) -> None:
    with pytest.raises(FormatError):
        elf_of(Layout(8, "little").header(**over).ljust(size, b"\xff")[:size])


@pytest.mark.parametrize(("word_bytes", "order"), LAYOUTS)
def test_extended_number_of_program_headers(word_bytes: int, order: str) -> None:
    """A core file of a process with very many mappings (PN_XNUM): the number is sh_info of section 0."""
    layout = Layout(word_bytes, order)
    count = 70000
    size = 64 if word_bytes == 8 else 52
    entry = layout.segment(PT_LOAD, 0, 0, BASE, (1, 1))
    zero = bytearray(layout.section(b"", 0, 0, 0, 0))
    at = 44 if word_bytes == 8 else 28
    zero[at : at + 4] = struct.pack(f"{layout.order}I", count)
    header = layout.header(phnum=0xFFFF, shoff=size + count * len(entry), shnum=1)
    assert len(elf_of(header + entry * count + zero).segments) == count


@pytest.mark.parametrize(("word_bytes", "order"), LAYOUTS)
@pytest.mark.parametrize("is_sorted", [True, False])
def test_relative_addends(word_bytes: int, order: str, is_sorted: bool) -> None:
    layout, kind = Layout(word_bytes, order), RELATIVE[PPC64]
    entries = [(0x1000 + i * word_bytes, kind, BASE + i) for i in range(9000)]
    entries[500] = (entries[500][0], kind + 1, 77)
    if not is_sorted:
        entries = entries[4500:] + entries[:4500][::-1]
    elf = elf_of(with_relocations(layout, PPC64, entries))
    assert elf.dynamic == [(1, 5), (7, BASE + 0x800), (8, 9000 * 3 * word_bytes), (9, 3 * word_bytes)]
    start = 0x1000 + 498 * word_bytes
    expected = {start + i * word_bytes: BASE + 498 + i for i in (0, 1, 3)}
    assert elf.relative_addends(start, start + 4 * word_bytes) == expected
    assert elf.relative_addends(0, 0x1000) == {}
    assert elf.relative_addends(start, start) == {}


@pytest.mark.parametrize("is_sorted", [True, False])
def test_a_relocation_is_found_with_few_reads(is_sorted: bool) -> None:
    entries = [(0x1000 + i * 8, RELATIVE[AMD64], BASE + i) for i in range(100_000)]
    data = with_relocations(Layout(8, "little"), AMD64, entries if is_sorted else entries[::-1])
    reads: list[int] = []

    def read_at(offset: int, size: int) -> bytes:
        reads.append(size)
        return data[offset : offset + size]

    address = 0x1000 + 8 * (5000 if is_sorted else 95_000)
    found = Elf(read_at, len(data)).relative_addends(address, address + 8)
    assert found == {address: BASE + (address - 0x1000) // 8}
    # Sorted: one word for each halving. Else: the two chunks of 4096 entries up to the hit.
    assert sum(reads) < (8192 if is_sorted else 8192 + 2 * 4096 * 24)


def readelf(option: str, path: Path) -> str:
    if not shutil.which("readelf"):
        pytest.skip("needs readelf (binutils)")
    argv = ["readelf", option, "-W", str(path)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("version", ["1.15", "1.27"])
def test_real_program_as_readelf_sees_it(version: str) -> None:
    path = go_program(version, flags=("-buildmode=pie",), env={"GOARCH": "amd64"})
    elf = elf_of(path.read_bytes())
    line = r"^ +\S+ +(0x\w+) (0x\w+) 0x\w+ (0x\w+) (0x\w+) [RWE ]{3} 0x"
    lines = re.findall(line, readelf("-l", path), re.M)
    found = [[s.offset, s.address, s.file_bytes, s.memory_bytes] for s in elf.segments]
    assert found == [[int(number, 16) for number in numbers] for numbers in lines]
    assert elf.interpreter == "/lib64/ld-linux-x86-64.so.2"

    sections = re.findall(r"\] (\.\S+) +\S+ +(\w{16}) (\w{6,}) (\w{6,}) ", readelf("-S", path))
    assert len(sections) > 10
    for name, *numbers in sections:
        section = elf.section(name)
        assert section
        assert [section.address, section.offset, section.size_bytes] == [int(n, 16) for n in numbers]

    relocations = re.findall(r"^(\w{16}) +\w+ R_X86_64_RELATIVE +(\w+)$", readelf("-r", path), re.M)
    addends = {int(address, 16): int(addend, 16) for address, addend in relocations}
    assert len(addends) > 1000
    some = sorted(addends)[:: len(addends) // 40]
    for address in some:
        assert elf.relative_addends(address, address + 8) == {address: addends[address]}
    low, high = some[3], some[3] + 4096
    assert elf.relative_addends(low, high) == {a: v for a, v in addends.items() if low <= a < high}


def test_no_module_is_imported_for_reading() -> None:
    """Each import of the standard library would cost more than all the reading does."""
    code = (
        "import sys; before = set(sys.modules); import whyrss.read.buildinfo;"
        "print(*sorted(m for m in set(sys.modules) - before if not m.startswith('whyrss')))"
    )
    folder = Path(elf_module.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env={"PYTHONPATH": str(folder)}, check=True, capture_output=True
    )
    assert done.stdout.split() == [b"__future__"]


@given(
    layout=st.sampled_from(LAYOUTS),
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=20),
    tail=st.binary(max_size=200),
    kept=st.integers(0, 3000),
    start=st.integers(0, 1 << 64),
)
@settings(deadline=None, max_examples=200)
def test_damaged_files(
    layout: tuple[int, str], flips: list[tuple[int, int]], tail: bytes, kept: int, start: int
) -> None:
    made = Layout(*layout)
    entries = [(0x1000 + 8 * i, 22, BASE) for i in range(64)]
    data = bytearray(with_relocations(made, PPC64, entries)[:kept] + tail)
    for at, value in flips:
        # Headers, then PT_DYNAMIC.
        place = at if at < 200 else 0x400 + at - 200
        if place < len(data):
            data[place] = value
    read_bytes = 0

    def read_at(offset: int, size: int) -> bytes:
        nonlocal read_bytes
        assert offset >= 0 and size > 0
        read_bytes += size
        return bytes(data[offset : offset + size])

    try:
        elf = Elf(read_at, len(data))
        elf.section(".text")
        _ = elf.interpreter, elf.dynamic, elf.arch
        elf.relative_addends(start, start + 64)
        elf.pointer(start)
    except FormatError as error:
        assert error.what
    assert read_bytes <= MAX_READ_BYTES
