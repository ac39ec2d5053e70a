"""The names of a Go program's functions by address, from runtime.pclntab, which stripped programs have too.

The table begins with a header, whose magic tells its form (internal/abi/symtab.go, PCLnTabMagic): a list of
functions in the order of their code, by which a `_func` of each is found, and the name of that (runtime/symtab.go,
pcHeader, findfunc and funcname; runtime/runtime2.go, _func; debug/gosym/pclntab.go). Only what is looked up is read.
"""

from __future__ import annotations

from bisect import bisect_right

from whyrss.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from whyrss.read.elf import ReadAt

# Magic -> which word of the header says where the names are, which one where the functions are (None: where the table
# begins, with the functions behind the header), and whether the functions' addresses are 32 bits, counted from the
# start of the text.
FORMS: dict[int, tuple[int | None, int | None, bool]] = {
    0xFFFFFFFB: (None, None, False),  # Go 1.2 to 1.15
    0xFFFFFFFA: (2, 6, False),  # Go 1.16 and 1.17
    0xFFFFFFF0: (3, 7, True),  # Go 1.18 and 1.19
    0xFFFFFFF1: (3, 7, True),  # Go 1.20 to 1.27
}
HEADER_BYTES = 8
MOST_FUNCTIONS = 1 << 26
MOST_NAME_BYTES = 4096
SHORT_NAME_BYTES = 128
BLOCK = 32  # functions that are read at once, at the end of a search


class Pclntab:
    """The table behind `read(offset, size) -> bytes`, which may return less where the table ends.

    relative      whether functions are placed from the start of the text (Go 1.18 and later), else by their address
                  as the program was linked. The header's own start of the text is no help: it is 0 since Go 1.26,
                  and in programs that are linked to lie anywhere
    count         how many functions there are
    Raises FormatError where it is no such table; what is wrong further on has no names.
    """

    __slots__ = ("_entry_bytes", "_functions", "_list", "_names", "_read", "_row_bytes", "count", "order", "relative")

    def __init__(self, read: ReadAt) -> None:
        self._read = read
        head = read(0, HEADER_BYTES)
        self.order, form = _form(head)
        names, functions, self.relative = form
        word_bytes = head[7]
        self.count = self._word(0, word_bytes)
        self._names = 0 if names is None else self._word(names, word_bytes)
        self._functions = 0 if functions is None else self._word(functions, word_bytes)
        self._list = self._functions or HEADER_BYTES + word_bytes
        self._entry_bytes = 4 if self.relative else word_bytes
        self._row_bytes = 2 * self._entry_bytes
        if not 0 < self.count <= MOST_FUNCTIONS:
            raise FormatError(f"a table of {self.count} functions is none of Go's")

    def name(self, place: int) -> str:
        """The name of the function that holds a place, "" where none is known to: an address as the program was
        linked, or a distance from the start of the text (see `relative`)."""
        at = self._function(place)
        raw = self._read(self._functions + at + self._entry_bytes, 4) if at >= 0 else b""
        return self._name(self._names + self._number(raw)) if len(raw) == 4 else ""

    @property
    def first(self) -> int:
        """The place of the first function; 0 also where the loader is to put it there."""
        return self._place(0)

    def _function(self, place: int) -> int:
        """The offset of the `_func` of the function that holds a place; -1 where none does."""
        low, high = 0, self.count
        while high - low > BLOCK:
            middle = (low + high) // 2
            if self._place(middle) <= place:
                low = middle
            else:
                high = middle
        places, offsets = self._rows(low, high)
        at = bisect_right(places, place) - 1
        # The last row has no function, but says where the one before it ends.
        if not 0 <= at < len(places) - 1 or not places[at] <= place < places[at + 1]:
            return -1
        # All bits are set where there is code that is not Go's (runtime/symtab.go, findfunc, Go 1.11 to 1.17).
        return -1 if offsets[at] == (1 << 8 * self._entry_bytes) - 1 else offsets[at]

    def _place(self, row: int) -> int:
        return self._number(self._read(self._list + row * self._row_bytes, self._entry_bytes))

    def _rows(self, low: int, high: int) -> tuple[list[int], list[int]]:
        """Places and offsets of the rows from `low` to `high`; the last one may have a place alone."""
        size = self._entry_bytes
        raw = self._read(self._list + low * self._row_bytes, (high - low) * self._row_bytes + size)
        values = [self._number(raw[at : at + size]) for at in range(0, len(raw) - size + 1, size)]
        return values[::2], values[1::2]

    def _name(self, at: int) -> str:
        for size in (SHORT_NAME_BYTES, MOST_NAME_BYTES):
            raw, end, _ = self._read(at, size).partition(b"\0")
            if end:
                name = raw.decode("utf-8", "replace")
                return name if name.isprintable() else ""
        return ""

    def _word(self, number: int, word_bytes: int) -> int:
        raw = self._read(HEADER_BYTES + number * word_bytes, word_bytes)
        if len(raw) < word_bytes:
            raise FormatError("truncated: the header of the table of functions is cut off")
        return self._number(raw)

    def _number(self, raw: bytes) -> int:
        return int.from_bytes(raw, self.order)


def _form(head: bytes) -> tuple[Literal["little", "big"], tuple[int | None, int | None, bool]]:
    """Byte order and form of a table by its first bytes: magic, two zeros, size of the shortest instruction, of a
    pointer."""
    if len(head) == HEADER_BYTES and not head[4] and not head[5] and head[6] in (1, 2, 4) and head[7] in (4, 8):
        if (form := FORMS.get(int.from_bytes(head[:4], "little"))) is not None:
            return "little", form
        if (form := FORMS.get(int.from_bytes(head[:4], "big"))) is not None:
            return "big", form
    raise FormatError("not a table of Go's functions")


def printed(name: str) -> str:
    """A name as Go 1.21 and later print it: type arguments are "[...]" (runtime/traceback.go, printFuncName)."""
    text, depth, end = name, 0, 0
    for at in range(len(name) - 1, -1, -1):
        if name[at] == "]":
            end = end if depth else at
            depth += 1
        elif name[at] == "[" and depth:
            depth -= 1
            if not depth:
                text = f"{text[:at]}[...]{text[end + 1 :]}"
    return text
