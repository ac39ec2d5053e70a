"""Labels for resident memory that is neither the Go heap's nor the Go runtime's: what C and the kernel put there.

A fixed list of rules, each of which looks at what the rules before it left, one mapping after the other. What no
rule claims gets no label: it is the account's `unattributed`. Without the right to read memory the rules that look
at headers find nothing, and those that know a shape alone remain.
"""

from __future__ import annotations

from itertools import islice

from whyrss.errors import Missing
from whyrss.facts import address_space as layout
from whyrss.mappings import KERNEL_IMAGE, line_of_label
from whyrss.sources import glibc
from whyrss.sources.bss import Images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from whyrss.snapshot import Vma, Vmas

    Read = Callable[[int, int], bytes]
    Range = tuple[int, int]
    Path = tuple[str, ...]
    Label = tuple[int, int, Path]

STACK_BYTES = 8 << 20  # RLIMIT_STACK as distributions set it
STACK_MAX_BYTES = 128 << 20
TLS_MAX_BYTES = 64 << 10
LOADER_WORDS = 8
# Of a Go program's nameless memory that no rule knows, what is smaller may be the runtime's, and stays unattributed.
# The largest piece of the runtime's own memory that is no table with an address known is 1.44 MB (the memory
# profile's hash table, runtime/mprof.go, buckHashSize).
OTHER_MIN_BYTES = 2 << 20


class Target:
    """What the rules may ask for. `points` are addresses in stacks: stack pointers, the last bytes of g0 stacks."""

    __slots__ = ("images", "is_go", "page_bytes", "points", "read", "stack_bytes", "walk")

    def __init__(
        self, read: Read, page_bytes: int, points: Iterable[int], stack_bytes: int, is_go: bool, images: Images
    ) -> None:
        self.read = read
        self.page_bytes = page_bytes
        self.points = sorted(points)
        self.stack_bytes = stack_bytes
        self.is_go = is_go
        self.images = images
        self.walk = glibc.ChunkWalk(read, page_bytes)


class Region:
    """A mapping with what is unclaimed in it. `before` is the mapping that ends where it begins, `after` the one
    that begins where it ends."""

    __slots__ = ("after", "before", "runs", "vma")

    def __init__(self, vma: Vma, before: Vma | None, after: Vma | None, runs: list[Range]) -> None:
        self.vma = vma
        self.before = before
        self.after = after
        self.runs = runs

    @property
    def is_nameless(self) -> bool:
        """Private anonymous memory that can be written and has no name."""
        return not self.vma.path and self.vma.perms[1] == "w" and self.vma.perms[3] == "p"


def nothing_read(address: int, size_bytes: int) -> bytes:
    raise Missing("the memory of the process may not be read")


def labels(
    vmas: Vmas,
    unclaimed: Iterable[Range],
    read: Read = nothing_read,
    page_bytes: int = 4096,
    *,
    points: Iterable[int] = (),
    stack_bytes: int = STACK_BYTES,
    exe: str | None = None,
    is_go: bool = True,
    proc: str = "",
) -> list[Label]:
    """The labels (start, end, path), ascending and disjoint, of parts of the `unclaimed` resident ranges (ascending,
    disjoint, whole pages). `read` gives bytes of resident memory or raises Missing; `stack_bytes` is the soft
    RLIMIT_STACK; `exe` is the program's path; `proc` is /proc/PID, through which its files are opened."""
    target = Target(read, page_bytes, points, stack_bytes, is_go, Images(vmas, exe, proc))
    found: list[Label] = []
    for region in _regions(vmas, unclaimed):
        for rule in RULES:
            claims = rule(region, target)
            if claims:
                region.runs = _claim(region.runs, claims, found)
            if not region.runs:
                break
    found.sort()
    return found


