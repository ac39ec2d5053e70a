"""Memory without a file that the kernel or the program itself has named, and its line in the account."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.snapshot import Vma

    Path = tuple[str, ...]

KERNEL_IMAGE = ("[vdso]", "[vvar]", "[vsyscall]", "[vvar_vclock]", "[uprobes]", "[sigpage]", "[vectors]")
# prctl(PR_SET_VMA_ANON_NAME) by glibc 2.39 and later with glibc.mem.decorate_maps=1 (its NEWS), by the start.
GLIBC_NAMES: tuple[tuple[str, Path], ...] = (
    ("[anon: glibc: malloc arena", ("c", "arenas")),
    ("[anon: glibc: malloc", ("c", "mmapped")),
    ("[anon: glibc: pthread", ("threads",)),
    ("[anon: glibc: ", ("c", "glibc")),
)
GO_NAMES = "[anon: Go: "  # Go >= 1.25, runtime/set_vma_name_linux.go
GO_HEAP_NAMES = ("heap", "heap reservation")


def line_of(vma: Vma, is_go: bool) -> Path | None:
    """The line of a mapping that bears a name or a mark; None of one that does not, and of Go's heap."""
    name = vma.path
    if b" dp" in vma.flags:  # VM_DROPPABLE: the states of vgetrandom(2), by Go >= 1.24 or glibc >= 2.41
        return ("runtime", "getrandom states") if is_go else ("c", "getrandom states")
    if not name or name[0] != "[":
        return None
    if name == "[heap]":
        return ("c", "brk")
    if name.startswith("[stack"):
        return ("threads",)
    if name in KERNEL_IMAGE:
        return ("image", "vdso")
    if name.startswith(GO_NAMES):
        return _path_of_go(name[len(GO_NAMES) : -1])
    if name.startswith("[anon_shmem:"):
        return ("shared", name)
    return next((path for start, path in GLIBC_NAMES if name.startswith(start)), ("c", name))


def _path_of_go(name: str) -> Path | None:
    if name in GO_HEAP_NAMES:
        return None
    return ("threads",) if "stack" in name else ("runtime", name)
