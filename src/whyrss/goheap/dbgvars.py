"""The settings that GODEBUG sets, runtime.debug.*, by the runtime's own table of them.

A dbgvar begins with a name (pointer and length) and the address of its int32, in every release from 1.12 to
1.27 (runtime/runtime1.go); the table is an array of them up to Go 1.20, then one of pointers to them.
"""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.goheap.image import resident
from whyrss.goheap.region import words_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.goheap.image import Image
    from whyrss.goheap.memory import Memory
    from whyrss.goheap.words import Words

KEY = b"madvdontneed"  # in every release from 1.12 on
AROUND_BYTES = 8192  # how far from that entry others are looked for
DEBUG_BYTES = 1024  # more than `debug` takes in any release
NAME_MAX_BYTES = 40
INT32_BYTES = 4
NAME_BYTES = b"abcdefghijklmnopqrstuvwxyz0123456789_-"


def find_debug(memory: Memory, image: Image, words: Words) -> tuple[int, dict[str, int]]:
    """Where the entry of madvdontneed is, and name -> address of every setting in entries near it.

    Names are read from the file, where they are constant, and the file with its relocations has to agree with
    what is in memory. Raises Missing where there is no entry or two.
    """
    found = list(dict.fromkeys(_entries(image, words)))
    if len(found) != 1:
        raise Missing(f"{len(found) or 'no'} places in its data look like the table of GODEBUG's settings")
    return found[0], read_debug(memory, image, found[0])


def read_debug(memory: Memory, image: Image, entry: int) -> dict[str, int]:
    """Name -> address by the entry of madvdontneed and its neighbours. Raises Missing where it is none."""
    key = words_at(memory, entry, 3)
    if not _is_entry(image, key, KEY):
        raise Missing("the entry of madvdontneed is not there")
    if (image.pointer(entry), image.pointer(entry + 16)) != (key[0], key[2]):
        raise Missing("the table of GODEBUG's settings in memory is not that of the file")
    found = {KEY.decode(): key[2]}
    words = _around(memory, image, entry)
    for at in range(len(words) - 2):
        if 0 < words[at + 1] <= NAME_MAX_BYTES and abs(words[at + 2] - key[2]) <= DEBUG_BYTES:
            name = image.stored(words[at], words[at + 1])
            if _is_entry(image, words[at : at + 3], name) and not name.strip(NAME_BYTES):
                found.setdefault(name.decode(), words[at + 2])
    return dict(sorted(found.items()))


def _around(memory: Memory, image: Image, entry: int) -> tuple[int, ...]:
    """The words around the entry, as far as they are there and in its segment."""
    low, high = next((start, end) for start, end in image.writable if start <= entry < end)
    low = max(entry - AROUND_BYTES, -(-low // 8) * 8)
    high = min(entry + AROUND_BYTES, high)
    for start, end in resident(memory, low, high):
        if start <= entry < end:
            return words_at(memory, start, (end - start) // 8)
    return ()


def _entries(image: Image, words: Words) -> Iterator[int]:
    for at in words.find(len(KEY)):
        header = words.words(at - 8, 3)
        if header and _is_entry(image, header, KEY):
            yield at - 8


def _is_entry(image: Image, header: tuple[int, ...], wanted: bytes) -> bool:
    name, size, value = header
    if value % INT32_BYTES or not any(start <= value <= end - INT32_BYTES for start, end in image.writable):
        return False
    if not any(start <= name < end for start, end in image.all):
        return False
    return len(wanted) == size and image.stored(name, size) == wanted
