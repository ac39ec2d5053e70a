"""Where the Go runtime's data is in a process: by what is in memory, with or without symbols.

First the heap itself, which proves the layout (`core`). The table's layout of exactly the program's release is tried
first: it costs nothing, and is proved on the process like any other. The program's own DWARF comes next, for reading
it takes tens of milliseconds, in large programs more; releases near to it are the last resort, since they may fit by
chance. Then everything else, each by a test of its own. An
address comes from the cache, from the symbol table, or from a search through data and bss, in this order; it is
believed only where its test holds on this very process.
"""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.goheap import chunks, globals, moduledata, pacer, profiling
from whyrss.goheap.core import Core, find_core
from whyrss.goheap.dbgvars import find_debug, read_debug
from whyrss.goheap.layout import ARCHITECTURES, OWN, layouts_for
from whyrss.goheap.symbols import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from whyrss.goheap.cache import Cache, Kept
    from whyrss.goheap.image import Image
    from whyrss.goheap.layout import Layout
    from whyrss.goheap.memory import Memory
    from whyrss.goheap.words import Words
    from whyrss.read.buildinfo import Build

    Finder = Callable[[Core, Words], int]
    Proof = Callable[[Core, int], int]

SYMBOLS = {
    "mheap": "runtime.mheap_",
    "gc_controller": "runtime.gcController",
    "allgs": "runtime.allgs",
    "allm": "runtime.allm",
    "allp": "runtime.allp",
    "persistent": "runtime.persistentChunks",
    "moduledata": "runtime.firstmoduledata",
    "buckets": "runtime.buckhash",
}
# What the walk of the heap starts from; the rest is for those who ask for it.
FOR_THE_WALK = ("gc_controller", "allgs", "allm", "allp", "persistent", "buckets", "gc_bits")
# Without this field of the layout there is nothing to look for.
NEEDED = {"gc_controller": "gcControllerState.gcPercent"}
FINDERS: dict[str, tuple[Finder, Proof]] = {
    "gc_controller": (pacer.find_pacer, pacer.is_pacer),
    "allgs": (globals.find_goroutines, globals.goroutines),
    "allm": (globals.find_threads, globals.threads),
    "allp": (globals.find_processors, globals.processors),
    "persistent": (chunks.find_persistent, chunks.is_persistent),
    "moduledata": (moduledata.find_moduledata, moduledata.is_moduledata),
    "buckets": (profiling.find_buckets, profiling.is_buckets),
}
EVERYTHING = (*FINDERS, "gc_bits", "debug")
# What two layouts have to agree in to be the same to those who walk the heap.
SIZES = ("mheap", "pageAlloc", "mspan", "mcache", "fixalloc")
FIELDS = (
    "mheap.pages", "mheap.allspans", "mheap.sweepgen", "mheap.pagesInUse", "mheap.arenas",
    "pageAlloc.summary", "pageAlloc.chunks", "pageAlloc.start", "pageAlloc.end",
    "mspan.startAddr", "mspan.npages", "mspan.nelems", "mspan.freeindex", "mspan.allocBits", "mspan.gcmarkBits",
    "mspan.sweepgen", "mspan.allocCount", "mspan.spanclass", "mspan.state", "mspan.elemsize",
    "p.mcache", "p.pcache",
)  # fmt: skip


class Located:
    """Addresses of the runtime's data in one process.

    layout         proved on this process
    mheap          the address of mheap_; `arenas` are [start, end) of the heap's arenas, sorted
    memstats       the address of memstats
    gc_controller, allgs, allm, allp, moduledata, persistent, buckets
                   the addresses of these globals (moduledata: firstmoduledata; persistent: persistentChunks, see
                   chunks.persistent_chunks; buckets: buckhash, see profiling.table_of), or None
    gc_bits        the addresses of words that may head a list of mark bits (see chunks.gc_bits_arenas)
    debug          address of each int32 of runtime.debug by its name in GODEBUG
    how            by which way each was found: "mheap: signature", "allgs: symbol", "allm: cache"
    reasons        why what is not there was not found, by its name
    """

    def __init__(self, core: Core) -> None:
        self.layout: Layout = core.layout
        self.mheap = core.mheap
        self.memstats = core.memstats
        self.arenas = core.arenas
        self.gc_controller: int | None = None
        self.allgs: int | None = None
        self.allm: int | None = None
        self.allp: int | None = None
        self.moduledata: int | None = None
        self.persistent: int | None = None
        self.buckets: int | None = None
        self.gc_bits: list[int] = []
        self.debug: dict[str, int] = {}
        self.how: list[str] = []
        self.reasons: dict[str, str] = {}


