"""The runtime's own memory that is kept in lists: persistent chunks and the arenas of mark bits.

Both are anonymous memory outside of the heap: chunks of 256 KiB with the next one's address in their first word
(runtime/malloc.go, persistentalloc1), and arenas of 64 KiB with it in their second, behind the number of bytes
taken (runtime/mheap.go, gcBitsArena).
"""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.goheap.rules import IN_USE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from whyrss.goheap.core import Core
    from whyrss.goheap.memory import Memory, Range
    from whyrss.goheap.words import Words

CHUNK_BYTES = 256 << 10
BITS_BYTES = 64 << 10
BITS_HEADER_BYTES = 16
ALIGN_BYTES = 4096
LENGTH_MAX = 1 << 17  # 32 GiB of chunks
WALKED_MAX = 1 << 18  # of all candidates together
TRIES_MAX = 20_000
SIBLINGS = (-24, -16, -8, 0, 8, 16, 24)  # gcBitsArenas: free, next, current, previous


class Steps:
    """How many pieces may still be walked over: whatever memory says, a search ends."""

    __slots__ = ("left",)

    def __init__(self, left: int = LENGTH_MAX) -> None:
        self.left = left


def persistent_chunks(memory: Memory, address: int, steps: Steps | None = None) -> list[Range]:
    """The chunks of the list whose head is the word at `address` (persistentChunks). Raises Missing."""
    return _chain(memory, _word(memory, address), 0, CHUNK_BYTES, steps or Steps())


def gc_bits_arenas(memory: Memory, addresses: Iterable[int], steps: Steps | None = None) -> list[Range]:
    """The arenas of mark bits in the lists whose heads are the words at `addresses`, sorted; words that are no
    heads of such a list are passed over."""
    steps = steps or Steps()
    found: set[Range] = set()
    for address in addresses:
        try:
            head = _word(memory, address)
            if (head, head + BITS_BYTES) not in found:
                found.update(_chain(memory, head, 8, BITS_BYTES, steps))
        except Missing:
            continue
    return sorted(found)


def find_persistent(core: Core, words: Words) -> int:
    """The address of persistentChunks: its list holds every span. Raises Missing.

    globalAlloc.base may point to the newest chunk too; how much of that is taken follows it.
    """
    targets = [span.address for span in core.spans()]
    most, steps = 0, Steps(WALKED_MAX)
    best: list[int] = []
    for at in _pages(core, words, targets)[:TRIES_MAX]:
        try:
            chunks = persistent_chunks(core.memory, at, steps)
        except Missing:
            continue
        if len(chunks) < most or not _covers(chunks, targets):
            continue
        if len(chunks) > most:
            most, best = len(chunks), []
        best.append(at)
    if len(best) > 1:
        best = [at for at in best if not 0 < (words.word(at + 8) or 0) <= CHUNK_BYTES]
    if len(best) != 1:
        raise Missing(f"{len(best) or 'no'} places in its data look like the list of persistent chunks")
    return best[0]


def is_persistent(core: Core, address: int) -> int:
    """How many chunks the list at `address` has; 0 where spans lie outside of it."""
    chunks = persistent_chunks(core.memory, address)
    return len(chunks) if _covers(chunks, [span.address for span in core.spans()]) else 0


def find_gc_bits(core: Core, words: Words) -> list[int]:
    """The addresses of words that may head a list of mark bits: those whose list holds the bits of a span, and
    their siblings in gcBitsArenas. Raises Missing."""
    targets = _bits(core)
    roots: set[int] = set()
    steps = Steps(WALKED_MAX)
    for at in _pages(core, words, targets)[:TRIES_MAX]:
        arenas = gc_bits_arenas(core.memory, [at], steps)
        if any(start <= target < end for start, end in arenas for target in targets):
            roots.update(at + sibling for sibling in SIBLINGS)
    if not roots:
        raise Missing("no place in its data looks like the lists of mark bits")
    return sorted(at for at in roots if core.in_image(at))


def is_gc_bits(core: Core, addresses: list[int]) -> bool:
    """Whether the lists at `addresses` hold the bits of a span."""
    arenas = gc_bits_arenas(core.memory, addresses)
    return any(start <= target < end for start, end in arenas for target in _bits(core))


def _bits(core: Core) -> list[int]:
    """The places of mark bits of some spans. Those of the very first spans are in no arena but static."""
    found = set()
    for span in core.spans():
        if span.field("state") == IN_USE:
            found |= {span.field("gcmarkBits"), span.field("allocBits")}
    return sorted(at for at in found if at and not core.in_image(at))


def _pages(core: Core, words: Words, targets: list[int]) -> list[int]:
    """The addresses of words that point to a page near one of the targets, outside of the heap and the program."""
    around = {target + step for target in targets for step in (-(1 << 32), 0, 1 << 32)}
    found = []
    for at in words.near(each for each in around if each > 0):
        value = words.word(at) or 0
        if not value % ALIGN_BYTES and not core.in_arenas(value) and not core.in_image(value):
            found.append(at)
    return found


def _covers(chunks: list[Range], targets: list[int]) -> bool:
    from bisect import bisect_right

    chunks = sorted(chunks)
    starts = [start for start, _ in chunks]
    places = ((bisect_right(starts, target) - 1, target) for target in targets)
    return all(at >= 0 and target < chunks[at][1] for at, target in places)


def _chain(memory: Memory, head: int, inside: int, size_bytes: int, steps: Steps) -> list[Range]:
    """The pieces from `head` on, each with the address of the next `inside` it. Raises Missing at a loop, or at
    what cannot be one of them."""
    found: list[Range] = []
    seen: set[int] = set()
    while head:
        steps.left -= 1
        if head % ALIGN_BYTES or head in seen or steps.left < 0:
            raise Missing(f"the list at {head:#x} has a loop, or no end")
        raw = memory.read(head, BITS_HEADER_BYTES)
        if inside and int.from_bytes(raw[:8], "little") > 2 * size_bytes:
            raise Missing(f"no arena of mark bits is at {head:#x}")
        found.append((head, head + size_bytes))
        seen.add(head)
        head = int.from_bytes(raw[inside : inside + 8], "little")
    return found


def _word(memory: Memory, address: int) -> int:
    return int.from_bytes(memory.read(address, 8), "little")
