"""ELF files, 32 and 64 bits, either byte order, read piece by piece through a callable.

Formats: the System V ABI (gABI) chapters 4 and 5; numbers as in <elf.h>. The kernel never looks at section
headers, so a running program may have none, or ones that lie: they are then treated as absent. Program
headers that lie are an error, because no program could have been started from them.
"""

from __future__ import annotations

from whyrss.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Literal

    from whyrss.read.dynamic import Relocations

    Order = Literal["little", "big"]
    ReadAt = Callable[[int, int], bytes]
    Field = tuple[int, int]

ET_EXEC, ET_DYN, ET_CORE = 2, 3, 4
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE, PT_TLS = 1, 2, 3, 4, 7
PF_X, PF_W = 1, 2
SHT_NOBITS = 8
DT_NEEDED = 1

_ORDERS: dict[int, Order] = {1: "little", 2: "big"}
# Places of: type, machine, entry, phoff, shoff, phentsize, phnum, shentsize, shnum, shstrndx.
_HEADER = {
    4: ((16, 18), (18, 20), (24, 28), (28, 32), (32, 36), (42, 44), (44, 46), (46, 48), (48, 50), (50, 52)),
    8: ((16, 18), (18, 20), (24, 32), (32, 40), (40, 48), (54, 56), (56, 58), (58, 60), (60, 62), (62, 64)),
}
# Places of: type, flags, offset, address, file bytes, memory bytes.
_SEGMENT = {
    4: ((0, 4), (24, 28), (4, 8), (8, 12), (16, 20), (20, 24)),
    8: ((0, 4), (4, 8), (8, 16), (16, 24), (32, 40), (40, 48)),
}
# Places of: type, flags, address, offset, size.
_SECTION = {
    4: ((4, 8), (8, 12), (12, 16), (16, 20), (20, 24)),
    8: ((4, 8), (8, 16), (16, 24), (24, 32), (32, 40)),
}
_HEADER_BYTES = {4: 52, 8: 64}
_SEGMENT_BYTES = {4: 32, 8: 56}
_SECTION_BYTES = {4: 40, 8: 64}

# e_machine -> GOARCH. Names that depend on the byte order or the word size are in _VARIANTS.
_MACHINES = {
    3: "386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "amd64",
    183: "arm64",
    243: "riscv64",
    258: "loong64",
}
_VARIANTS = {
    ("mips", 4, "little"): "mipsle",
    ("mips", 8, "little"): "mips64le",
    ("mips", 8, "big"): "mips64",
    ("ppc64", 8, "little"): "ppc64le",
}

HEAD_BYTES = 4096
_PN_XNUM = 0xFFFF
# Twice the kernel's default vm.max_map_count: a core file has a program header for each mapping.
_MAX_SEGMENTS = 131072
_MAX_SECTIONS = 16384
_MAX_NAMES_BYTES = 1 << 20
_MAX_NAME_BYTES = 128


class Segment:
    """One program header; `offset` in the file, `address` before any load bias."""

    __slots__ = ("address", "file_bytes", "flags", "kind", "memory_bytes", "offset")

    def __init__(self, fields: Sequence[int]) -> None:
        self.kind, self.flags, self.offset, self.address, self.file_bytes, self.memory_bytes = fields


class Section:
    """One section header; `size_bytes` is in memory when `kind` is SHT_NOBITS, else in the file."""

    __slots__ = ("address", "flags", "kind", "offset", "size_bytes")

    def __init__(self, fields: Sequence[int]) -> None:
        self.kind, self.flags, self.address, self.offset, self.size_bytes = fields


