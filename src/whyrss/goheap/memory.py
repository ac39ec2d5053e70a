"""The memory of a process, read without touching it.

Reading through /proc/PID/mem maps the zero page where an anonymous page is absent, and brings a page of a file or
of swap back (mm/gup.c, faultin_page): the target would not be as it was. So pagemap is asked first
(Documentation/admin-guide/mm/pagemap.rst), and what is absent is not read.

/proc/PID/mem rather than process_vm_readv(2): it needs the same rights, is as fast (a small read takes half the
time from Python), and the open file stays that of the process that was opened, also when its PID is used again.
"""

from __future__ import annotations

import os

from whyrss.errors import Missing
from whyrss.goheap.maps import Maps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Protocol

    Range = tuple[int, int]

    class Memory(Protocol):
        """Anything with memory at addresses."""

        def read(self, address: int, size_bytes: int) -> bytes:
            """Exactly that many bytes. Raises Unreadable."""

    class Paged(Memory, Protocol):
        """A memory that knows which parts of it are there."""

        def resident(self, start: int, end: int) -> list[Range]:
            """The parts of [start, end) that can be read as they are, sorted; neighbours are one."""


READ_MAX_BYTES = 1 << 30
ADDRESS_END = 1 << 63  # an offset of pread(2) is signed; no user address is as high on amd64 or arm64
ENTRY_BYTES = 8
KNOWN_PAGES_MAX = 1 << 18
# The highest byte of a pagemap entry: bit 63 is "present", bit 62 "swapped".
_ABSENT, _PRESENT, _SWAPPED = 0, 1, 2
_KINDS = bytes(_PRESENT if top & 0x80 else _SWAPPED if top & 0x40 else _ABSENT for top in range(256))


class Unreadable(Missing):
    """Memory that cannot be read, or must not be."""