def locate(
    memory: Memory,
    image: Image,
    build: Build,
    cache: Cache | None = None,
    *,
    use_symbols: bool = True,
    wanted: Collection[str] = EVERYTHING,
) -> Located:
    """The runtime of the program `image` in `memory`; `cache` is where finds are kept, `use_symbols` whether the
    symbol table may be asked, `wanted` names what is looked for beside the heap. Raises Missing with the reason where
    there is no heap that can be believed."""
    return _Search(memory, image, build, cache, use_symbols).run(wanted)


class _Search:
    """One search: what is known beforehand, and the words of data and bss, read once they are needed."""

    def __init__(self, memory: Memory, image: Image, build: Build, cache: Cache | None, use_symbols: bool) -> None:
        self._memory = memory
        self._image = image
        self._cache = cache
        self._version = build.go_version
        self._words: Words | None = None
        self._entry = 0
        self._named: dict[str, int] | None = None if use_symbols else {}
        self._layout_kept, self._kept = cache.load(image) if cache else ("", {})
        self._layouts = _layouts(image, build, cache, self._layout_kept)

    def run(self, wanted: Collection[str]) -> Located:
        core, how = self._core()
        located = Located(core)
        located.how.append(f"mheap: {how}")
        others = {"gc_bits": self._gc_bits, "debug": self._debug}
        for name in EVERYTHING:
            if name in wanted:
                self._attempt(located, name, core, others.get(name, self._global))
        if self._cache and self._words is not None:
            self._cache.store(self._image, located.layout.name, self._finds(located))
        return located

    @property
    def words(self) -> Words:
        if self._words is None:
            self._words = self._image.words(self._memory)
        return self._words

    # The heap

    def _core(self) -> tuple[Core, str]:
        """The heap by the release's own layout, else by one of which it makes no difference that it is another's.
        Raises Missing."""
        found: list[tuple[Core, str]] = []
        tried, reason = [], ""
        for layout in self._layouts:
            tried.append(layout.name.removesuffix(f" {layout.arch}"))
            try:
                core, how = self._by_layout(layout)
            except Missing as missing:
                reason = reason or missing.reason
                continue
            if layout.key == OWN:
                return core, f"{how}, by the program's own {OWN}"
            if layout.name == self._layout_kept or layout.go_version == self._version:
                return core, how
            found.append((core, f"{how}, by the layout of {layout.go_version}"))
        if not found:
            raise Missing(
                f"the runtime of {self._version} was not found by the layouts of {', '.join(tried)}: {reason}"
            )
        if len(found) > 1:
            found = [(core, how) for core, how in found if self._leads_on(core)] or found
        if len({_shape(core) for core, _ in found}) > 1:
            names = ", ".join(core.layout.go_version for core, _ in found)
            raise Missing(f"{self._version} is not known here, and the layouts of {names} all fit")
        return found[0]

    def _by_layout(self, layout: Layout) -> tuple[Core, str]:
        for address, how in self._proposed("mheap"):
            try:
                return Core(self._memory, self._image, layout, address), how
            except Missing:
                continue
        return find_core(self._memory, self._image, layout, self.words), "signature"

    def _leads_on(self, core: Core) -> bool:
        """Whether the layout also leads to threads and processors: tells apart what is alike in the heap."""
        try:
            return bool(globals.find_threads(core, self.words) and globals.find_processors(core, self.words))
        except Missing:
            return False

    # Everything else

    def _attempt(
        self, located: Located, name: str, core: Core, find: Callable[[Core, str], tuple[object, str]]
    ) -> None:
        try:
            value, how = find(core, name)
        except Missing as missing:
            located.reasons[name] = missing.reason
            return
        setattr(located, name, value)
        located.how.append(f"{name}: {how}")

    def _global(self, core: Core, name: str) -> tuple[int, str]:
        find, proof = FINDERS[name]
        for address, how in self._proposed(name):
            try:
                if proof(core, address):
                    return address, how
            except Missing:
                continue
        if name in NEEDED and not core.layout.has(NEEDED[name]):
            raise Missing(f"the layout of {core.layout.name} has no {NEEDED[name]}")
        return find(core, self.words), "search"

    def _gc_bits(self, core: Core, name: str) -> tuple[list[int], str]:
        kept = [each + self._image.bias for each in self._kept.get(name, [])]
        if kept and chunks.is_gc_bits(core, kept):
            return kept, "cache"
        return chunks.find_gc_bits(core, self.words), "search"

    def _debug(self, core: Core, name: str) -> tuple[dict[str, int], str]:
        for entry in self._kept.get("dbgvars", []):
            try:
                return read_debug(self._memory, self._image, entry + self._image.bias), "cache"
            except Missing:
                continue
        self._entry, found = find_debug(self._memory, self._image, self.words)
        return found, "search"

    # What is known beforehand

    def _proposed(self, name: str) -> list[tuple[int, str]]:
        found = [(each + self._image.bias, "cache") for each in self._kept.get(name, [])]
        if not found and self._named is None:
            self._named = addresses(self._image, SYMBOLS.values())
        if self._named and SYMBOLS[name] in self._named:
            found.append((self._named[SYMBOLS[name]], "symbol"))
        return found

    def _finds(self, located: Located) -> Kept:
        """What is worth keeping, relative to where the program is loaded."""
        bias = self._image.bias
        places = {name: getattr(located, name) for name in SYMBOLS}
        kept = {name: [place - bias] for name, place in places.items() if place is not None}
        kept["gc_bits"] = [each - bias for each in located.gc_bits]
        kept["dbgvars"] = [self._entry - bias] if self._entry else []
        return self._kept | {name: values for name, values in kept.items() if values}