class Elf:
    """An ELF file behind `read_at(offset, size) -> bytes`, which may return less at the end of the file.

    The constructor reads the headers (normally one read of 4 KiB); everything else is read when asked for.
    `word_bytes` is 4 or 8, `order` "little" or "big", `kind` an ET_ number, `machine` an EM_ number.
    Raises FormatError when it is not ELF, or its headers are cut off or impossible.
    """

    __slots__ = (
        "_dynamic", "_head", "_names", "_read_at", "_relocations", "_section_bytes", "_table", "_table_place",
        "entry", "file_bytes", "kind", "machine", "order", "segments", "word_bytes",
    )  # fmt: skip

    def __init__(self, read_at: ReadAt, file_bytes: int) -> None:
        self._read_at = read_at
        self.file_bytes = file_bytes
        self._head = b""
        self._head = self.read(0, HEAD_BYTES)
        self.word_bytes, self.order = _identify(self._head)
        numbers = self._numbers(self._head, _HEADER[self.word_bytes])
        self.kind, self.machine, self.entry, phoff, shoff, phentsize, phnum, *sections = numbers
        self._table_place = (shoff, *sections)
        self._section_bytes = sections[0]
        self._names: dict[bytes, int] | None = None
        self._table = b""
        self._dynamic: list[tuple[int, int]] | None = None
        self._relocations: Relocations | None = None
        self.segments = list(self._segments(phoff, phentsize, phnum))

    @property
    def arch(self) -> str:
        """The GOARCH of the machine, or "machine N" for one that Go does not know."""
        name = _MACHINES.get(self.machine, f"machine {self.machine}")
        return _VARIANTS.get((name, self.word_bytes, self.order), name)

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes of the file at `offset`; short or empty when the file ends before."""
        size = min(size, self.file_bytes - offset)
        if offset < 0 or size <= 0:
            return b""
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        return self._read_at(offset, size)

    def number(self, raw: bytes) -> int:
        """The unsigned integer that `raw` is in this file's byte order."""
        return int.from_bytes(raw, self.order)

    def _numbers(self, raw: bytes, fields: Sequence[Field]) -> list[int]:
        order = self.order
        return [int.from_bytes(raw[low:high], order) for low, high in fields]

    # Program headers

    def _segments(self, phoff: int, entry_bytes: int, count: int) -> Iterator[Segment]:
        if count == _PN_XNUM:
            count = self._extended_count()
        if not count:
            return
        if entry_bytes < _SEGMENT_BYTES[self.word_bytes] or count > _MAX_SEGMENTS:
            raise FormatError(f"impossible ELF program headers: {count} of {entry_bytes} bytes each")
        raw = self.read(phoff, count * entry_bytes)
        if len(raw) < count * entry_bytes:
            raise FormatError(f"truncated ELF file: its {count} program headers at {phoff} are cut off")
        fields = _SEGMENT[self.word_bytes]
        for start in range(0, len(raw), entry_bytes):
            yield Segment(self._numbers(raw[start : start + entry_bytes], fields))

    def _extended_count(self) -> int:
        """With 65535 or more program headers their number is the sh_info of section 0 (gABI, PN_XNUM)."""
        low = 44 if self.word_bytes == 8 else 28
        shoff = self._table_place[0]
        raw = self.read(shoff + low, 4)
        if not shoff or len(raw) < 4:
            raise FormatError("truncated ELF file: the number of its program headers is cut off")
        return self.number(raw)

    def loads(self) -> list[Segment]:
        """The PT_LOAD program headers, in the order of the file."""
        return [segment for segment in self.segments if segment.kind == PT_LOAD]

    def first(self, kind: int) -> Segment | None:
        """The first program header of a kind."""
        return next((segment for segment in self.segments if segment.kind == kind), None)

    def offset_of(self, address: int) -> int | None:
        """The file offset of an address (without load bias); None when no file byte is there (.bss)."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and 0 <= address - segment.address < segment.file_bytes:
                return segment.offset + address - segment.address
        return None

    def address_of(self, offset: int) -> int | None:
        """The address (without load bias) that a file offset is loaded at; None when it is not loaded."""
        for segment in self.segments:
            if segment.kind == PT_LOAD and 0 <= offset - segment.offset < segment.file_bytes:
                return segment.address + offset - segment.offset
        return None

    def in_memory(self, address: int) -> bool:
        """Whether an address (without load bias) belongs to the program, with or without file bytes."""
        return any(s.kind == PT_LOAD and 0 <= address - s.address < s.memory_bytes for s in self.segments)

    def read_address(self, address: int, size: int) -> bytes:
        """Up to `size` bytes as stored in the file for `address`; short where the segment's bytes end."""
        for segment in self.segments:
            inside = address - segment.address
            if segment.kind == PT_LOAD and 0 <= inside < segment.file_bytes:
                return self.read(segment.offset + inside, min(size, segment.file_bytes - inside))
        return b""

    @property
    def interpreter(self) -> str | None:
        """The path of the dynamic loader, None for a static program."""
        segment = self.first(PT_INTERP)
        if segment is None:
            return None
        raw = self.read(segment.offset, min(segment.file_bytes, HEAD_BYTES))
        return raw.partition(b"\0")[0].decode("utf-8", "replace")

    @property
    def dynamic(self) -> list[tuple[int, int]]:
        """The (tag, value) pairs of PT_DYNAMIC up to DT_NULL; empty for a static program."""
        if self._dynamic is None:
            from whyrss.read.dynamic import read_dynamic

            self._dynamic = list(read_dynamic(self))
        return self._dynamic

    # Section headers

    @property
    def has_sections(self) -> bool:
        """Whether the section headers are there and can be believed."""
        return bool(self._section_names())

    def section(self, name: str) -> Section | None:
        """The first section of that name, or None (always None without section headers)."""
        start = self._section_names().get(name.encode())
        if start is None:
            return None
        raw = self._table[start : start + self._section_bytes]
        return Section(self._numbers(raw, _SECTION[self.word_bytes]))

    def _section_names(self) -> dict[bytes, int]:
        """Section name -> place of its header in `_table`; read once."""
        if self._names is None:
            self._names = self._read_names()
        return self._names

    def _read_names(self) -> dict[bytes, int]:
        table, names = self._read_table()
        if not names:
            return {}
        self._table, order = table, self.order
        places: dict[bytes, int] = {}
        for start in range(0, len(table), self._section_bytes):
            at = int.from_bytes(table[start : start + 4], order)
            end = names.find(b"\0", at, at + _MAX_NAME_BYTES)
            if end > at:
                places.setdefault(names[at:end], start)
        return places

    def _read_table(self) -> tuple[bytes, bytes]:
        """The section headers and the strings of their names; both empty when anything in them lies."""
        shoff, entry_bytes, count, names_index = self._table_place
        table_bytes = count * entry_bytes
        if entry_bytes < _SECTION_BYTES[self.word_bytes] or not names_index < count <= _MAX_SECTIONS:
            return b"", b""
        table = self.read(shoff, table_bytes)
        if not shoff or len(table) < table_bytes:
            return b"", b""
        raw = table[names_index * entry_bytes : (names_index + 1) * entry_bytes]
        kind, _, _, offset, size = self._numbers(raw, _SECTION[self.word_bytes])
        if kind == SHT_NOBITS or size > _MAX_NAMES_BYTES or offset + size > self.file_bytes:
            return b"", b""
        return table, self.read(offset, size)

    # Relocations

    def pointer(self, address: int) -> int | None:
        """The pointer that the loader leaves at `address`, without the load bias; None without file bytes.

        The addend of a RELATIVE relocation is only looked up where the file holds 0: Go's own linker also
        stores it in place ("so it can be examined statically", cmd/link/internal/amd64/asm.go), GNU ld on
        amd64 and arm64 does not.
        """
        raw = self.read_address(address, self.word_bytes)
        if len(raw) < self.word_bytes:
            return None
        stored = self.number(raw)
        if stored or self.kind != ET_DYN:
            return stored
        return self.relative_addends(address, address + self.word_bytes).get(address, 0)

    def relative_addends(self, start: int, end: int) -> dict[int, int]:
        """Address -> addend of the RELATIVE relocations that apply to addresses in [start, end).

        Linkers sort them by address, so bisection comes first; unless that finds one for each aligned word
        of the range, the table is read in chunks, until it does. At most 256 MiB of the table are looked at.
        """
        if self._relocations is None:
            from whyrss.read.dynamic import Relocations

            self._relocations = Relocations(self)
        return self._relocations.addends(start, end)


def _identify(head: bytes) -> tuple[int, Order]:
    """Word size in bytes and byte order of an ELF file from its first bytes."""
    if head[:4] != b"\x7fELF":
        raise FormatError("not an ELF file")
    if len(head) < 6 or head[4] not in (1, 2) or head[5] not in _ORDERS:
        raise FormatError("an ELF file of an unknown class or byte order")
    word_bytes = 4 * head[4]
    if len(head) < _HEADER_BYTES[word_bytes]:
        raise FormatError(f"truncated ELF file: {len(head)} bytes are less than its header")
    return word_bytes, _ORDERS[head[5]]
