"""A small page heap over real memory: what Go's page allocator does, without Go.

Pages are allocated and freed in an arena; `release` gives the free ones back with a real madvise(2) and counts
them as released, as Go's scavenger does. The kernel's figures are the kernel's own.
"""

from __future__ import annotations

import mmap

PAGE_BYTES = 8 << 10  # runtime/sizeclasses.go, _PageShift = 13
ARENA_BYTES = 64 << 20  # runtime/malloc.go, heapArenaBytes

FRESH, IN_USE, IDLE, RELEASED = 0, 1, 2, 3  # FRESH: never touched, so the kernel has nothing to take back


class PageHeap:
    """Arenas of one mapping. `advice` is mmap.MADV_FREE or mmap.MADV_DONTNEED."""

    def __init__(self, size_bytes: int, advice: int) -> None:
        arenas = -(-size_bytes // ARENA_BYTES)
        self._memory = mmap.mmap(-1, arenas * ARENA_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._advice = advice
        self._state = bytearray(arenas * ARENA_BYTES // PAGE_BYTES)
        self._allocated_bytes = 0

    def allocate(self, size_bytes: int) -> tuple[int, int]:
        """A span of whole pages, first fit: (page number, pages). Raises MemoryError where none is free."""
        pages = -(-size_bytes // PAGE_BYTES)
        at = run = 0
        for page, state in enumerate(self._state):
            run = run + 1 if state != IN_USE else 0
            if run == pages:
                at = page - pages + 1
                self._state[at : at + pages] = bytes([IN_USE]) * pages
                self._allocated_bytes += size_bytes
                return at, pages
        raise MemoryError(f"no {pages} free pages in a row")

    def write(self, span: tuple[int, int], data: bytes) -> None:
        at = span[0] * PAGE_BYTES
        self._memory[at : at + len(data)] = data

    def read(self, span: tuple[int, int], size_bytes: int) -> bytes:
        at = span[0] * PAGE_BYTES
        return self._memory[at : at + size_bytes]

    def touch(self, span: tuple[int, int]) -> None:
        """Writes one byte to every 4 KiB of a span."""
        for at in range(span[0] * PAGE_BYTES, (span[0] + span[1]) * PAGE_BYTES, 4096):
            self._memory[at] = 1

    def free(self, span: tuple[int, int], size_bytes: int) -> None:
        self._state[span[0] : span[0] + span[1]] = bytes([IDLE]) * span[1]
        self._allocated_bytes -= size_bytes

    def release(self) -> int:
        """Gives every idle page back to the kernel. Returns the bytes."""
        released = at = 0
        while (at := self._state.find(IDLE, at)) >= 0:
            end = at
            while end < len(self._state) and self._state[end] == IDLE:
                end += 1
            self._memory.madvise(self._advice, at * PAGE_BYTES, (end - at) * PAGE_BYTES)
            self._state[at:end] = bytes([RELEASED]) * (end - at)
            released += (end - at) * PAGE_BYTES
            at = end
        return released

    def stats(self) -> dict[str, int]:
        """The figures that Go's MemStats has of the same names, in bytes."""
        in_use, released = (self._state.count(state) * PAGE_BYTES for state in (IN_USE, RELEASED))
        return {
            "HeapAlloc": self._allocated_bytes,
            "HeapInuse": in_use,
            "HeapIdle": len(self._memory) - in_use,
            "HeapReleased": released,
            "HeapSys": len(self._memory),
        }
