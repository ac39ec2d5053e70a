"""The goroutines of a process: a walk of allgs, which has every `g` that was ever made (runtime/proc.go, allgadd).

Nothing is stopped: goroutines come, go and change their state while they are read, which takes about a millisecond
for each thousand. Each is counted in the state in which it is met.
"""

from __future__ import annotations

from whyrss.errors import FormatError, Missing
from whyrss.facts.sizeclasses import SIZES
from whyrss.facts.waitreasons import DEAD, LEAKED, SCAN_BIT, STATES, SYSCALL, WAIT_REASONS, WAITING
from whyrss.goheap.counters import minor_of
from whyrss.goheap.values import Values
from whyrss.goroutines import Goroutines, Site
from whyrss.read.elf import ET_DYN
from whyrss.read.pclntab import Pclntab, printed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from whyrss.goheap.image import Image
    from whyrss.goheap.layout import Layout
    from whyrss.goheap.locate import Located
    from whyrss.goheap.memory import Memory

    # gopc, startpc, status, wait reason, bytes of stack, whether it waits since before the last collection.
    Key = tuple[int, int, int, int, int, bool]

MOST_GOROUTINES = 2_000_000
MOST_READS = 1 << 18
MOST_READ_BYTES = 4 << 30
MOST_RUN_BYTES = 4 << 20
GAP_BYTES = 8 << 10  # what is read along rather than reading twice
CHUNK = 1 << 16  # pointers at a time
MOST_KEYS = 1 << 17  # beyond, goroutines are counted without where they come from
MOST_FUNCTIONS = 1 << 16  # that are given a name
MOST_NAMES_BYTES = 64 << 20
MOST_STACK_BYTES = 1 << 30  # runtime/proc.go, main: maxstacksize is 1,000,000,000
TRIES = 3

FIELDS = ("g.stack", "g.atomicstatus", "g.waitsince", "g.waitreason", "g.gopc", "g.startpc")
CODES = {"g.stack": "QQ", "g.atomicstatus": "I", "g.waitreason": "B"}

# runtime/traceback.go, isSystemGoroutine, Go 1.12 to 1.27: all that begin in a function of the runtime's but these,
FIRST = "runtime.main"
NOT_SYSTEM = (FIRST, "runtime.corostart", "runtime.handleAsyncEvent")
# and these while they call finalizers or cleanups of the program's, told by what they wait for otherwise.
CALLERS = ("runtime.runfinq", "runtime.runFinalizers", "runtime.runCleanups")
CALLERS_IDLE = ("finalizer wait", "cleanup wait", "runnable", "running", "preempted")


def count_goroutines(memory: Memory, located: Located) -> int:
    """How many `g` there are, in use or not: one small read. Raises Missing."""
    return _allgs(Values(memory, located.layout), located)[1]


def read_goroutines(memory: Memory, located: Located, image: Image) -> Goroutines:
    """All goroutines; `located` has to have been asked for allgs, and for moduledata, without which functions have
    no names. Raises Missing with the reason where they cannot be read, or are more than MOST_GOROUTINES."""
    values = Values(memory, located.layout)
    pointers = _pointers(values, located)
    tally = _Tally(memory, located.layout)
    for start in range(0, len(pointers), CHUNK):
        tally.count(sorted(pointers[start : start + CHUNK]))
    if tally.unread == len(pointers):
        raise Missing(f"none of {len(pointers)} goroutines could be read: {tally.reason}")
    found = Goroutines(len(pointers), _rounded(located.layout.size("g")))
    found.unread = tally.unread
    names = _Names(memory, located, image)
    _divide(found, tally.keys, names, _states(minor_of(values)))
    found.unnamed = names.reason
    return found


def _allgs(values: Values, located: Located) -> tuple[int, int]:
    if located.allgs is None:
        raise Missing(located.reasons.get("allgs", "the list of goroutines was not looked for"))
    return values.slice(located.allgs, "the list of goroutines", MOST_GOROUTINES)[:2]


def _pointers(values: Values, located: Located) -> memoryview:
    """The addresses of all g's. When the list grows it is copied elsewhere, and its old place used otherwise."""
    place, count = _allgs(values, located)
    for _ in range(TRIES):
        pointers = values.words(place, count)
        again = _allgs(values, located)
        if again[0] == place:
            return pointers
        place, count = again
    raise Missing("the list of goroutines grows faster than it can be read")