class ProcessMemory:
    """The memory of a live process; a context manager. Raises Missing where the kernel refuses to show it.

    A page of an anonymous mapping that is absent reads as zeros, which is what the process itself would find.
    An absent page of a file, a swapped page, an address without a mapping: Unreadable.
    """

    def __init__(self, pid: int, proc: str = "/proc") -> None:
        self.pid = pid
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")
        self._present: set[int] = set()
        self._files: list[int] = []
        try:
            for name in ("mem", "pagemap", "maps"):
                self._files.append(_open(f"{proc}/{pid}/{name}"))
        except Missing:
            self.close()
            raise
        self._mem, self._pagemap, self._map_file = self._files
        self._maps: Maps | None = None

    def __enter__(self) -> ProcessMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        while self._files:
            os.close(self._files.pop())

    def forget(self) -> None:
        """Drop what is known of pages and mappings: before what has changed is read again."""
        self._present.clear()
        self._maps = None

    @property
    def maps(self) -> Maps:
        """The mappings, read once (and again after `forget`)."""
        if self._maps is None:
            self._maps = Maps.of(_whole(self._map_file, self.pid))
        return self._maps

    def read(self, address: int, size_bytes: int) -> bytes:
        """See Memory. A page is asked for once: one that was there is believed to be there until `forget`."""
        if size_bytes <= 0:
            return b""
        _check(address, size_bytes)
        first, last = address // self._page_bytes, (address + size_bytes - 1) // self._page_bytes
        if last - first < 2 and first in self._present and last in self._present:
            return self._pread(address, size_bytes)
        kinds = self._kinds(first, last + 1 - first)
        if kinds.count(_PRESENT) == len(kinds):
            self._know(first, last)
            return self._pread(address, size_bytes)
        return b"".join(self._pieces(address, address + size_bytes, first, kinds))

    def resident(self, start: int, end: int) -> list[Range]:
        """See Paged: the present pages (the zero page, where it is mapped, is one)."""
        page = self._page_bytes
        first = start // page
        found = []
        for kind, low, high in _runs(self._kinds(first, -(-end // page) - first)):
            if kind == _PRESENT:
                found.append((max(start, (first + low) * page), min(end, (first + high) * page)))
        return found

    def _know(self, first: int, last: int) -> None:
        if last - first < 2:
            if len(self._present) >= KNOWN_PAGES_MAX:
                self._present.clear()
            self._present.update((first, last))

    def _kinds(self, first: int, count: int) -> bytes:
        """For each page from that number on: absent, present or swapped, one byte each."""
        wanted = count * ENTRY_BYTES
        try:
            data = os.pread(self._pagemap, wanted, first * ENTRY_BYTES)
        except (OSError, OverflowError) as error:
            raise Unreadable(f"the pagemap of process {self.pid} cannot be read: {error}") from None
        if len(data) < wanted:
            if not data and not self._lives():
                raise Unreadable(f"process {self.pid} ended while it was read")
            data = data.ljust(wanted, b"\0")  # pagemap ends with the address space
        return data[ENTRY_BYTES - 1 :: ENTRY_BYTES].translate(_KINDS)

    def _lives(self) -> bool:
        try:
            return bool(os.pread(self._map_file, 1, 0))
        except OSError:
            return False

    def _pieces(self, start: int, end: int, first: int, kinds: bytes) -> Iterator[bytes]:
        page = self._page_bytes
        for kind, low, high in _runs(kinds):
            piece = max(start, (first + low) * page), min(end, (first + high) * page)
            if kind == _SWAPPED:
                raise Unreadable(f"the memory at {piece[0]:#x} is in swap; reading it would bring it back")
            if kind == _PRESENT:
                yield self._pread(piece[0], piece[1] - piece[0])
            else:
                self._check_absent(*piece)
                yield bytes(piece[1] - piece[0])

    def _check_absent(self, start: int, end: int) -> None:
        """Only an anonymous mapping is all zeros where it is absent. What was mapped meanwhile is looked up."""
        if self.maps.anonymous(start, end):
            return
        self._maps = None
        if self.maps.anonymous(start, end):
            return
        known = self.maps.find(start)
        why = f"not resident, and of {known.path}" if known and known.path else "not mapped"
        raise Unreadable(f"the memory at {start:#x} is {why}")

    def _pread(self, address: int, size_bytes: int) -> bytes:
        try:
            data = os.pread(self._mem, size_bytes, address)
        except (OSError, OverflowError) as error:
            raise Unreadable(f"the memory at {address:#x} cannot be read: {error}") from None
        if len(data) == size_bytes:
            return data
        if not data:
            raise Unreadable(f"the memory at {address:#x} is gone: the process ended, or unmapped it")
        return data + self._pread(address + len(data), size_bytes - len(data))


class ImageMemory:
    """Memory that is held: {address: bytes}, not overlapping. For tests, recordings and ELF files."""

    def __init__(self, ranges: Mapping[int, bytes]) -> None:
        self._ranges = sorted((start, start + len(data), data) for start, data in ranges.items() if data)

    def read(self, address: int, size_bytes: int) -> bytes:
        """See Memory."""
        if size_bytes <= 0:
            return b""
        _check(address, size_bytes)
        pieces, at, end = [], address, address + size_bytes
        for start, stop, data in self._overlapping(address, end):
            if start > at:
                break
            pieces.append(data[at - start : end - start])
            at = min(stop, end)
        if at < end:
            raise Unreadable(f"there is no memory at {at:#x}")
        return b"".join(pieces)

    def resident(self, start: int, end: int) -> list[Range]:
        """See Paged."""
        found: list[Range] = []
        for first, last, _ in self._overlapping(start, end):
            low = found.pop()[0] if found and found[-1][1] == first else max(first, start)
            found.append((low, min(last, end)))
        return found

    def _overlapping(self, start: int, end: int) -> list[tuple[int, int, bytes]]:
        from bisect import bisect_left, bisect_right

        low = bisect_right(self._ranges, start, key=lambda each: each[1])
        return self._ranges[low : bisect_left(self._ranges, end, key=lambda each: each[0])]


def _check(address: int, size_bytes: int) -> None:
    if size_bytes > READ_MAX_BYTES:
        raise Unreadable(f"{size_bytes} bytes at {address:#x} are more than may be read at once")
    if address < 0 or address + size_bytes > ADDRESS_END:
        raise Unreadable(f"{address:#x} is no address of a process")


def _runs(kinds: bytes) -> Iterator[tuple[int, int, int]]:
    """(kind, from, to) of each run of equal bytes; every byte is looked at once for each kind."""
    at, count = 0, len(kinds)
    ahead = [0] * 3  # of each kind, where it comes next
    while at < count:
        kind, end = kinds[at], count
        for other in (_ABSENT, _PRESENT, _SWAPPED):
            if other != kind:
                if ahead[other] < at or not at:
                    found = kinds.find(other, at)
                    ahead[other] = count if found < 0 else found
                end = min(end, ahead[other])
        yield kind, at, end
        at = end


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise Missing(f"{path}: permission denied; needs CAP_SYS_PTRACE") from None
    except OSError as error:
        raise Missing(f"{path}: {error.strerror}") from None


def _whole(file: int, pid: int) -> bytes:
    """All of a file of /proc, from its beginning; at most 64 MiB."""
    pieces, at = [], 0
    try:
        while at < 64 << 20:
            piece = os.pread(file, 1 << 16, at)
            if not piece:
                break
            pieces.append(piece)
            at += len(piece)
    except OSError as error:
        raise Unreadable(f"the mappings of process {pid} cannot be read: {error.strerror}") from None
    return b"".join(pieces)
