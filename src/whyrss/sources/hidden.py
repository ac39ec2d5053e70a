"""A Go runtime that is not the executable's: why the heap of such a process is not read."""

from __future__ import annotations

from whyrss.errors import FormatError
from whyrss.sources.executable import build_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.snapshot import Vmas

LIBRARIES_MAX = 64
HEAD_BYTES = 4096
PACKED = b"UPX!"  # in the header behind the program headers (UPX, src/stub: l_info)


def hidden_go(pid: int, vmas: Vmas, exe: str | None, proc: str = "/proc") -> str:
    """The reason in words; empty where nothing of Go is seen. Looks at the files that are mapped as code."""
    root = f"{proc}/{pid}"
    if _is_packed(f"{root}/exe"):
        return "the executable is packed (UPX): a Go program in it is not recognised, nor is its heap"
    paths = dict.fromkeys(vma.path for vma in vmas if "x" in vma.perms and vma.path[:1] == "/" and vma.path != exe)
    for path in list(paths)[:LIBRARIES_MAX]:
        try:
            if build_of(f"{root}/root{path}").is_go:
                return f"a Go runtime in a library ({path}) is not looked into: only the executable's is"
        except (OSError, FormatError):
            continue
    return ""


def _is_packed(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return PACKED in file.read(HEAD_BYTES)
    except OSError:
        return False