def _rounded(size_bytes: int) -> int:
    return next((size for size in SIZES if size >= size_bytes), size_bytes)


class _Tally:
    """How many goroutines are alike in all that counts.

    keys      Key -> how many
    unread    how many could not be read, the last time for `reason`
    """

    def __init__(self, memory: Memory, layout: Layout) -> None:
        self._memory = memory
        self._record_bytes, self._unpack = _unpacker(layout)
        self._reads = 0
        self._read_bytes = 0
        self.keys: dict[Key, int] = {}
        self.unread = 0
        self.reason = ""

    def count(self, pointers: Sequence[int]) -> None:
        """Count the goroutines at these ascending addresses. Raises Missing where they lie in more pieces than
        those of any process."""
        for run in _runs(pointers, self._record_bytes):
            for data, some in self._parts(run):
                self._add(data, some)

    def _parts(self, run: Sequence[int]) -> Iterator[tuple[bytes, Sequence[int]]]:
        """What is in memory from the first to the last of a run; in halves, and halves of these, where not all of
        it can be read."""
        size_bytes = run[-1] + self._record_bytes - run[0]
        self._reads += 1
        self._read_bytes += size_bytes
        if self._reads > MOST_READS or self._read_bytes > MOST_READ_BYTES:
            raise Missing("the goroutines are strewn over too much memory: this is not the runtime's")
        try:
            data = self._memory.read(run[0], size_bytes)
        except Missing as missing:
            self.reason = missing.reason
            if len(run) == 1:
                self.unread += 1
                return
            middle = len(run) // 2
            yield from self._parts(run[:middle])
            yield from self._parts(run[middle:])
        else:
            yield data, run

    def _add(self, data: bytes, run: Sequence[int]) -> None:
        keys, unpack, start, dead = self.keys, self._unpack, run[0], DEAD
        blocked, no_scan = (SYSCALL, WAITING, LEAKED), ~SCAN_BIT
        for pointer in run:
            low, high, status, since, reason, gopc, startpc = unpack(data, pointer - start)
            status &= no_scan
            if status in dead:
                gopc = startpc = reason = 0
            key = gopc, startpc, status, reason, high - low, since > 0 and status in blocked
            if key in keys:
                keys[key] += 1
            else:
                self._begin(key)

    def _begin(self, key: Key) -> None:
        """Count the first one of its kind, with nothing in it that no goroutine has. The size of a stack is a power
        of 2 (runtime/stack.go, stackalloc), or 0 where there is none."""
        gopc, startpc, status, reason, stack_bytes, waits = key
        if not 0 <= stack_bytes <= MOST_STACK_BYTES or stack_bytes & (stack_bytes - 1):
            stack_bytes = 0
        if len(self.keys) >= MOST_KEYS:
            gopc = startpc = 0
        status = status if status in STATES else -1
        key = gopc, startpc, status, reason if status in (WAITING, LEAKED) else 0, stack_bytes, waits
        self.keys[key] = self.keys.get(key, 0) + 1


def _unpacker(layout: Layout) -> tuple[int, Callable[[bytes, int], tuple[int, ...]]]:
    """The bytes up to the end of the last field, and what takes FIELDS from so many. Raises Missing."""
    from struct import Struct

    text, end = "<", 0
    for field in FIELDS:
        gap = layout.offset(field) - end
        if gap < 0:
            raise Missing(f"the layout of {layout.name} has the fields of g in another order")
        text += f"{gap}x{CODES.get(field, 'Q')}"
        end = layout.offset(field) + layout.width(field)
    form = Struct(text)
    return form.size, form.unpack_from


def _runs(pointers: Sequence[int], record_bytes: int) -> Iterator[Sequence[int]]:
    """Neighbours that are read at once."""
    most = GAP_BYTES + record_bytes
    begin = 0
    for at in range(1, len(pointers)):
        pointer = pointers[at]
        if pointer - pointers[at - 1] > most or pointer - pointers[begin] > MOST_RUN_BYTES:
            yield pointers[begin:at]
            begin = at
    if begin < len(pointers):
        yield pointers[begin:]


