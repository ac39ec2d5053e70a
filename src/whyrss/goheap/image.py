"""The program of a process: its ELF file, and where it lies in memory."""

from __future__ import annotations

import os

from whyrss.errors import FormatError, Missing
from whyrss.goheap.words import WORD_BYTES, Words
from whyrss.read.elf import ET_DYN, PF_W, PF_X, PT_NOTE, Elf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.goheap.maps import Mapping, Maps
    from whyrss.goheap.memory import Memory, ProcessMemory, Range
    from whyrss.read.elf import ReadAt, Segment

DATA_MAX_BYTES = 64 << 20  # of data and bss together that are ever read
_NOTE_MAX_BYTES = 4096
# cmd/link/internal/ld/elf.go: ELF_NOTE_GOBUILDID_TAG and ELF_NOTE_BUILDINFO_TAG.
_BUILD_ID_KINDS = {b"Go\0\0": 4, b"GNU\0": 3}


class Image:
    """An ELF file that is mapped `bias` bytes above its own addresses. `path` names it in messages.

    Addresses given and returned are those in the process. A context manager where it holds the file open.
    """

    def __init__(self, read_at: ReadAt, file_bytes: int, bias: int = 0, path: str = "", mtime_ns: int = 0) -> None:
        self.elf = Elf(read_at, file_bytes)
        self.path = path
        self.bias = bias
        self.mtime_ns = mtime_ns
        self._file = -1

    @classmethod
    def of(cls, memory: ProcessMemory, proc: str = "/proc") -> Image:
        """The program of a live process. Raises Missing where its file or its place cannot be told."""
        path = f"{proc}/{memory.pid}/exe"
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Missing(f"{path}: {error.strerror}") from None
        try:
            about = os.fstat(file)
            image = cls(
                lambda at, size: os.pread(file, size, at), about.st_size, path=path, mtime_ns=about.st_mtime_ns
            )
            image.bias = _bias(image.elf, memory.maps, _link(path), about.st_ino)
        except FormatError as error:
            os.close(file)
            raise Missing(f"{path}: {error}") from None
        except (OSError, Missing):
            os.close(file)
            raise
        image._file = file
        return image

    def __enter__(self) -> Image:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    @property
    def writable(self) -> list[Range]:
        """Data and bss: the writable segments, in memory."""
        return [self._span(segment) for segment in self._writable()]

    @property
    def code(self) -> list[Range]:
        """The executable segments, in memory."""
        return [self._span(segment) for segment in self.elf.loads() if segment.flags & PF_X]

    @property
    def all(self) -> list[Range]:
        """All segments, in memory."""
        return [self._span(segment) for segment in self.elf.loads()]

    def stored(self, address: int, size_bytes: int) -> bytes:
        """The file's bytes for an address; short or empty where it has none."""
        return self.elf.read_address(address - self.bias, size_bytes)

    def pointer(self, address: int) -> int | None:
        """The pointer that the loader leaves at an address, by the file alone; None where the file has none."""
        found = self.elf.pointer(address - self.bias)
        return found + self.bias if found and self.elf.kind == ET_DYN else found

    def section(self, name: str) -> Range | None:
        """[start, end) of a section in memory."""
        section = self.elf.section(name)
        if section is None or not section.address:
            return None
        return section.address + self.bias, section.address + self.bias + section.size_bytes

    def words(self, memory: Memory) -> Words:
        """The words of data and bss as far as they are resident. What the runtime wrote is, unless it is in swap,
        from which nothing is brought back."""
        return Words(self._pieces(memory))

    def build_id(self) -> str:
        """Go's or GNU's build ID from a note, whichever comes first; "" where there is none."""
        for segment in self.elf.segments[:64]:
            if segment.kind == PT_NOTE:
                raw = self.elf.read(segment.offset, min(segment.file_bytes, _NOTE_MAX_BYTES))
                for name, kind, text in _notes(self.elf, raw):
                    if _BUILD_ID_KINDS.get(name) == kind and text:
                        return text.hex()
        return ""

    def _writable(self) -> list[Segment]:
        return [segment for segment in self.elf.loads() if segment.flags & PF_W]

    def _span(self, segment: Segment) -> Range:
        return segment.address + self.bias, segment.address + self.bias + segment.memory_bytes

    def _pieces(self, memory: Memory) -> Iterator[tuple[int, bytes]]:
        left = DATA_MAX_BYTES
        for segment in self._writable():
            start, end = self._span(segment)
            start, end = -(-start // WORD_BYTES) * WORD_BYTES, min(end, start + (1 << 40))
            for low, high in resident(memory, start, end):
                if high - low > left:
                    return
                left -= high - low
                yield low, memory.read(low, high - low)


def resident(memory: Memory, start: int, end: int) -> list[Range]:
    """The readable parts of [start, end): all of it where the memory cannot say."""
    ask = getattr(memory, "resident", None)
    return [(start, end)] if ask is None else ask(start, end)


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _bias(elf: Elf, maps: Maps, path: str, inode: int) -> int:
    """How far above its own addresses the file is loaded: by the mapping of its first segment's page."""
    loads = elf.loads()
    if not loads:
        raise Missing(f"{path} has no segment to load")
    page = os.sysconf("SC_PAGE_SIZE")
    at = loads[0].offset - loads[0].offset % page
    found = [each for each in maps.list if each.offset == at and _is_file(each, path, inode)]
    if not found:
        raise Missing(f"{path} is not where its process runs: no mapping of its first segment")
    return found[0].start - (loads[0].address - loads[0].address % page)


def _is_file(mapping: Mapping, path: str, inode: int) -> bool:
    """By path; by inode where the path in maps is seen from another mount namespace."""
    return bool(mapping.inode) and (mapping.path == path or mapping.inode == inode)


def _notes(elf: Elf, raw: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """(name, type, text) of the notes of a PT_NOTE (gABI chapter 5)."""
    at = 0
    while at + 12 <= len(raw):
        name, text, kind = (elf.number(raw[at + i : at + i + 4]) for i in (0, 4, 8))
        start = at + 12 + (name + 3 & ~3)
        yield raw[at + 12 : at + 12 + name], kind, raw[start : start + text]
        at = start + (text + 3 & ~3)
