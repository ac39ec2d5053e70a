"""firstmoduledata: where text, data and bss of the Go part of the program begin and end (runtime/symtab.go).

Told by its order: text and etext lie in code, and four pairs of addresses that begin and end parts of data and bss
in the writable segments.
"""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.goheap.region import Region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.goheap.core import Core
    from whyrss.goheap.words import Words

PARTS = (("noptrdata", "enoptrdata"), ("data", "edata"), ("bss", "ebss"), ("noptrbss", "enoptrbss"))
# The tables of function names and lines; a word with this address is pclntable or pcHeader of moduledata.
SECTIONS = (".gopclntab", ".data.rel.ro.gopclntab")
TRIES_MAX = 100_000


def is_moduledata(core: Core, address: int) -> bool:
    """Whether firstmoduledata is at an address."""
    module = Region(core.memory, core.layout, "moduledata", address)
    low, high = module.field("text"), module.field("etext")
    if not low < high or not any(start <= low and high <= end for start, end in core.image.code):
        return False
    parts = sorted((module.field(begin), module.field(end)) for begin, end in PARTS)
    places = [place for part in parts for place in part]
    return places == sorted(places) and all(any(s <= at <= e for s, e in core.image.writable) for at in places)


def find_moduledata(core: Core, words: Words) -> int:
    """The address of firstmoduledata. Raises Missing."""
    for candidates in (_by_section(core), _by_table(core, words), _by_text(core, words)):
        found = []
        for tries, at in enumerate(candidates):
            if tries == TRIES_MAX:
                break
            try:
                if is_moduledata(core, at):
                    found.append(at)
            except Missing:
                continue
        found = list(dict.fromkeys(found))
        if len(found) == 1:
            return found[0]
    raise Missing("no place in its data looks like the table of its segments (moduledata)")


def _by_section(core: Core) -> Iterator[int]:
    """Go 1.26 and later: a section of its own."""
    section = core.image.section(".go.module")
    if section is not None:
        yield section[0]


def _by_table(core: Core, words: Words) -> Iterator[int]:
    """By its first word, the address of the function table, or (up to Go 1.15) of its bytes."""
    for name in SECTIONS:
        section = core.image.section(name)
        if section is not None:
            yield from words.find(section[0])


def _by_text(core: Core, words: Words) -> Iterator[int]:
    """Without section headers: every pair of words that ascend in code, with noptrdata behind it."""
    offset = core.layout.offset("moduledata.text")
    low = min(start for start, _ in core.image.code)
    high = max(end for _, end in core.image.code)
    first = min(begin for begin, _ in core.image.writable)
    last = max(end for _, end in core.image.writable)
    for start, values in words.blocks(2):
        for at, value in enumerate(values[:-2]):
            if low <= value < high and value < values[at + 1] <= high and first <= values[at + 2] <= last:
                yield start + 8 * at - offset