def _regions(vmas: Vmas, unclaimed: Iterable[Range]) -> Iterator[Region]:
    """Each mapping with its part of the unclaimed ranges, where it has one; what lies in no mapping is left out."""
    listed, at, count = vmas.list, 0, len(vmas)
    runs: list[Range] = []
    for start, end in unclaimed:
        low = start
        while low < end:
            while at < count and listed[at].end <= low:
                if runs:
                    yield _region(listed, at, runs)
                    runs = []
                at += 1
            if at == count:
                return
            low, high = max(low, listed[at].start), min(end, listed[at].end)
            if low < high:
                runs.append((low, high))
            low = max(low, high)
    if runs:
        yield _region(listed, at, runs)


def _region(vmas: list[Vma], at: int, runs: list[Range]) -> Region:
    vma = vmas[at]
    before = vmas[at - 1] if at and vmas[at - 1].end == vma.start else None
    after = vmas[at + 1] if at + 1 < len(vmas) and vmas[at + 1].start == vma.end else None
    return Region(vma, before, after, runs)


def _claim(runs: list[Range], claims: Sequence[Label], found: list[Label]) -> list[Range]:
    """Labels what the claims (ascending, disjoint) cover of the runs; what is left of these."""
    rest: list[Range] = []
    at = 0
    for start, end in runs:
        while at < len(claims) and claims[at][1] <= start:
            at += 1
        done = start
        for low, high, path in islice(claims, at, None):
            if low >= end:
                break
            if low > done:
                rest.append((done, low))
            found.append((max(low, done), min(high, end), path))
            done = min(high, end)
        if done < end:
            rest.append((done, end))
    return rest


def by_name(region: Region, target: Target) -> list[Label]:
    """Mappings that the kernel or the program itself has named (proc_pid_maps(5), prctl PR_SET_VMA) or marked."""
    vma = region.vma
    path = line_of_label(vma.path) if vma.path[:1] == "[" else None
    if vma.has_flag("dp"):  # VM_DROPPABLE: the states of vgetrandom(2), by Go >= 1.24 or glibc >= 2.41
        path = ("runtime" if target.is_go else "c", "getrandom states")
    return [(vma.start, vma.end, path)] if path else []


def bss(region: Region, target: Target) -> list[Label]:
    """What the file does not have of a writable segment: from the end of its mapping as far as the segment's p_memsz
    reaches (System V ABI, program header). The kernel may have merged the mapping behind it with others."""
    found = target.images.bss_of(region.before) if region.is_nameless and region.before else None
    if found is None or found[0] is None:
        return []
    return [(region.vma.start, min(found[0], region.vma.end), found[1])]


def bss_by_shape(region: Region, target: Target) -> list[Label]:
    """Where the file cannot be read: what no other rule claims behind its writable mapping."""
    before = region.before
    found = target.images.bss_of(before) if region.is_nameless and before and before.perms[1] == "w" else None
    return [(region.vma.start, region.vma.end, found[1])] if found and found[0] is None else []


def thread_stacks(region: Region, target: Target) -> list[Label]:
    """Stacks that pthread_create made: a guard, the stack, and at its top the thread's control block
    (nptl/allocatestack.c), or memory in which a thread's stack pointer lies."""
    vma = region.vma
    points = [point for point in target.points if vma.start <= point < vma.end]
    guarded = _is_guard(region.before)
    if not region.is_nameless or vma.size_bytes > STACK_MAX_BYTES or not (points or guarded):
        return []
    if vma.size_bytes > target.stack_bytes:
        return _stacks(vma.start, _stack_ends(points, region, target), target.stack_bytes)
    known = points or vma.size_bytes == target.stack_bytes or target.read is nothing_read
    return [(vma.start, vma.end, ("threads",))] if known or _has_head_at_top(region, target) else []


def _is_guard(vma: Vma | None) -> bool:
    return vma is not None and vma.perms == "---p" and not vma.path and vma.size_bytes <= layout.STACK_GUARD_MAX_BYTES


def _has_head_at_top(region: Region, target: Target) -> bool:
    top = region.vma.end - target.page_bytes
    return region.runs[-1][1] == region.vma.end and _holds_head(top, region.vma.end, target)


