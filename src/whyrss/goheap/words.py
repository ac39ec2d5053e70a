"""The words of a program's data and bss, searched without a loop over all of them.

`bytes.find` looks at several bytes per cycle: 32 MiB of .bss (Go 1.27), nearly all of it absent, and the data of
a large server cost milliseconds. All words are of 8 bytes, little endian, at multiples of 8: amd64 and arm64.
"""

from __future__ import annotations

from bisect import bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WORD_BYTES = 8
HALF_BYTES = 4
BLOCK_BYTES = 1 << 20
HITS_MAX = 200_000  # of one search: more words of a kind than that are no signature


class Words:
    """Pieces of memory by their addresses, each a multiple of 8. What lies between them is not known."""

    def __init__(self, pieces: Iterable[tuple[int, bytes]]) -> None:
        self.pieces = sorted(pieces)
        self._starts = [start for start, _ in self.pieces]

    @property
    def size_bytes(self) -> int:
        return sum(len(data) for _, data in self.pieces)

    def bytes_at(self, address: int, size_bytes: int) -> bytes:
        """Those bytes; empty where they are not all in one piece."""
        at = bisect_right(self._starts, address) - 1
        if at < 0:
            return b""
        start, data = self.pieces[at]
        found = data[address - start : address - start + size_bytes]
        return found if len(found) == size_bytes else b""

    def word(self, address: int) -> int | None:
        """The word at an address, None where it is not known."""
        raw = self.bytes_at(address, WORD_BYTES)
        return int.from_bytes(raw, "little") if raw else None

    def words(self, address: int, count: int) -> tuple[int, ...]:
        """`count` words from an address on; empty where they are not all known."""
        return tuple(memoryview(self.bytes_at(address, WORD_BYTES * count)).cast("Q"))

    def find(self, value: int) -> Iterator[int]:
        """The addresses of the words that have a value."""
        yield from self._find((value & (1 << 64) - 1).to_bytes(WORD_BYTES, "little"), 0)

    def near(self, targets: Iterable[int]) -> Iterator[int]:
        """The addresses of the words whose upper halves are that of one of the targets: pointers to within the
        same 4 GiB."""
        for high in sorted({target >> 32 for target in targets}):
            # A position-dependent program lies below 4 GiB, as do all small numbers; what is no pointer, anywhere.
            if 0 < high < 1 << 8 * HALF_BYTES:
                yield from self._find(high.to_bytes(HALF_BYTES, "little"), HALF_BYTES)

    def blocks(self, extra: int) -> Iterator[tuple[int, list[int]]]:
        """All words in blocks with their addresses, for what nothing can be searched for by; the last `extra` words
        of a block are the first of the next."""
        for start, data in self.pieces:
            view = memoryview(data)[: len(data) // WORD_BYTES * WORD_BYTES].cast("Q")
            for low in range(0, len(view), BLOCK_BYTES // WORD_BYTES):
                yield start + WORD_BYTES * low, view[low : low + BLOCK_BYTES // WORD_BYTES + extra].tolist()

    def _find(self, pattern: bytes, inside: int) -> Iterator[int]:
        """Where `pattern` is, `inside` bytes into a word: the addresses of these words."""
        left = HITS_MAX
        for start, data in self.pieces:
            at = data.find(pattern)
            while at >= 0 and left > 0:
                if at % WORD_BYTES == inside:
                    yield start + at - inside
                    at += WORD_BYTES - 1
                    left -= 1
                at = data.find(pattern, at + 1)
