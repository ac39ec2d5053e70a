"""The account by VMA: each mapping goes to one line by what it is, seen from outside.

What only the inside of the heap can tell stays in `heap/undivided`; a mapping that nothing identifies goes to
`unattributed`, or, where it is small enough to be the Go runtime's own memory, to `runtime/guessed`.
"""

from __future__ import annotations

from whyrss.account import TOP_GO, TOP_OTHER, Account, Line
from whyrss.facts import address_space as layout
from whyrss.snapshot import Build, Process, Snapshot, Status, Vma, Vmas

GO_NAMES = "[anon: Go: "  # prctl(PR_SET_VMA_ANON_NAME) of Go >= 1.25 (runtime/set_vma_name_linux.go)
SHARED_PREFIXES = ("/dev/shm/", "/memfd:", "/SYSV", "/dev/zero", "[anon_shmem:")
GO_HEAP_NAMES = ("heap", "heap reservation")
# prctl(PR_SET_VMA_ANON_NAME) by glibc 2.39 and later with glibc.mem.decorate_maps=1 (its NEWS), by the start.
GLIBC_NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("[anon: glibc: malloc arena", ("c", "arenas")),
    ("[anon: glibc: malloc", ("c", "mmapped")),
    ("[anon: glibc: pthread", ("threads",)),
    ("[anon: glibc: ", ("c", "glibc")),
)
KERNEL_IMAGE = ("[vdso]", "[vvar]", "[vsyscall]", "[vvar_vclock]", "[uprobes]", "[sigpage]", "[vectors]")


def account_by_vma(snapshot: Snapshot, reason: str = "") -> Account:
    """The account of a snapshot by VMA; `reason` is why it is not by page. Raises Missing where the mappings could
    not be read."""
    vmas = snapshot[Vmas]
    build = snapshot.get(Build)
    process = snapshot.get(Process)
    is_go = build is not None and build.is_go
    root = Line("rss")
    for name in TOP_GO if is_go else TOP_OTHER:
        root.child(name)
    if is_go:
        for name in ("released", "undivided"):
            root.child("heap").child(name)
        root.child("heap").child("released").child("lazyfree")
    address_map = AddressMap(vmas, build if is_go else None, process.exe if process else None, snapshot)
    for vma, path in address_map.lines():
        _add(root, vma, path)
    return Account(root, "vma", reason, vmas.residue_bytes)


def _add(root: Line, vma: Vma, path: tuple[str, ...]) -> None:
    """The mapping's resident bytes to its line, the lazily freed among them to a line of their own."""
    rss_bytes = vma.get_bytes("Rss")
    lazyfree_bytes = min(vma.get_bytes("LazyFree"), rss_bytes)
    if lazyfree_bytes:
        in_heap = path[0] == "heap"
        root.add(("heap", "released", "lazyfree") if in_heap else ("c", "lazyfree"), lazyfree_bytes)
    if rss_bytes > lazyfree_bytes:
        root.add(path, rss_bytes - lazyfree_bytes)


