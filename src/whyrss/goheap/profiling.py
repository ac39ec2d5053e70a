"""The hash table of the memory, block and mutex profiles: `runtime.buckhash` points to 179,999 words, of which each
leads to a list of buckets (runtime/mprof.go, buckHashSize, stkbucket). It is made with the first sample, 1.4 MB that
are touched here and there.
"""

from __future__ import annotations

from itertools import islice

from whyrss.errors import Missing
from whyrss.goheap.image import resident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.goheap.core import Core
    from whyrss.goheap.memory import Memory
    from whyrss.goheap.words import Words

TABLE_WORDS = 179_999
TABLE_BYTES = TABLE_WORDS * 8
ALIGN_BYTES = 4096
TRIES_MAX = 4096
LOOKED_AT = 8  # buckets, before a table is believed
BUCKET_WORDS = 6  # next, allnext, typ, hash, size, nstk: the same in Go 1.12 to 1.27 (runtime/mprof.go, bucket)
KINDS = range(1, 4)  # memProfile, blockProfile, mutexProfile
FRAMES_MAX = 1024  # runtime/mprof.go, maxProfStackDepth; 32 up to Go 1.22
OBJECT_BYTES_MAX = 1 << 47


def find_buckets(core: Core, words: Words) -> int:
    """The address of runtime.buckhash. Raises Missing, also where nothing was sampled yet."""
    seen: set[int] = set()
    for at in words.near(_around(core)):
        table = words.word(at) or 0
        if table % ALIGN_BYTES or table in seen or core.in_arenas(table) or core.in_image(table):
            continue
        seen.add(table)
        try:
            if _is_table(core.memory, table):
                return at
        except Missing:
            pass
        if len(seen) == TRIES_MAX:
            break
    raise Missing("no place in its data looks like the table of profiling buckets: nothing was sampled, perhaps")


def is_buckets(core: Core, address: int) -> bool:
    """Whether the word at `address` leads to the table. Raises Unreadable."""
    return _is_table(core.memory, core.words(address, 1)[0])


def table_of(memory: Memory, address: int) -> tuple[int, int]:
    """(start, end) of the table to which the word at `address` leads. Raises Unreadable."""
    start = int.from_bytes(memory.read(address, 8), "little")
    return start, start + TABLE_BYTES


def _around(core: Core) -> set[int]:
    """Where the runtime's own memory is: within 4 GiB of the spans' records."""
    steps = (-(1 << 32), 0, 1 << 32)
    return {max(0, span.address + step) for span in core.spans() for step in steps}


def _is_table(memory: Memory, table: int) -> bool:
    """Each word that is not zero leads to a bucket, and there are some."""
    found = list(islice(_entries(memory, table), LOOKED_AT))
    return bool(found) and all(_is_bucket(memory, entry, table) for entry in found)


def _entries(memory: Memory, table: int) -> Iterator[int]:
    for start, end in resident(memory, table, table + TABLE_BYTES):
        size_bytes = min(end, table + TABLE_BYTES) - start
        for entry in memoryview(memory.read(start, size_bytes // 8 * 8)).cast("Q"):
            if entry:
                yield entry


def _is_bucket(memory: Memory, address: int, table: int) -> bool:
    if address % 8 or not address or table <= address < table + TABLE_BYTES:
        return False
    _, _, kind, _, size, frames = memoryview(memory.read(address, BUCKET_WORDS * 8)).cast("Q")
    return kind in KINDS and size < OBJECT_BYTES_MAX and 0 < frames <= FRAMES_MAX
