"""allgs, allm and allp: where the runtime keeps all its goroutines, threads and processors (runtime/proc.go).

Each is told by what it leads to: goroutine 1, a chain of threads down to the first one (m0, in .bss), processors
that are numbered. The same tests prove an address that comes from symbols or from the cache.
"""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.goheap.bits import PAGE_BYTES
from whyrss.goheap.region import Region

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whyrss.goheap.core import Core
    from whyrss.goheap.words import Words

    Test = Callable[[Core, int], int]

GOROUTINES_MAX = 1 << 26
THREADS_MAX = 1 << 17  # runtime/proc.go: sched.maxmcount is 10000 unless the program raises it
PROCESSORS_MAX = 1 << 12
TRIES_MAX = 50_000
SAMPLE = 3
POINTER_CACHE_BYTES = 64 * PAGE_BYTES  # runtime/mpagecache.go, pageCachePages


def goroutines(core: Core, address: int) -> int:
    """How many goroutines a slice at `address` has, as allgs; 0 where it is not allgs."""
    pointer, count, capacity = core.words(address, 3)
    if not (core.in_arenas(pointer) and 0 < count <= capacity <= GOROUTINES_MAX):
        return 0
    first = core.words(pointer, min(count, SAMPLE))
    if not all(core.in_arenas(at) for at in first) or len(set(first)) < len(first):
        return 0
    if Region(core.memory, core.layout, "g", first[0]).field("goid") != 1:
        return 0
    return count if all(_is_stack(core, at) for at in first) else 0


def _is_stack(core: Core, g: int) -> bool:
    low, high = core.words(g + core.layout.offset("g.stack"), 2)
    return low == high == 0 or (low < high and core.in_arenas(low) and core.in_arenas(high - 1))


def threads(core: Core, address: int) -> int:
    """How many threads the chain from the word at `address` has, as allm; 0 where it is not allm."""
    chain = chain_of_threads(core, core.words(address, 1)[0])
    if chain:
        core.first_thread = chain[-1]
    return len(chain)


def chain_of_threads(core: Core, m: int) -> list[int]:
    """The m's from one on down to m0; empty where they are none."""
    chain: list[int] = []
    seen: set[int] = set()
    while m and m not in seen and len(chain) < THREADS_MAX:
        if not _is_thread(core, m):
            return []
        chain.append(m)
        seen.add(m)
        if core.in_image(m):
            return chain
        m = Region(core.memory, core.layout, "m", m).field("alllink")
    return []


def _is_thread(core: Core, m: int) -> bool:
    """Every m has a g0, which has it."""
    if m % 8 or not (core.in_arenas(m) or core.in_image(m)):
        return False
    g0 = Region(core.memory, core.layout, "m", m).field("g0")
    if g0 % 8 or not (core.in_arenas(g0) or core.in_image(g0)):
        return False
    return Region(core.memory, core.layout, "g", g0).field("m") == m


def processors(core: Core, address: int) -> int:
    """How many processors a slice at `address` has, as allp; 0 where it is not allp."""
    pointer, count, capacity = core.words(address, 3)
    if not (core.in_arenas(pointer) and 0 < count <= capacity <= PROCESSORS_MAX):
        return 0
    found = core.words(pointer, count)
    return count if all(_is_processor(core, at, number) for number, at in enumerate(found)) else 0


def _is_processor(core: Core, address: int, number: int) -> bool:
    p = Region(core.memory, core.layout, "p", address)
    if not core.in_arenas(address) or p.field("id") != number:
        return False
    cache = p.field("mcache")
    if not cache or cache % 8 or core.in_arenas(cache):
        return False
    if not p.has("pcache"):
        return True
    base = p.field("pcache")
    return not base or (not base % POINTER_CACHE_BYTES and core.in_arenas(base))


def find_goroutines(core: Core, words: Words) -> int:
    """The address of allgs. Raises Missing.

    While the collector runs, work.stackRoots is the same slice, behind baseStacks and baseEnd, whose difference is
    its length (runtime/mgcmark.go, gcPrepareMarkRoots, Go 1.17 to 1.27).
    """
    best = _best(core, _slices(core, words, GOROUTINES_MAX), goroutines)
    return _the_one("allgs", [at for at in best if not _is_of_roots(words, at)])


def _is_of_roots(words: Words, address: int) -> bool:
    bases = words.words(address - 16, 2)
    return bool(bases) and (bases[1] & 0xFFFFFFFF) - (bases[0] >> 32) == words.word(address + 8)


def find_processors(core: Core, words: Words) -> int:
    """The address of allp. Raises Missing."""
    slices = (at for at in _slices(core, words, PROCESSORS_MAX) if not _is_in_first_thread(core, at))
    return _the_one("allp", _best(core, slices, processors))


def find_threads(core: Core, words: Words) -> int:
    """The address of allm. Raises Missing.

    Words that point into the middle of the chain have shorter ones. Two may point to the newest thread too: a
    link of m0 to another thread, and sched.midle, the list of idle threads, which is followed by their number
    (runtime/runtime2.go, m and schedt).
    """
    known: dict[int, int] = {}

    def length(core: Core, address: int) -> int:
        return _chain_length(core, words.word(address) or 0, known)

    best = _best(core, words.near(_starts(core)), length)
    count = threads(core, best[0]) if best else 0
    best = [at for at in best if not _is_in_first_thread(core, at)]
    if len(best) > 1:
        best = [at for at in best if not _is_followed_by_count(words, at, count)]
    return _the_one("allm", best)


def _chain_length(core: Core, m: int, known: dict[int, int]) -> int:
    """The length of the chain from m on; every m is looked at once, however many chains lead through it."""
    path: list[int] = []
    while m not in known and len(known) < THREADS_MAX:
        known[m] = 0  # until it is known better: a loop is no chain
        if not _is_thread(core, m):
            break
        path.append(m)
        if core.in_image(m):
            known[m] = 1
            path.pop()
            break
        m = Region(core.memory, core.layout, "m", m).field("alllink")
    for each in reversed(path):
        known[each] = known[m] + 1 if known.get(m) else 0
        m = each
    return known.get(m, 0)


def _is_in_first_thread(core: Core, address: int) -> bool:
    """m0 lies in .bss, and keeps copies of what it works with."""
    return 0 <= address - core.first_thread < core.layout.size("m")


def _is_followed_by_count(words: Words, address: int, most: int) -> bool:
    after = words.word(address + 8) or 0
    return 0 < after & 0xFFFFFFFF <= most and after >> 32 <= most


def _starts(core: Core) -> list[int]:
    return [start for start, _ in core.arenas]


def _slices(core: Core, words: Words, most: int) -> Iterator[int]:
    """The addresses of what may be slices whose elements lie in the heap. In mheap_ itself searchAddr, start and
    end of the page allocator look like one."""
    for at in words.near(_starts(core)):
        if 0 <= at - core.mheap < core.layout.size("mheap"):
            continue
        header = words.words(at, 3)
        if header and 0 < header[1] <= header[2] <= most and not header[0] % 8 and core.in_arenas(header[0]):
            yield at


def _best(core: Core, candidates: Iterator[int], test: Test) -> list[int]:
    """Those of the candidates with the largest count."""
    most = 0
    found: list[int] = []
    for tries, at in enumerate(candidates):
        if tries == TRIES_MAX:
            break
        try:
            count = test(core, at)
        except Missing:
            continue
        if count > most:
            most, found = count, []
        if count and count == most:
            found.append(at)
    return found


def _the_one(name: str, found: list[int]) -> int:
    if len(found) != 1:
        raise Missing(f"{len(found) or 'no'} places in its data look like {name}")
    return found[0]
