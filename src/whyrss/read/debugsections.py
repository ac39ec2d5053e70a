"""Sections of debugging information, compressed or not, read forward and never held as a whole.

Compressed ones: SHF_COMPRESSED with Elf64_Chdr or Elf32_Chdr (gABI chapter 4), and the older .zdebug_NAME, which
begins with "ZLIB" and the size as 8 bytes, big-endian (GNU binutils; cmd/link before Go 1.19).
"""

from __future__ import annotations

from whyrss.errors import FormatError
from whyrss.read.elf import SHT_NOBITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from zlib import _Decompress as Inflater

    from whyrss.read.elf import Elf, Section

SECTION_MAX_BYTES = 512 << 20
CHUNK_BYTES = 1 << 16
_SHF_COMPRESSED = 0x800
_ELFCOMPRESS_ZLIB = 1
_OLD_MAGIC = b"ZLIB"
# Bytes of the header before the data, and where in it the size of the data stands.
_HEADER = {8: (24, (8, 16)), 4: (12, (4, 8))}


class Stream:
    """The content of a section from its beginning on: `size_bytes` in all, `at` is where the next byte is."""

    def __init__(self, elf: Elf, offset: int, stored_bytes: int, size_bytes: int, packed: bool) -> None:
        if max(stored_bytes, size_bytes) > SECTION_MAX_BYTES:
            raise FormatError(f"a debugging section of {max(stored_bytes, size_bytes)} bytes is too large")
        self.size_bytes = size_bytes
        self.at = 0
        self._elf = elf
        self._next = offset
        self._end = offset + stored_bytes
        self._buffer = b""
        self._inflater: Inflater | None = _inflater() if packed else None

    @property
    def left(self) -> int:
        return self.size_bytes - self.at

    def peek(self, size: int) -> bytes:
        """The next bytes, which stay; fewer at the end. Raises FormatError where the section is damaged."""
        size = min(size, self.left)
        if len(self._buffer) < size:
            parts, have = [self._buffer], len(self._buffer)
            while have < size:
                parts.append(self._more(size - have))
                have += len(parts[-1])
            self._buffer = b"".join(parts)
        return self._buffer[:size]

    def take(self, size: int) -> bytes:
        """The next bytes, all of them. Raises FormatError where there are fewer."""
        if not 0 <= size <= self.left:
            raise FormatError("a debugging section ends too early")
        data = self.peek(size)
        self.at += size
        self._buffer = self._buffer[size:]
        return data

    def skip(self, size: int) -> None:
        """Leave out the next bytes. Raises FormatError as `take`."""
        if not 0 <= size <= self.left:
            raise FormatError("a debugging section ends too early")
        if self._inflater is None:
            self._next += max(0, size - len(self._buffer))
            self._buffer = self._buffer[size:]
            self.at += size
            return
        while size:
            size -= len(self.take(min(size, CHUNK_BYTES)))

    def _more(self, size: int) -> bytes:
        data = self._inflated(self._inflater, size) if self._inflater else self._stored(size)
        if not data:
            raise FormatError("a debugging section ends too early")
        return data

    def _stored(self, size: int) -> bytes:
        data = self._elf.read(self._next, min(size, self._end - self._next))
        self._next += len(data)
        return data

    def _inflated(self, inflater: Inflater, size: int) -> bytes:
        from zlib import error

        data = b""
        while not data:
            packed = inflater.unconsumed_tail or self._stored(CHUNK_BYTES)
            try:
                data = inflater.decompress(packed, max(size, CHUNK_BYTES))
            except error as reason:
                raise FormatError(f"a compressed debugging section is damaged: {reason}") from None
            if not packed:
                break
        return data


def open_section(elf: Elf, name: str) -> Stream | None:
    """The section ".debug_" + `name`; None where there is none. Raises FormatError where it cannot be read."""
    section = elf.section(f".debug_{name}")
    if section is not None:
        if section.kind == SHT_NOBITS:
            return None
        return _flagged(elf, section) if section.flags & _SHF_COMPRESSED else _plain(elf, section)
    section = elf.section(f".zdebug_{name}")
    if section is None or section.kind == SHT_NOBITS:
        return None
    head = elf.read(section.offset, 12)
    if head[:4] != _OLD_MAGIC or section.size_bytes < 12:
        return _plain(elf, section)
    return Stream(elf, section.offset + 12, section.size_bytes - 12, int.from_bytes(head[4:], "big"), True)


def _plain(elf: Elf, section: Section) -> Stream:
    return Stream(elf, section.offset, section.size_bytes, section.size_bytes, False)


def _flagged(elf: Elf, section: Section) -> Stream:
    head_bytes, (low, high) = _HEADER[elf.word_bytes]
    head = elf.read(section.offset, head_bytes)
    kind = elf.number(head[:4])
    if len(head) < head_bytes or section.size_bytes < head_bytes:
        raise FormatError("a debugging section is cut off")
    if kind != _ELFCOMPRESS_ZLIB:
        raise FormatError(f"a debugging section is compressed in an unknown way, {kind}")
    size = elf.number(head[low:high])
    return Stream(elf, section.offset + head_bytes, section.size_bytes - head_bytes, size, True)


def _inflater() -> Inflater:
    from zlib import decompressobj

    return decompressobj()
