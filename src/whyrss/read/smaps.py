"""/proc/PID/smaps: every VMA with every field, the unknown ones too.

The kernel writes each VMA as a header line, a block of lines of constant width and a line `VmFlags`
(fs/proc/task_mmu.c: show_smap, seq_put_decimal_ull_width with width 8), so most of the text can be cut at
fixed offsets instead of being read line by line; at 10,000 VMAs that is five times cheaper. A block that does
not have the shape of the first one has all of them read line by line, whatever they hold.
"""

from __future__ import annotations

from whyrss.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Layout = dict[str, tuple[int, int]]  # of each figure, where its digits are in the block

_FLAGS = b"VmFlags:"
_NUMBER_WIDTH = 8  # a larger number (95 GiB and more in kB) widens its line; _by_line reads it then
_NAME_WIDTH = 16
# A line is as wide as `\nRss:                   4 kB`. Its newline and two letters of its name are compared for
# every VMA: enough to see that the fields are in the same places, at a third of the price of comparing all.
_LINE_WIDTH = 1 + _NAME_WIDTH + _NUMBER_WIDTH + 3
_ENDS, _FIRSTS, _FOURTHS = (
    slice(0, None, _LINE_WIDTH),
    slice(1, None, _LINE_WIDTH),
    slice(4, None, _LINE_WIDTH),
)
_PERMS = {
    f"{r}{w}{x}{s}".encode(): f"{r}{w}{x}{s}" for r in "r-" for w in "w-" for x in "x-" for s in "ps"
}  # one string for all mappings alike


class Vma:
    """One mapping of the address space: [start, end) with the figures of smaps.

    The figures stay text until one is asked for: most are never looked at.
    """

    __slots__ = ("_block", "_layout", "end", "flags", "header", "path", "perms", "start")

    def __init__(self, header: bytes, layout: Layout, block: bytes, flags: bytes) -> None:
        try:
            words = header.split(None, 5)
            low, high = words[0].split(b"-")
            self.start = int(low, 16)
            self.end = int(high, 16)
            self.perms = _PERMS[words[1]]
        except (ValueError, LookupError):
            raise FormatError(f"smaps: {_excerpt(header)} is not the header of a VMA") from None
        self.header = header
        self.path = words[5].decode("utf-8", "surrogateescape") if len(words) > 5 else ""
        self.flags = flags
        self._layout = layout
        self._block = block

    @property
    def size_bytes(self) -> int:
        return self.end - self.start

    def get_bytes(self, field: str) -> int:
        """A figure of this VMA in bytes; 0 where this kernel does not have the field (see Vmas.fields)."""
        at = self._layout.get(field)
        return 0 if at is None else self._number(*at) * 1024

    def has_flag(self, flag: str) -> bool:
        """Whether VmFlags has it: "lo" for locked (Documentation/filesystems/proc.rst)."""
        return flag.encode() in self.flags.split()

    def figures(self) -> dict[str, int]:
        """Every numeric field as the kernel wrote it (kB for sizes), by its name, in its order."""
        return {name: self._number(*at) for name, at in self._layout.items()}

    def _number(self, start: int, end: int) -> int:
        try:
            value = int(self._block[start:end])
        except ValueError:
            value = -1
        if value < 0:
            raise FormatError(f"smaps: {_excerpt(self._block[start:end])} in the VMA at {self.start:#x} is no number")
        return value


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
        raise FormatError("smaps is cut in the middle of a line", "read or record it again")
    vmas = _by_shape(data) or _by_line(data)
    fields = frozenset(vmas[0]._layout)
    if "Rss" not in fields:
        raise FormatError(f"smaps: the first VMA, at {vmas[0].start:#x}, has no Rss")
    if not fields <= vmas[-1]._layout.keys() or bool(vmas[0].flags) > bool(vmas[-1].flags):
        raise FormatError(f"smaps is cut: the last VMA, at {vmas[-1].start:#x}, has only some of its fields")
    return Vmas(vmas, fields)


def _by_shape(data: bytes) -> list[Vma] | None:
    """VMAs cut where the first one's lines would be; one of another shape (larger than 95 GiB) is read line by line.
    None where that does not do."""
    head_end = data.find(b"\n")
    block = data[head_end : data.find(b"\n" + _FLAGS, head_end)]
    width = len(block)
    layout = _layout(block)
    if layout is None:
        return None
    ends, firsts, fourths = block[_ENDS], block[_FIRSTS], block[_FOURTHS]
    parts = data.split(b"\n" + _FLAGS)
    if len(parts[0]) != head_end + width:
        return None
    vma = Vma(data[:head_end], layout, block, b"")
    vmas = [vma]
    for part in parts[1:-1]:
        block = part[-width:]
        flags, newline, header = part[:-width].partition(b"\n")
        if (
            block[_ENDS] != ends
            or block[_FIRSTS] != firsts
            or block[_FOURTHS] != fourths
            or not newline
            or b"\n" in header
        ):
            vma.flags, newline, text = part.partition(b"\n")
            odd = _by_line(text + b"\n") if newline else []
            if len(odd) != 1:
                return None
            vma = odd[0]
        else:
            vma.flags = flags
            vma = Vma(header, layout, block, b"")
        vmas.append(vma)
    vma.flags = parts[-1][:-1]
    return None if b"\n" in vma.flags else vmas


def _layout(block: bytes) -> Layout | None:
    """Where the numbers of a block of lines are: the names end in a colon and the numbers at the same column."""
    layout: Layout = {}
    at = 1
    for line in block[1:].split(b"\n"):
        name, colon, _ = line.partition(b":")
        number = (at + _NAME_WIDTH, at + _NAME_WIDTH + _NUMBER_WIDTH)
        fits = len(name) < _NAME_WIDTH and line[_NAME_WIDTH + _NUMBER_WIDTH :] in (b"", b" kB")
        fits = fits and not block[number[0] - 1 : number[0]].isdigit()
        if not colon or not fits or not block[number[0] : number[1]].strip().isdigit():
            return None
        layout[name.decode("ascii", "replace")] = number
        at += len(line) + 1
    return layout


def _by_line(data: bytes) -> list[Vma]:
    """VMAs read line by line: any fields, in any order and width."""
    vmas: list[Vma] = []
    for line in data.split(b"\n")[:-1]:
        name, colon, rest = line.partition(b":")
        if not colon or b" " in name or b"-" in name:
            vmas.append(Vma(line, {}, b"", b""))
            continue
        if not vmas:
            raise FormatError(f"smaps begins with {_excerpt(line)}, not with a VMA")
        vma = vmas[-1]
        if name == _FLAGS[:-1]:
            vma.flags = rest
            continue
        number = _number(rest)
        at = len(vma._block)
        vma._layout[name.decode("ascii", "replace")] = (at, at + len(number))
        vma._block += number
    return vmas


def _number(rest: bytes) -> bytes:
    words = rest.split(None, 1)
    if not words or not words[0].isdigit() or len(words[0]) > 18:
        raise FormatError(f"smaps: {_excerpt(rest)} is no number")
    return words[0]


def _excerpt(line: bytes) -> str:
    return repr(line[:60].decode("ascii", "backslashreplace"))