def _stack_ends(points: list[int], region: Region, target: Target) -> list[int]:
    """Where stacks end in a mapping that is larger than one: with the pages of the control blocks, or where there are
    none, with those of the stack pointers."""
    page = target.page_bytes
    heads = list(glibc.thread_heads(target.read, region.runs, page)) or points
    return sorted({head // page * page + page for head in heads})


def _stacks(start: int, ends: list[int], stack_bytes: int) -> list[Label]:
    found: list[Label] = []
    for end in ends:
        found.append((max(start, end - stack_bytes), end, ("threads",)))
        start = end
    return found


def malloc_arenas(region: Region, target: Target) -> list[Label]:
    """Arenas of malloc other than the main one: by their headers, or where nothing may be read by their shape, an
    accessible part of an aligned reservation (malloc/arena.c, new_heap)."""
    if not region.is_nameless:
        return []
    ranges = list(glibc.arenas(target.read, region.runs, target.page_bytes))
    if not ranges and target.read is nothing_read and _is_reservation(region):
        ranges = [(region.vma.start, region.vma.end)]
    return [(start, end, ("c", "arenas")) for start, end in ranges]


def _is_reservation(region: Region) -> bool:
    vma, after, size = region.vma, region.after, layout.GLIBC_ARENA_BYTES
    return not vma.start % size and after is not None and after.perms == "---p" and after.end == vma.start + size


def malloc_chunks(region: Region, target: Target) -> list[Label]:
    """Chunks that malloc mapped one by one (malloc/malloc.c, sysmalloc_mmap)."""
    if not region.is_nameless:
        return []
    return [(low, high, ("c", "mmapped")) for low, high in target.walk.chunks(region.runs, region.vma.end)]


def loader(region: Region, target: Target) -> list[Label]:
    """The main thread's control block and TLS, beside a library's mapping, where the kernel may have merged them with
    later memory; and what ld.so took for itself before there was a malloc, which begins with a structure that points
    into ld.so (elf/dl-minimal-malloc.c; the names of a link_map)."""
    images, vma = target.images, region.vma
    if not region.is_nameless or not images.interpreter:
        return []
    paths = [neighbour.path for neighbour in (region.before, region.after) if neighbour]
    if any(path in KERNEL_IMAGE or images.is_library(path) for path in paths):
        small = [(low, high) for low, high in region.runs if high - low <= TLS_MAX_BYTES]
        heads = [(low, high) for low, high in small if _holds_head(low, high, target)]
        if heads:
            return [(low, high, ("threads",)) for low, high in heads]
    if vma.size_bytes > TLS_MAX_BYTES or region.runs[0][0] != vma.start:
        return []
    if target.read is nothing_read:
        ours = any(path in (*KERNEL_IMAGE, images.interpreter) for path in paths)
    else:
        ours = any(images.is_interpreters(word) for word in glibc.words_of(target.read, vma.start, LOADER_WORDS))
    return [(vma.start, vma.end, ("image", "libraries", images.interpreter, "data"))] if ours else []


def _holds_head(start: int, end: int, target: Target) -> bool:
    return any(True for _ in glibc.thread_heads(target.read, [(start, end)], target.page_bytes))


def other(region: Region, target: Target) -> list[Label]:
    """Other allocators' mappings (jemalloc, tcmalloc, mmap by the program itself): in a Go program what is too large
    to be overlooked memory of the runtime."""
    vma = region.vma
    if vma.path or vma.perms[3] != "p":
        return []
    large = sum(end - start for start, end in region.runs) >= OTHER_MIN_BYTES
    return [(vma.start, vma.end, ("c", "other"))] if large or not target.is_go else []


RULES: tuple[Callable[[Region, Target], list[Label]], ...] = (
    by_name,
    bss,
    thread_stacks,
    malloc_arenas,
    malloc_chunks,
    bss_by_shape,
    loader,
    other,
)
