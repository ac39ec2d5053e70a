"""The images of a process, and how far the memory of each reaches beyond its file."""

from __future__ import annotations

import os

from whyrss.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.snapshot import Vma, Vmas

    Path = tuple[str, ...]


class Images:
    """The files that are mapped with code. `exe` is the program's path; `proc` is /proc/PID, through which they are
    opened, empty where they cannot be."""

    def __init__(self, vmas: Vmas, exe: str | None, proc: str) -> None:
        self._exe = exe
        self._proc = proc
        self._bases: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        paths = {vma.path for vma in vmas if vma.perms[2] == "x" and vma.path[:1] == "/"}
        for vma in vmas:
            if vma.path in paths:
                self._bases.setdefault(vma.path, vma.start)
                self._ends[vma.path] = vma.end
        # By its name: ld-linux-x86-64.so.2, ld-linux-aarch64.so.1, ld-2.31.so (Debian 11), ld-musl-x86_64.so.1.
        names = (path for path in self._bases if path.rpartition("/")[2].startswith("ld-"))
        self.interpreter = next(names, None)

    def is_interpreters(self, address: int) -> bool:
        """Whether an address is in the mappings of ld.so."""
        path = self.interpreter
        return path is not None and self._bases[path] <= address < self._ends[path]

    def is_library(self, path: str) -> bool:
        return path in self._bases and path != self._exe

    def bss_of(self, vma: Vma) -> tuple[int | None, Path] | None:
        """Where the memory ends of the segment whose file part is this mapping, or None where the file cannot be
        read, and the line of the account; None where the mapping is no image's."""
        path = vma.path
        if path not in self._bases:
            return None
        image = ("program",) if path == self._exe else ("libraries", path)
        try:
            return self._end(path, vma.end), ("image", *image, "bss")
        except (OSError, FormatError):
            return None, ("image", *image, "bss")

    def _end(self, path: str, start: int) -> int:
        """The end of the memory of the segment that goes on at `start`, whole pages; `start` where none does."""
        from whyrss.read.elf import ET_EXEC, Elf

        if not self._proc:
            raise FileNotFoundError(path)
        file = f"{self._proc}/exe" if path == self._exe else f"{self._proc}/root{path}"
        fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            elf = Elf(lambda at, size: os.pread(fd, size, at), os.fstat(fd).st_size)
        finally:
            os.close(fd)
        page = os.sysconf("SC_PAGE_SIZE")
        loads = elf.loads()
        bias = 0 if elf.kind == ET_EXEC else self._bases[path] - loads[0].address // page * page
        for load in loads:
            low, high = bias + load.address, bias + load.address + load.memory_bytes
            if low < start < high:
                return -(-high // page) * page
        return start
