"""Addresses by the symbol table, where a program has one: a short cut, proved like any other find."""

from __future__ import annotations

from whyrss.read.elf import SHT_NOBITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from whyrss.goheap.image import Image

SYMBOL_BYTES = 24  # Elf64_Sym: name 4, info 1, other 1, section 2, value 8, size 8 (gABI chapter 4)
TABLE_MAX_BYTES = 256 << 20


def addresses(image: Image, names: Iterable[str]) -> dict[str, int]:
    """Name -> address in memory of each symbol that the file has."""
    table, strings = _section(image, ".symtab"), _section(image, ".strtab")
    found = {}
    for name in names:
        place = strings.find(b"\0" + name.encode() + b"\0") + 1
        address = _value(table, place) if place else 0
        if address:
            found[name] = address + image.bias
    return found


def _section(image: Image, name: str) -> bytes:
    section = image.elf.section(name)
    if section is None or section.kind == SHT_NOBITS or section.size_bytes > TABLE_MAX_BYTES:
        return b""
    return image.elf.read(section.offset, section.size_bytes)


def _value(table: bytes, place: int) -> int:
    """The value of the symbol whose name is at `place` of the strings; 0 where there is none."""
    pattern = place.to_bytes(4, "little")
    at = table.find(pattern)
    while at >= 0:
        if not at % SYMBOL_BYTES:
            return int.from_bytes(table[at + 8 : at + 16], "little")
        at = table.find(pattern, at + 1)
    return 0
