"""gcController: GOGC, the memory limit and the goals of the collector, as the process has them now.

The signature holds whatever the program set (runtime/mgcpacer.go, setGCPercent, Go 1.17 to 1.27):
heapMinimum = 4 MiB * uint64(gcPercent) / 100, with -1 for off, in 64 bits. Where the release has the fields, the
bytes in use have to be about those of the heap.
"""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.goheap.bits import PAGE_BYTES
from whyrss.goheap.region import Region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.goheap.core import Core
    from whyrss.goheap.words import Words

STRUCT = "gcControllerState"
HEAP_MINIMUM_BYTES = 4 << 20  # runtime/mgcpacer.go, defaultHeapMinimum
NO_LIMIT_BYTES = (1 << 63) - 1
TRIES_MAX = 20_000
IN_USE_FACTOR = 4  # how far a running program may move between two reads


def heap_minimum_bytes(percent: int) -> int:
    """heapMinimum by GOGC in percent, -1 for off: as 64-bit arithmetic has it."""
    return (HEAP_MINIMUM_BYTES * (percent & (1 << 64) - 1) & (1 << 64) - 1) // 100


def is_pacer(core: Core, address: int) -> bool:
    """Whether gcController is at an address. Raises Missing where the release has no such structure."""
    pacer = Region(core.memory, core.layout, STRUCT, address)
    percent = pacer.signed("gcPercent")
    if percent < -1 or pacer.field("heapMinimum") != heap_minimum_bytes(percent):
        return False
    if not pacer.has("memoryLimit"):
        return percent != 0  # where all is zero the identity holds
    limit = pacer.signed("memoryLimit")
    return limit >= (percent == 0) and _is_of_heap(core, pacer)


def _is_of_heap(core: Core, pacer: Region) -> bool:
    """Whether its sums are those of this heap (Go 1.19 and later)."""
    ours, heaps = pacer.field("heapInUse"), core.heap.field("pagesInUse") * PAGE_BYTES
    if not (ours <= heaps * IN_USE_FACTOR and heaps <= ours * IN_USE_FACTOR):
        return False
    return pacer.field("mappedReady") >= ours and pacer.field("totalAlloc") >= pacer.field("totalFree")


def find_pacer(core: Core, words: Words) -> int:
    """The address of gcController. Raises Missing."""
    if not core.layout.has(f"{STRUCT}.gcPercent") or not core.layout.has(f"{STRUCT}.heapMinimum"):
        raise Missing(f"the layout of {core.layout.name} has no gcController with gcPercent and heapMinimum")
    for candidates in (_usual(core, words), _all(core, words), _by_heap(core, words)):
        found = _proved(core, candidates)
        if len(found) == 1:
            return found[0]
        if found:
            raise Missing(f"{len(found)} places in its data look like gcController")
    raise Missing("no place in its data looks like gcController")


def _proved(core: Core, candidates: Iterator[int]) -> list[int]:
    found = []
    for tries, at in enumerate(candidates):
        if tries == TRIES_MAX:
            break
        try:
            if is_pacer(core, at):
                found.append(at)
        except Missing:
            continue
    return list(dict.fromkeys(found))


def _usual(core: Core, words: Words) -> Iterator[int]:
    """By the values that most programs have, GOGC 100 and no memory limit, and by the heap's own bytes in use."""
    yield from _with(core, words, "heapMinimum", heap_minimum_bytes(100))
    if core.layout.has(f"{STRUCT}.memoryLimit"):
        yield from _with(core, words, "memoryLimit", NO_LIMIT_BYTES)
    if core.layout.has(f"{STRUCT}.heapInUse"):
        yield from _with(core, words, "heapInUse", core.heap.field("pagesInUse") * PAGE_BYTES)


def _with(core: Core, words: Words, field: str, value: int) -> Iterator[int]:
    offset = core.layout.offset(f"{STRUCT}.{field}")
    for at in words.find(value):
        if _fits(core, words, at - offset):
            yield at - offset


def _all(core: Core, words: Words) -> Iterator[int]:
    """Every word of the program's data: for a program that set both to something else."""
    minimum = core.layout.offset(f"{STRUCT}.heapMinimum") // 8
    percent = core.layout.offset(f"{STRUCT}.gcPercent")
    if percent // 8 > minimum:  # it stands before, in all releases
        return
    for start, values in words.blocks(minimum):
        for at, value in enumerate(values[minimum:]):
            # Any percentage that fits 32 bits makes less than 2^47; off makes a huge number.
            if value and (value >> 56 or not value >> 47):
                first = values[at + percent // 8] >> 8 * (percent % 8) & 0xFFFFFFFF
                if heap_minimum_bytes(first - (first >> 31 << 32)) == value:
                    yield start + 8 * at


def _by_heap(core: Core, words: Words) -> Iterator[int]:
    """By bytes in use that are about the heap's: for a program that set GOGC to 0 and collects all the time."""
    if not core.layout.has(f"{STRUCT}.heapInUse"):
        return
    offset = core.layout.offset(f"{STRUCT}.heapInUse")
    in_use = core.heap.field("pagesInUse") * PAGE_BYTES
    least, most = in_use // IN_USE_FACTOR, in_use * IN_USE_FACTOR
    for start, values in words.blocks(0):
        for at, value in enumerate(values):
            if least <= value <= most and not value % PAGE_BYTES and _fits(core, words, start + 8 * at - offset):
                yield start + 8 * at - offset


def _fits(core: Core, words: Words, address: int) -> bool:
    """The identity, on the words that were read already."""
    percent = words.bytes_at(address + core.layout.offset(f"{STRUCT}.gcPercent"), 4)
    minimum = words.word(address + core.layout.offset(f"{STRUCT}.heapMinimum"))
    return minimum == heap_minimum_bytes(int.from_bytes(percent, "little", signed=True))
