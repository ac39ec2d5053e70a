"""The counters that a Go runtime keeps of its memory, as far as the layout knows where they are."""

from __future__ import annotations

from struct import unpack

from whyrss.errors import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.goheap.values import Values

# gcController is of type gcControllerState; a layout may have it by either name.
PACERS = ("gcController", "gcControllerState")
WORD_MASK = (1 << 64) - 1
STATS = (
    "inStacks", "inWorkBufs", "inPtrScalarBits", "tinyAllocCount",
    "largeAllocCount", "smallAllocCount", "largeFreeCount", "smallFreeCount",
)  # fmt: skip


class Counters:
    """The runtime's counters by the names of the tables above: `places` are the addresses of "mheap", "mstats" and
    "pacer" (None where it was not found)."""

    def __init__(self, values: Values, places: dict[str, int | None]) -> None:
        self._values = values
        self._places = places
        self._structs = {name: name for name in places}
        self._structs["pacer"] = next((name for name in PACERS if values.layout.has(name)), PACERS[0])

    def get(self, *choices: tuple[str, str]) -> int | None:
        """The first of the fields that can be read."""
        for struct, field in choices:
            raw = self._read(struct, field)
            if raw is not None:
                return int.from_bytes(raw, "little")
        return None

    def place(self, *choices: tuple[str, str]) -> tuple[int, int] | None:
        """The address and width in bytes of the first of the fields that can be read."""
        for struct, field in choices:
            if self._read(struct, field) is not None:
                name, layout = f"{self._structs[struct]}.{field}", self._values.layout
                return (self._places[struct] or 0) + layout.offset(name), layout.width(name) or 8
        return None

    def signed(self, struct: str, field: str) -> int | None:
        raw = self._read(struct, field)
        return None if raw is None else int.from_bytes(raw, "little", signed=True)

    def real(self, struct: str, field: str) -> float | None:
        raw = self._read(struct, field)
        return None if raw is None or len(raw) != 8 else float(unpack("<d", raw)[0])

    def words(self, struct: str, field: str, most: int = 1 << 16) -> list[int]:
        """The words that a field is made of; empty where it cannot be read."""
        place, name = self._places.get(struct), f"{self._structs[struct]}.{field}"
        layout = self._values.layout
        if place is None or not layout.has(name) or layout.width(name) > most:
            return []
        try:
            return self._values.words(place + layout.offset(name), layout.width(name) // 8).tolist()
        except Missing:
            return []

    def stats(self) -> dict[str, int]:
        """memstats.heapStats: the sums of its three generations, small allocations and frees counted together
        (runtime/mstats.go, consistentHeapStats; Go 1.16 and later)."""
        return dict(self._stats())

    def fixalloc_in_use(self, allocator: str) -> int | None:
        """Bytes that "spanalloc" or "cachealloc" of mheap_ has given out."""
        layout, place = self._values.layout, self._places.get("mheap")
        if place is None or not layout.has(f"mheap.{allocator}"):
            return None
        try:
            return self._values.word(place + layout.offset(f"mheap.{allocator}") + layout.offset("fixalloc.inuse"))
        except Missing:
            return None

    def _stats(self) -> Iterator[tuple[str, int]]:
        layout = self._values.layout
        if not layout.has("mstats.heapStats") or not layout.has("heapStatsDelta"):
            return
        words, size = self.words("mstats", "heapStats"), layout.size("heapStatsDelta") // 8
        if len(words) < 3 * size:
            return
        for name in STATS:
            field = f"heapStatsDelta.{name}"
            if layout.has(field):
                at, count = layout.offset(field) // 8, max(layout.width(field) // 8, 1)
                yield name, sum(sum(words[at + size * i : at + size * i + count]) for i in range(3)) & WORD_MASK

    def _read(self, struct: str, field: str) -> bytes | None:
        place, name = self._places.get(struct), f"{self._structs[struct]}.{field}"
        layout = self._values.layout
        if place is None or not layout.has(name):
            return None
        try:
            return self._values.memory.read(place + layout.offset(name), min(layout.width(name) or 8, 8))
        except Missing:
            return None


def minor_of(values: Values) -> int:
    return minor_of_name(values.layout.name)


def minor_of_name(layout: str) -> int:
    """24 of a layout named "go1.24.11 amd64"."""
    number = layout.partition(".")[2]
    digits = number[: len(number) - len(number.lstrip("0123456789"))]
    return int(digits or 0)
