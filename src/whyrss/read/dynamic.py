"""The dynamic section of an ELF file and the relocations that it leads to: what the loader does at start.

Formats: the System V ABI (gABI) chapter 5; relocation types as in <elf.h>. Most programs are explained without
any of it, so `elf` imports this when it is asked for.
"""

from __future__ import annotations

import sys

from whyrss.read.elf import PT_DYNAMIC

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.read.elf import Elf

DT_RELA, DT_RELASZ = 7, 8

# e_machine -> type of the RELATIVE relocation, where the format has relocations with addends.
_RELATIVE = {20: 22, 21: 22, 22: 12, 62: 8, 183: 1027, 243: 3, 258: 3}

_MAX_DYNAMIC_BYTES = 1 << 16
_MAX_RELA_BYTES = 256 << 20
_RELA_CHUNK_ENTRIES = 4096


def read_dynamic(elf: Elf) -> Iterator[tuple[int, int]]:
    """The (tag, value) pairs of PT_DYNAMIC up to DT_NULL."""
    segment, word = elf.first(PT_DYNAMIC), elf.word_bytes
    if segment is None:
        return
    raw = elf.read(segment.offset, min(segment.file_bytes, _MAX_DYNAMIC_BYTES))
    for start in range(0, len(raw) - 2 * word + 1, 2 * word):
        tag = elf.number(raw[start : start + word])
        if not tag:
            return
        yield tag, elf.number(raw[start + word : start + 2 * word])


class Relocations:
    """The relocations with addends of one file: `count` of them from `offset` on."""

    __slots__ = ("_elf", "_entry_bytes", "_relative", "count", "offset")

    def __init__(self, elf: Elf) -> None:
        self._elf = elf
        self._entry_bytes = 3 * elf.word_bytes
        self._relative = _RELATIVE.get(elf.machine, 0)
        tags = dict(elf.dynamic)
        offset, size = elf.offset_of(tags.get(DT_RELA, 0)) or 0, tags.get(DT_RELASZ, 0)
        if not offset and (section := elf.section(".rela.dyn")):
            offset, size = section.offset, section.size_bytes
        size = max(0, min(size, elf.file_bytes - offset, _MAX_RELA_BYTES))
        self.offset = offset
        self.count = size // self._entry_bytes if self._relative else 0

    def addends(self, start: int, end: int) -> dict[int, int]:
        """See Elf.relative_addends."""
        wanted = max(0, (end - start) // self._elf.word_bytes)
        found: dict[int, int] = {}
        guess = self._bisect(start)
        self._collect(guess, min(self.count, guess + min(wanted, _RELA_CHUNK_ENTRIES)), start, end, found)
        for index in range(0, self.count, _RELA_CHUNK_ENTRIES):
            if len(found) >= wanted:
                break
            self._collect(index, min(self.count, index + _RELA_CHUNK_ENTRIES), start, end, found)
        return found

    def _bisect(self, address: int) -> int:
        """The index of the first relocation at `address` or above, if they are sorted."""
        low, high = 0, self.count
        while low < high:
            middle = (low + high) // 2
            raw = self._elf.read(self.offset + middle * self._entry_bytes, self._elf.word_bytes)
            if self._elf.number(raw) < address:
                low = middle + 1
            else:
                high = middle
        return low

    def _collect(self, low: int, high: int, start: int, end: int, found: dict[int, int]) -> None:
        """Put the wanted ones of the relocations with index in [low, high) into `found`."""
        entry_bytes = self._entry_bytes
        raw = self._elf.read(self.offset + low * entry_bytes, (high - low) * entry_bytes)
        words = self._words(raw[: len(raw) // entry_bytes * entry_bytes])
        mask = 0xFFFFFFFF if self._elf.word_bytes == 8 else 0xFF
        for index, address in enumerate(words[::3].tolist()):
            if start <= address < end and words[3 * index + 1] & mask == self._relative:
                found.setdefault(address, words[3 * index + 2])

    def _words(self, raw: bytes) -> memoryview[int]:
        """`raw` as words of the file, without a copy of each."""
        if self._elf.order == sys.byteorder:
            return memoryview(raw).cast("Q" if self._elf.word_bytes == 8 else "I")
        # Reversing all bytes swaps them within each word and reverses the words; the slice puts these back.
        return memoryview(raw[::-1]).cast("Q" if self._elf.word_bytes == 8 else "I")[::-1]
