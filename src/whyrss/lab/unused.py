"""`sysUnused`: how a Go release tells the kernel that it does not need a range of pages (runtime/mem_linux.go)."""

from __future__ import annotations

from whyrss.facts import go as table
from whyrss.facts import kernel as linux
from whyrss.policy import fact_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.memory import Madvise, Memory
    from whyrss.policy import GoVersion

EINVAL, ENOSYS = 22, 38  # include/uapi/asm-generic/errno-base.h and errno.h
ADVICE = {table.FREE: linux.MADV_FREE, table.DONTNEED: linux.MADV_DONTNEED}


class Unused:
    """The decision of one process. `adviseUnused` is sticky: an advice that failed is never tried again."""

    def __init__(self, go: GoVersion, chosen: str) -> None:
        """`chosen`: what the release asks for first (Policy.chosen)."""
        chain, _ = fact_of(go.minor, "chain")
        assert isinstance(chain, tuple)
        self._chain: tuple[str, ...] = chain
        self._failed = 0  # so many of the chain are not tried any more
        self._first = chain.index(chosen)

    @property
    def advice(self) -> str:
        """What would be used now."""
        return self._chain[min(max(self._first, self._failed), len(self._chain) - 1)]

    def __call__(self, memory: Memory, address: int, size_bytes: int) -> None:
        """Gives the range back. What the last means of the release answers is ignored, as Go ignores it."""
        for position in range(max(self._first, self._failed), len(self._chain)):
            advice = self._chain[position]
            if advice == table.MMAP:
                memory.map(address, size_bytes)
                return
            if not memory.madvise(address, size_bytes, ADVICE[advice]):
                return
            if position + 1 < len(self._chain):
                self._failed = position + 1


def without_madv_free(advise: Madvise) -> Madvise:
    """A madvise of a kernel before 4.5, which does not know MADV_FREE."""

    def old(address: int, size_bytes: int, advice: int) -> int:
        return EINVAL if advice == linux.MADV_FREE else advise(address, size_bytes, advice)

    return old


def without_madvise(address: int, size_bytes: int, advice: int) -> int:
    """A madvise of a kernel that was built without CONFIG_ADVISE_SYSCALLS."""
    return ENOSYS