# Who made them


class _Names:
    """The names of functions by an address in the process, read from the program's file; `reason` says why there
    are none. A name is looked up once, and there is an end of their number and their length."""

    def __init__(self, memory: Memory, located: Located, image: Image) -> None:
        self._known: dict[int, str] = {0: ""}
        self._bytes = 0
        self._base = 0
        self._table: Pclntab | None = None
        self.reason = ""
        try:
            self._table, self._base = _table(memory, located, image)
        except Missing as missing:
            self.reason = missing.reason

    def of(self, address: int) -> str:
        """The function that holds an address, "" where that is not known."""
        name = self._known.get(address)
        if name is None:
            name = self._look_up(address)
            self._bytes += len(name)
            self._known[address] = name
        return name

    def _look_up(self, address: int) -> str:
        if self._table is None or len(self._known) > MOST_FUNCTIONS or self._bytes > MOST_NAMES_BYTES:
            return ""
        try:
            return printed(self._table.name(address - self._base))
        except OSError:
            return ""


def _table(memory: Memory, located: Located, image: Image) -> tuple[Pclntab, int]:
    """The table of functions, and the address from which it counts. Raises Missing.

    The first word of moduledata leads to it: pcHeader, up to Go 1.15 pclntable (runtime/symtab.go).
    """
    if located.moduledata is None:
        raise Missing(located.reasons.get("moduledata", "the table of the program's segments was not looked for"))
    try:
        return _table_of(memory, image, located.moduledata, located.layout.offset("moduledata.text"))
    except (FormatError, OSError) as error:
        raise Missing(f"the program's table of functions: {error}") from None


def _table_of(memory: Memory, image: Image, module: int, text_offset: int) -> tuple[Pclntab, int]:
    """The same; raises FormatError and OSError too."""
    start, text = image.pointer(module), image.pointer(module + text_offset)
    if not start or not text:
        raise Missing("the program's file does not say where its table of functions is")

    def stored(at: int, size_bytes: int) -> bytes:
        return image.stored(start + at, size_bytes)

    def loaded(at: int, size_bytes: int) -> bytes:
        try:
            return memory.read(start + at, size_bytes)
        except Missing:
            return stored(at, size_bytes)

    table = Pclntab(stored)
    if table.relative:
        return table, text
    if table.first or image.elf.kind != ET_DYN:
        return table, image.bias
    # Up to Go 1.17, linked for arm64 by GNU ld to lie anywhere: the loader has put the addresses there.
    return Pclntab(loaded), 0


def _states(minor: int) -> Callable[[int, int], str]:
    """(status, wait reason) -> the text that a traceback of Go 1.`minor` shows, without how long and what else."""
    texts = next((texts for since, until, texts in WAIT_REASONS if since <= minor <= until), ("",))

    def state(status: int, reason: int) -> str:
        text = STATES.get(status, "???")
        if status in (WAITING, LEAKED) and reason:
            text = texts[reason] if reason < len(texts) else f"waiting ({reason})"
        return f"{text} (leaked)" if status == LEAKED else text

    return state


def _divide(found: Goroutines, keys: dict[Key, int], names: _Names, state_of: Callable[[int, int], str]) -> None:
    """Dead and live, the runtime's and the program's, and these by who made them."""
    sites: dict[tuple[str, str], Site] = {}
    for key, count in sorted(keys.items(), key=lambda item: -item[1]):
        gopc, startpc, status, reason, stack_bytes, waits = key
        if status in DEAD:
            found.dead += count
            found.dead_stack_bytes += count * stack_bytes
            continue
        found.live += count
        found.stack_bytes += count * stack_bytes
        state, start = state_of(status, reason), names.of(startpc)
        if _is_system(start, state):
            found.system += count
            continue
        # gopc is where the `go` statement returns to.
        made = names.of(gopc - 1) if gopc and start != FIRST else ""
        site = sites.setdefault((made, start), Site(made, start))
        site.add(count, count * stack_bytes, state, count if waits else 0)
    found.rank(list(sites.values()))


def _is_system(start: str, state: str) -> bool:
    if start in CALLERS:
        return state in CALLERS_IDLE
    return start.startswith("runtime.") and start not in NOT_SYSTEM
