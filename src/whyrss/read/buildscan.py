"""The search for Go's marks in an ELF file whose section headers do not lead to them.

Sources: cmd/link/internal/ld (elf.go, the note of the build ID), internal/abi/symtab.go (pclntab header).
"""

from __future__ import annotations

from whyrss.errors import FormatError
from whyrss.read.buildinfo import ALIGN, BLOB_BYTES, MAX_CANDIDATES, aligned, texts_at
from whyrss.read.elf import PF_W, PT_NOTE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.read.elf import Elf, Segment

_NOTE_BYTES = 4096

# Without section headers all loaded bytes may have to be searched. With them, a program that has none of
# Go's sections can only be a Go program if a linker script merged them, so less is worth reading.
_SCAN_BYTES = 256 << 20
_SCAN_UNLIKELY_BYTES = 16 << 20
_SCAN_CHUNK_BYTES = 1 << 20

_GO_SECTIONS = (".note.go.buildid", ".gopclntab", ".data.rel.ro.gopclntab")
# A note of type 4 by "Go" is the build ID (cmd/link/internal/ld/elf.go, ELF_NOTE_BUILDID of Go).
_GO_NOTE_NAME, _GO_NOTE_TYPE = b"Go\0\0", 4
# pclntab header: magic, two zero bytes, instruction size quantum, pointer size (internal/abi/symtab.go).
_PCLNTAB_MAGICS = (0xFFFFFFF1, 0xFFFFFFF0, 0xFFFFFFFA, 0xFFFFFFFB)
_QUANTA = {"amd64": 1, "386": 1, "s390x": 2}
_DEFAULT_QUANTUM = 4


def is_marked(elf: Elf) -> bool:
    """A cheap sure sign: Go's sections, or its build ID in a note (which needs no section headers)."""
    if any(elf.section(name) for name in _GO_SECTIONS):
        return True
    return any(_is_go_note(elf, segment) for segment in elf.segments[:64] if segment.kind == PT_NOTE)


def _is_go_note(elf: Elf, segment: Segment) -> bool:
    """Whether one of the notes (sizes of name and text, type, name, text) of a PT_NOTE is Go's build ID."""
    raw = elf.read(segment.offset, min(segment.file_bytes, _NOTE_BYTES))
    at = 0
    while at + 16 <= len(raw):
        name, text, kind = (elf.number(raw[at + i : at + i + 4]) for i in (0, 4, 8))
        if kind == _GO_NOTE_TYPE and name == len(_GO_NOTE_NAME) and raw[at + 12 : at + 16] == _GO_NOTE_NAME:
            return True
        at += 12 + (name + 3 & ~3) + (text + 3 & ~3)
    return False


def has_pclntab(elf: Elf) -> bool:
    """The last resort for a file without section headers and notes: the header of Go's function table."""
    if elf.has_sections:
        return False
    tail = bytes((0, 0, _QUANTA.get(elf.arch, _DEFAULT_QUANTUM), elf.word_bytes))
    patterns = [magic.to_bytes(4, elf.order) + tail for magic in _PCLNTAB_MAGICS]
    chunks = _chunks(elf, elf.loads(), _SCAN_BYTES)
    return any(pattern in chunk for _, chunk in chunks for pattern in patterns)


def texts_of(elf: Elf, likely: bool) -> tuple[str, str] | None:
    """Version and module information by the magic in the loaded bytes; `likely`: it is Go for other reasons.

    Writable segments first: a program that itself reads build information has the magic in others.
    """
    likely = likely or not elf.has_sections
    writable = [segment for segment in elf.loads() if segment.flags & PF_W]
    others = [segment for segment in elf.loads() if not segment.flags & PF_W] if likely else []
    limit = _SCAN_BYTES if likely else _SCAN_UNLIKELY_BYTES
    for tries, (offset, blob) in enumerate(_candidates(elf, writable + others, limit)):
        try:
            texts = texts_at(elf, offset, blob)
        except FormatError:
            texts = ("", "")
        if texts[0].startswith(("go1", "go2", "devel")):
            return texts
        if tries == MAX_CANDIDATES:
            break
    return None


def _candidates(elf: Elf, segments: list[Segment], limit: int) -> Iterator[tuple[int, bytes]]:
    """(file offset, some bytes from there) of each aligned magic in `segments`."""
    for offset, chunk in _chunks(elf, segments, limit):
        for at in aligned(chunk, offset):
            yield offset + at, chunk[at : at + BLOB_BYTES]


def _chunks(elf: Elf, segments: list[Segment], limit: int) -> Iterator[tuple[int, bytes]]:
    """(file offset, at most 1 MiB) pieces of the file bytes of `segments`, at most `limit` bytes in total.

    Every piece but a segment's first starts at a multiple of 16, so an aligned magic is never cut.
    """
    for segment in segments:
        at, end = segment.offset, min(segment.offset + segment.file_bytes, elf.file_bytes)
        while at < end and limit > 0:
            size = min(end - at, limit, _SCAN_CHUNK_BYTES - at % ALIGN)
            chunk = elf.read(at, size)
            if not chunk:
                break
            yield at, chunk
            at += len(chunk)
            limit -= len(chunk)