def _layouts(image: Image, build: Build, cache: Cache | None, kept: str) -> Iterator[Layout]:
    """The layouts that may be the program's, `kept` and those of its release first. Raises Missing where it has
    none."""
    if not build.is_go:
        raise Missing("the executable is not Go's; a Go runtime in a library (c-shared, plugin) is not looked for")
    if image.elf.word_bytes != 8 or image.elf.order != "little" or build.arch not in ARCHITECTURES:
        raise Missing(f"the heap of a program for {build.arch} cannot be read: only amd64 and arm64 are known")
    if build.go_version is None:
        raise Missing("the program does not say by which Go it was built")
    known, reason = _known(build)
    own_first = f" {OWN} " in kept
    likely = [layout for layout in known if layout.name == kept or layout.go_version == build.go_version]
    if not own_first:
        yield from sorted(likely, key=lambda layout: layout.name != kept)
    own = _own(image, build, cache)
    if own:
        yield own
    elif reason:
        raise reason
    yield from (layout for layout in known if own_first or layout not in likely)


def _own(image: Image, build: Build, cache: Cache | None) -> Layout | None:
    from whyrss.goheap.fromdwarf import own_layout  # most programs do without, and need not wait for it

    return own_layout(image, build, cache)


def _known(build: Build) -> tuple[list[Layout], Missing | None]:
    """The table's layouts for a program, or why there are none."""
    try:
        return layouts_for(build.go_version or "", build.arch, build.experiments), None
    except Missing as missing:
        return [], missing


def _shape(core: Core) -> tuple[object, ...]:
    """Everything that a walk of the heap takes from a layout, and where the heap is by it."""
    layout = core.layout
    sizes = [layout.size(struct) if layout.has(struct) else None for struct in SIZES]
    fields = [(layout.offset(field), layout.width(field)) if layout.has(field) else None for field in FIELDS]
    return (core.mheap, core.memstats, *sizes, *fields)