class AddressMap:
    """The mappings of one process, each with the line it belongs to."""

    __slots__ = ("_arenas", "_build", "_exe", "_images", "_malloc", "_snapshot", "_vmas")

    def __init__(self, vmas: Vmas, build: Build | None, exe: str | None, snapshot: Snapshot) -> None:
        self._vmas = vmas.list
        self._build = build
        self._exe = exe
        self._snapshot = snapshot
        self._images = {vma.path for vma in vmas if "x" in vma.perms and vma.path[:1] == "/"}
        self._arenas: set[int] = set()
        self._malloc: set[int] = set()
        self._find_reservations()

    def lines(self) -> list[tuple[Vma, tuple[str, ...]]]:
        """Every mapping with resident bytes and its line."""
        named: list[tuple[Vma, tuple[str, ...]]] = []
        unknown: list[Vma] = []
        before: Vma | None = None
        for vma in self._vmas:
            if vma.get_bytes("Rss"):
                path = self.line_of(vma, before)
                if path:
                    named.append((vma, path))
                else:
                    unknown.append(vma)
            before = vma
        return named + self._guess(unknown)

    def line_of(self, vma: Vma, before: Vma | None) -> tuple[str, ...] | None:
        """The line of a mapping whose neighbour below is `before`; None where nothing identifies it."""
        if vma.path:
            return self._line_by_name(vma)
        if vma.start in self._arenas:
            return ("heap", "undivided")
        if vma.start in self._malloc:
            return ("c", "arenas")
        if before is not None and before.end == vma.start:
            if before.path in self._images and "w" in before.perms and "w" in vma.perms:
                return ("image", *self._image_of(before.path), "bss")
            if self._is_thread_stack(vma, before):
                return ("threads",)
        return None

    def _line_by_name(self, vma: Vma) -> tuple[str, ...]:
        path = vma.path
        if path[0] == "[":
            return line_of_label(path) or ("heap", "undivided")
        if path.startswith(SHARED_PREFIXES):
            return ("shared", path)
        if path == self._exe or path in self._images:
            return ("image", *self._image_of(path), _segment(vma))
        return ("files", path)

    def _image_of(self, path: str) -> tuple[str, ...]:
        return ("program",) if path == self._exe else ("libraries", path)

    def _is_thread_stack(self, vma: Vma, before: Vma) -> bool:
        guard = before.perms == "---p" and not before.path and before.size_bytes <= layout.STACK_GUARD_MAX_BYTES
        return guard and "w" in vma.perms and vma.size_bytes <= self._stack_bytes()

    def _stack_bytes(self) -> int:
        status = self._snapshot.get(Status)
        soft = status.limits.get("Max stack size", (None, None, ""))[0] if status else None
        return soft or layout.STACK_DEFAULT_BYTES

    def _find_reservations(self) -> None:
        """Runs of touching anonymous mappings that are whole 64 MiB reservations: Go's arenas where Go puts
        its heap, glibc's elsewhere."""
        end_of_hints = layout.GO_HEAP_HINT_END.get(self._build.arch or "", 0) if self._build else 0
        for run in _anonymous_runs(self._vmas):
            if run[0].start < end_of_hints and _is_go_heap(run):
                self._arenas.update(vma.start for vma in run)
            else:
                self._malloc.update(_glibc_arenas(run))

    def _guess(self, unknown: list[Vma]) -> list[tuple[Vma, tuple[str, ...]]]:
        """Unnamed mappings: C's in a process without Go; else the smallest first are the runtime's, as long as
        together they are not more than its metadata can be."""
        if self._build is None:
            return [(vma, ("c", "other")) for vma in unknown]
        heap_bytes = sum(vma.size_bytes for vma in self._vmas if vma.start in self._arenas and vma.perms[0] == "r")
        room_bytes = heap_bytes // layout.GO_METADATA_SHARE + layout.GO_METADATA_BASE_BYTES
        lines: list[tuple[Vma, tuple[str, ...]]] = []
        for vma in sorted(unknown, key=lambda vma: vma.get_bytes("Rss")):
            room_bytes -= vma.get_bytes("Rss")
            lines.append((vma, ("runtime", "guessed") if room_bytes >= 0 else ("unattributed",)))
        return lines


def line_of_label(label: str) -> tuple[str, ...] | None:
    """The line of memory without a file that the kernel or the program itself has named; None for Go's heap."""
    if label == "[heap]":
        return ("c", "brk")
    if label.startswith("[stack"):
        return ("threads",)
    if label in KERNEL_IMAGE:
        return ("image", "vdso")
    if label.startswith(GO_NAMES):
        name = label[len(GO_NAMES) : -1]
        if name in GO_HEAP_NAMES:
            return None
        return ("threads",) if "stack" in name else ("runtime", name)
    if label.startswith("[anon_shmem:"):
        return ("shared", label)
    return next((path for start, path in GLIBC_NAMES if label.startswith(start)), ("c", label))


def _segment(vma: Vma) -> str:
    if "x" in vma.perms:
        return "text"
    return "data" if "w" in vma.perms else "rodata"


def _anonymous_runs(vmas: list[Vma]) -> list[list[Vma]]:
    """Maximal runs of unnamed private mappings without a gap between them."""
    runs: list[list[Vma]] = []
    run: list[Vma] = []
    for vma in vmas:
        if vma.path and not vma.path.startswith(GO_NAMES + "heap"):
            continue
        if run and run[-1].end == vma.start:
            run.append(vma)
        else:
            run = [vma]
            runs.append(run)
    return runs


def _is_go_heap(run: list[Vma]) -> bool:
    """Whole arenas, and accessible in large steps only."""
    arena, step = layout.GO_ARENA_BYTES, layout.HUGE_PAGE_BYTES
    whole = run[0].start % arena == 0 and run[-1].end % arena == 0
    return whole and all(vma.start % step == 0 for vma in run)


def _glibc_arenas(run: list[Vma]) -> list[int]:
    """The accessible parts of 64 MiB reservations: `rw-p` from an aligned start, `---p` up to the next one."""
    arena = layout.GLIBC_ARENA_BYTES
    found = []
    for vma, rest in zip(run, [*run[1:], None], strict=True):
        if vma.start % arena or "w" not in vma.perms:
            continue
        full = vma.size_bytes == arena
        if full or (rest is not None and rest.perms == "---p" and rest.end == vma.start + arena):
            found.append(vma.start)
    return found
