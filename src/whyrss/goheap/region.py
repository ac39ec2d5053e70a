"""A structure of the runtime at an address: its fields by name."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.goheap.layout import Layout
    from whyrss.goheap.memory import Memory

WORD_BYTES = 8


class Region:
    """`struct` of `layout` at `address`. `field` raises Missing where the release has no such field, and
    Unreadable where the memory is not there; only that field's bytes are read."""

    __slots__ = ("address", "layout", "memory", "struct")

    def __init__(self, memory: Memory, layout: Layout, struct: str, address: int) -> None:
        self.memory = memory
        self.layout = layout
        self.struct = struct
        self.address = address

    def at(self, name: str) -> int:
        """The address of a field."""
        return self.address + self.layout.offset(f"{self.struct}.{name}")

    def has(self, name: str) -> bool:
        return self.layout.has(f"{self.struct}.{name}")

    def field(self, name: str) -> int:
        """A field as an unsigned number; of a slice or another large field the first word."""
        width = min(self.layout.width(f"{self.struct}.{name}"), WORD_BYTES)
        return int.from_bytes(self.memory.read(self.at(name), width), "little")

    def signed(self, name: str) -> int:
        """A field as a signed number."""
        width = min(self.layout.width(f"{self.struct}.{name}"), WORD_BYTES)
        return int.from_bytes(self.memory.read(self.at(name), width), "little", signed=True)

    def slice(self, name: str) -> tuple[int, int, int]:
        """Pointer, length and capacity of a slice."""
        pointer, length, capacity = words_at(self.memory, self.at(name), 3)
        return pointer, length, capacity

    def sub(self, name: str, struct: str) -> Region:
        """A structure that lies inside this one: sub("pages", "pageAlloc")."""
        return Region(self.memory, self.layout, struct, self.at(name))


def words_at(memory: Memory, address: int, count: int) -> tuple[int, ...]:
    """`count` words from an address on. Raises Unreadable."""
    return tuple(memoryview(memory.read(address, WORD_BYTES * count)).cast("Q"))
