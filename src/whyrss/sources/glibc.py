"""What glibc's malloc and its threads leave in memory, seen from outside. 64 bits.

Sources: malloc/arena.c (heap_info), malloc/malloc.c (struct malloc_chunk, IS_MMAPPED), sysdeps/x86_64/nptl/tls.h
(tcbhead_t), nptl/allocatestack.c, glibc 2.31 to 2.42. Everything that is read may be anything: a value that does not
fit is no error, it only makes no label.
"""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.facts.address_space import GLIBC_ARENA_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Read = Callable[[int, int], bytes]
    Range = tuple[int, int]

WORD = 8
IS_MMAPPED = 2  # of the low three bits of a chunk's size; a chunk of its own mapping has neither of the others
MMAP_THRESHOLD_MIN_BYTES = 128 << 10  # DEFAULT_MMAP_THRESHOLD_MIN; it only rises by itself
HEADER_BYTES = 16
BLOCK_BYTES = 256 << 10
# Of pages without a header that are looked at, in one mapping and in all; a chunk that is found costs nothing.
REGION_WALK_MAX_BYTES, WALK_MAX_BYTES = 4 << 20, 16 << 20
TCB_ALIGNMENT = 64
TCB_SELF_WORDS = (0, 2)  # tcbhead_t: tcb, dtv, self: two words that point to the head itself
TCB_SEARCH_MAX_BYTES = 4 << 20  # in one mapping


def words_of(read: Read, address: int, count: int) -> Sequence[int]:
    """`count` words at an address; all 0 where they cannot be read."""
    try:
        data = read(address, count * WORD)
    except Missing:
        data = b""
    return memoryview(data).cast("Q") if len(data) == count * WORD else (0,) * count


def arenas(read: Read, runs: Sequence[Range], page_bytes: int) -> Iterator[Range]:
    """The accessible parts of the heaps of malloc's arenas that begin in resident `runs`: aligned, with a heap_info
    (ar_ptr, prev, size, mprotect_size) that describes them."""
    size = GLIBC_ARENA_BYTES
    for start, end in runs:
        for base in range(-(-start // size) * size, end, size):
            arena, previous, used, accessible = words_of(read, base, 4)
            whole = not accessible % page_bytes and not used % 16
            own = not previous and base < arena < base + page_bytes
            grown = previous and not previous % size and previous < arena < previous + page_bytes
            later = previous and not previous % size and arena % size < page_bytes
            if whole and 0 < used <= accessible <= size and (own or grown or later):
                yield base, base + accessible


class ChunkWalk:
    """Finds the chunks for which malloc made a mapping of its own. Several of them, and memory of others, lie in one
    VMA where the kernel merged them, so that every resident page may be the first one of a chunk."""

    def __init__(self, read: Read, page_bytes: int) -> None:
        self._read = read
        self._page_bytes = page_bytes
        self._left_bytes = WALK_MAX_BYTES
        self._region_bytes = 0

    def chunks(self, runs: Sequence[Range], limit: int) -> Iterator[Range]:
        """The chunks that begin in `runs` and end at `limit` at most, in their order."""
        after = 0
        self._region_bytes = min(self._left_bytes, REGION_WALK_MAX_BYTES)
        for start, end in runs:
            at = max(start, after)
            while at < end and self._region_bytes > 0:
                size = self._size(words_of(self._read, at, 2), limit - at)
                if size:
                    yield at, at + size
                    at = after = at + size
                else:
                    self._spend(self._page_bytes)
                    at = self._next(at + self._page_bytes, end, limit)

    def _spend(self, size_bytes: int) -> None:
        self._left_bytes -= size_bytes
        self._region_bytes -= size_bytes

    def _size(self, header: Sequence[int], most_bytes: int) -> int:
        """The size in a chunk's header; 0 where it is none."""
        before, size = header
        size -= IS_MMAPPED
        fits = not before and not size % self._page_bytes and MMAP_THRESHOLD_MIN_BYTES <= size <= most_bytes
        return size if fits else 0

    def _next(self, at: int, end: int, limit: int) -> int:
        """The next page of [at, end) that has a header; `end` where none has, or enough was read."""
        while at < end and self._region_bytes > 0:
            stop = min(end, at + BLOCK_BYTES)
            self._spend(stop - at)
            words = words_of(self._read, at, (stop - at) // WORD)
            step = self._page_bytes // WORD
            for number, size in enumerate(words[1::step]):
                if size & 0xFFF == IS_MMAPPED:
                    address = at + number * self._page_bytes
                    if self._size((words[number * step], size), limit - address):
                        return address
            at = stop
        return end


def thread_heads(read: Read, runs: Sequence[Range], page_bytes: int) -> Iterator[int]:
    """The addresses of the thread control blocks in resident `runs` (amd64), at most one a page: a word that is its
    own address, and the word two behind it too."""
    left_bytes = TCB_SEARCH_MAX_BYTES
    for start, end in runs:
        for at in range(start, end, page_bytes):
            if left_bytes <= 0:
                return
            left_bytes -= page_bytes
            head = _thread_head(words_of(read, at, page_bytes // WORD), at, page_bytes)
            if head:
                yield head


def _thread_head(words: Sequence[int], page: int, page_bytes: int) -> int:
    step = TCB_ALIGNMENT // WORD
    first, second = TCB_SELF_WORDS
    own = range(page, page + page_bytes, TCB_ALIGNMENT)
    for address, one, other in zip(own, words[first::step], words[second::step], strict=False):
        if one == address == other:
            return address
    return 0
