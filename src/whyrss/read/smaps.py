"""/proc/PID/smaps: every VMA with every field, the unknown ones too.

The kernel writes each VMA as a header line, a block of lines of constant width and a line `VmFlags`
(fs/proc/task_mmu.c: show_smap, seq_put_decimal_ull_width with width 8), so most of the text can be cut at
fixed offsets instead of being read line by line; at 10,000 VMAs that is five times cheaper. A block that does
not have the shape of the first one is read line by line, whatever it holds.
"""

from __future__ import annotations

from whyrss.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_FLAGS = b"VmFlags:"
_DIGITS = b" 0123456789"
_NUMBER_WIDTH = 8  # a larger number (95 GiB and more in kB) widens its line, which then is read by _slow
_NAME_WIDTH = 16


class Vma:
    """One mapping of the address space: [start, end) with the figures of smaps."""

    __slots__ = ("_index", "_values", "end", "flags", "inode", "offset", "path", "perms", "start")

    def __init__(self, header: bytes, index: dict[str, int], values: Sequence[bytes], flags: bytes) -> None:
        try:
            parts = header.split(None, 5)
            low, _, high = parts[0].partition(b"-")
            self.start = int(low, 16)
            self.end = int(high, 16)
            self.perms = parts[1].decode("ascii")
            self.offset = parts[2]
            self.inode = parts[4]
            self.path = parts[5].decode("utf-8", "surrogateescape") if len(parts) > 5 else ""
        except (IndexError, ValueError):
            raise FormatError(f"smaps: {_excerpt(header)} is not the header of a VMA") from None
        self._index = index
        self._values = values
        self.flags = flags

    @property
    def size_bytes(self) -> int:
        return self.end - self.start

    @property
    def anonymous(self) -> bool:
        """Without a file and without a name that the kernel or the program gave it."""
        return not self.path

    def get_bytes(self, field: str) -> int:
        """A figure of this VMA in bytes; 0 where this kernel does not have the field (see Vmas.fields)."""
        at = self._index.get(field)
        if at is None:
            return 0
        try:
            value = int(self._values[at])
        except ValueError:
            raise FormatError(f"smaps: {field} of the VMA at {self.start:#x} is no number") from None
        if value < 0:
            raise FormatError(f"smaps: {field} of the VMA at {self.start:#x} is negative")
        return value * 1024

    def figures(self) -> dict[str, int]:
        """Every numeric field as the kernel wrote it (kB for sizes), by its name."""
        return {name: int(self._values[at]) for name, at in self._index.items()}


class Vmas:
    """All mappings of a process in the order of their addresses; `residue_bytes` is how far RSS moved while
    they were read (None: not known), `fields` are the names of the figures that this kernel reports."""

    __slots__ = ("fields", "list", "residue_bytes")

    def __init__(self, vmas: list[Vma], fields: frozenset[str]) -> None:
        self.list = vmas
        self.fields = fields
        self.residue_bytes: int | None = None

    def __iter__(self) -> Iterator[Vma]:
        return iter(self.list)

    def __len__(self) -> int:
        return len(self.list)

    def total_bytes(self, field: str) -> int:
        return sum(vma.get_bytes(field) for vma in self.list)


def parse_smaps(data: bytes) -> Vmas:
    """The VMAs in the text of smaps (also of smaps_rollup, which is one VMA).

    Raises FormatError where the text is cut, or is not smaps.
    """
    if not data:
        return Vmas([], frozenset())
    if data[-1:] != b"\n":
        raise FormatError("smaps is cut in the middle of a line", "record it again")
    first, fields = _first_block(data)
    index = {name.decode("ascii", "replace"): at for at, name in enumerate(fields)}
    vmas = _fast(data, fields, index) if first else _slow(data)
    known = frozenset(index)
    if vmas and len(vmas[-1]._values) < len(fields):
        raise FormatError(f"smaps is cut: the last VMA, at {vmas[-1].start:#x}, has only some of its fields")
    return Vmas(vmas, known)


def _first_block(data: bytes) -> tuple[bool, list[bytes]]:
    """The names of the numeric fields of the first VMA, and whether VmFlags follows them directly."""
    fields: list[bytes] = []
    at = data.find(b"\n") + 1
    while at < len(data):
        end = data.find(b"\n", at)
        name, colon, _ = data[at:end].partition(b":")
        if not colon or b" " in name or b"-" in name:
            return False, fields
        if name == b"VmFlags":
            return True, fields
        fields.append(name)
        at = end + 1
    return False, fields


def _fast(data: bytes, fields: list[bytes], index: dict[str, int]) -> list[Vma]:
    """VMAs cut at fixed offsets; a block of another shape is left to `_slow`, then all of them are."""
    from struct import Struct  # not at the top: only a text that is large enough to gain pays for it

    shape, skeleton = [], b""
    block_end = data.find(b"\n" + _FLAGS)
    block = data[data.find(b"\n") + 1 : block_end + 1]
    for line in block.split(b"\n")[:-1]:
        name = line.partition(b":")[0] + b":"
        tail = len(line) - _NAME_WIDTH - _NUMBER_WIDTH
        if tail < 0 or len(name) > _NAME_WIDTH:
            return _slow(data)
        shape.append(f"{_NAME_WIDTH}x{_NUMBER_WIDTH}s{tail + 1}x")
        skeleton += line.translate(None, _DIGITS) + b"\n"
    layout = Struct("<" + "".join(shape))
    width, unpack = layout.size, layout.unpack_from
    vmas: list[Vma] = []
    header_flags = b""
    parts = data.split(b"\n" + _FLAGS)
    for part in parts[:-1]:
        part += b"\n"
        at = len(part) - width
        flags, newline, header = part[: max(at - 1, 0)].rpartition(b"\n")
        if at <= 0 or part[at:].translate(None, _DIGITS) != skeleton or part[at - 1 : at] != b"\n":
            return _slow(data)
        if vmas:
            if not newline or b"\n" in flags:
                return _slow(data)
            vmas[-1].flags = flags
        vmas.append(Vma(header, index, unpack(part, at), header_flags))
    last = parts[-1][:-1]
    if b"\n" in last:
        return _slow(data)
    vmas[-1].flags = last
    return vmas


def _slow(data: bytes) -> list[Vma]:
    """VMAs read line by line: any fields, in any order and width."""
    vmas: list[Vma] = []
    index: dict[str, int] = {}
    values: list[bytes] = []
    for line in data.split(b"\n")[:-1]:
        name, colon, rest = line.partition(b":")
        if colon and b" " not in name and b"-" not in name:
            if not vmas:
                raise FormatError(f"smaps begins with {_excerpt(line)}, not with a VMA")
            if name == b"VmFlags":
                vmas[-1].flags = rest
                continue
            index[name.decode("ascii", "replace")] = len(values)
            values.append(_number(rest))
            continue
        index, values = {}, []
        vmas.append(Vma(line, index, values, b""))
    return vmas


def _number(rest: bytes) -> bytes:
    words = rest.split()
    if not words or not words[0].isdigit() or len(words[0]) > 20:
        raise FormatError(f"smaps: {_excerpt(rest)} is no number")
    return words[0]


def _excerpt(line: bytes) -> str:
    return repr(line[:60].decode("ascii", "backslashreplace"))
