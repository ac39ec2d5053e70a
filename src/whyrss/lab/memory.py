"""Real memory, in the states through which Go's runtime takes it (runtime/mem.go).

    None --reserve--> Reserved --map--> Prepared --used--> Ready
                                        Prepared <--unused-- Ready
    any but None --fault--> Reserved, --free--> None

Every call is a system call on this process; the kernel's figures about it are the kernel's own.
"""

from __future__ import annotations

import ctypes
import os

from whyrss.errors import TargetError
from whyrss.read.smaps import parse_smaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Madvise = Callable[[int, int, int], int]  # address, size in bytes, advice: 0, or an errno

OS_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# include/uapi/asm-generic/mman-common.h and mman.h; the same on amd64 and arm64.
PROT_NONE, PROT_READ_WRITE = 0, 3
MAP_PRIVATE, MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE = 0x02, 0x10, 0x20, 0x4000
MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

_ONES = b"\x01" * (64 << 10)


def madvise(address: int, size_bytes: int, advice: int) -> int:
    """madvise(2) on this process: 0, or the errno."""
    return ctypes.get_errno() if _libc.madvise(address, size_bytes, advice) else 0


class Memory:
    """A run of address space that begins at `base` and grows upwards."""

    def __init__(self, base: int, advise: Madvise = madvise) -> None:
        self.base = base
        self.end = base  # of what is reserved
        self.madvise = advise
        self._view = memoryview(b"")

    def reserve(self, size_bytes: int) -> None:
        """sysReserve: address space without memory, right behind what there is. Raises TargetError."""
        address = self._mmap(self.end, size_bytes, PROT_NONE, MAP_NORESERVE)
        if address != self.end:
            _libc.munmap(address, size_bytes)
            raise TargetError(f"the address space at {self.end:#x} is taken, so no heap can grow there")
        self.end += size_bytes
        array = (ctypes.c_ubyte * (self.end - self.base)).from_address(self.base)
        self._view = memoryview(array).cast("B")

    def map(self, address: int, size_bytes: int) -> None:
        """sysMap, and what Go does where madvise does not work: fresh memory in place of what is there."""
        self._mmap(address, size_bytes, PROT_READ_WRITE, MAP_FIXED)

    def fault(self, address: int, size_bytes: int) -> None:
        """sysFault: any access is an error from now on, and the memory is gone."""
        self._mmap(address, size_bytes, PROT_NONE, MAP_FIXED | MAP_NORESERVE)

    def free(self) -> None:
        """sysFree of everything. The object is of no use afterwards."""
        self._view = memoryview(b"")
        if self.end > self.base:
            _libc.munmap(self.base, self.end - self.base)
        self.end = self.base

    def touch(self, address: int, size_bytes: int) -> None:
        """Writes one byte into every page that the range covers."""
        first = (address - self.base) // OS_PAGE_BYTES * OS_PAGE_BYTES
        last = address - self.base + size_bytes
        for at in range(first, last, len(_ONES) * OS_PAGE_BYTES):
            end = min(last, at + len(_ONES) * OS_PAGE_BYTES)
            self._view[at:end:OS_PAGE_BYTES] = _ONES[: -(-(end - at) // OS_PAGE_BYTES)]

    def write(self, address: int, data: bytes) -> None:
        at = address - self.base
        self._view[at : at + len(data)] = data

    def read(self, address: int, size_bytes: int) -> bytes:
        at = address - self.base
        return bytes(self._view[at : at + size_bytes])

    def kernel_figures(self) -> dict[str, int]:
        """Rss, LazyFree and AnonHugePages of this memory in bytes, from smaps."""
        with open("/proc/self/smaps", "rb") as file:
            vmas = parse_smaps(file.read())
        ours = [vma for vma in vmas if vma.start < self.end and vma.end > self.base]
        return {name: sum(vma.get_bytes(name) for vma in ours) for name in ("Rss", "LazyFree", "AnonHugePages")}

    def _mmap(self, address: int, size_bytes: int, protection: int, flags: int) -> int:
        flags |= MAP_PRIVATE | MAP_ANONYMOUS
        found: int | None = _libc.mmap(address, size_bytes, protection, flags, -1, 0)
        if found == MAP_FAILED or found is None:
            code = ctypes.get_errno()
            raise TargetError(f"mmap of {size_bytes} bytes at {address:#x}: {os.strerror(code)}")
        return found
