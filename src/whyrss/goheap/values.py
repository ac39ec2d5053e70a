"""Single values of the runtime's structures, by the name of their field, and slices whose length is bounded."""

from __future__ import annotations

from whyrss.errors import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.goheap.layout import Layout
    from whyrss.goheap.memory import Memory

WORD_BYTES = 8
WORD_MASK = (1 << 64) - 1


class Values:
    """Reads values of one process. Every method raises Missing where the memory cannot be read, or where the
    release has no such field."""

    __slots__ = ("layout", "memory")

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self.memory = memory
        self.layout = layout

    def word(self, address: int) -> int:
        return int.from_bytes(self.memory.read(address & WORD_MASK, WORD_BYTES), "little")

    def words(self, address: int, count: int) -> memoryview:
        """`count` words, a view of integers."""
        return memoryview(self.memory.read(address & WORD_MASK, count * WORD_BYTES)).cast("Q")

    def field(self, structure_at: int, field: str) -> int:
        """The unsigned value of "mheap.pagesInUse" in the structure that begins at `structure_at`."""
        return int.from_bytes(self._raw(structure_at, field), "little")

    def signed(self, structure_at: int, field: str) -> int:
        return int.from_bytes(self._raw(structure_at, field), "little", signed=True)

    def slice(self, header_at: int, what: str, most: int) -> tuple[int, int, int]:
        """Pointer, length and capacity of a Go slice. Missing where it has more than `most` elements, which no
        sound process has."""
        pointer, length, capacity = self.words(header_at, 3)
        if length > capacity or length > most:
            raise Missing(f"{what} has {length} of {capacity} elements: this is not the runtime's memory")
        return pointer, length, capacity

    def _raw(self, structure_at: int, field: str) -> bytes:
        width = min(self.layout.width(field) or WORD_BYTES, WORD_BYTES)
        return self.memory.read((structure_at + self.layout.offset(field)) & WORD_MASK, width)
