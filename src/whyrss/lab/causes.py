"""The causes that can be reproduced here, each with the program that does it and what it needs."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Settings = Callable[[str, int], dict[str, str]]

PROGRAMS = os.path.join(os.path.dirname(__file__), "programs")
CI_VERSIONS = ("1.15", "1.19", "1.21", "1.24", "1.27")
ALL_VERSIONS = ("1.15", "1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27")
LIMIT_VERSIONS = ALL_VERSIONS[1:]  # with GOMEMLIMIT
DONTNEED_VERSIONS = ALL_VERSIONS[1:]  # that release memory with MADV_DONTNEED by themselves
HUGE_VERSIONS = ALL_VERSIONS[2:]  # that leave huge pages to the kernel
SIZE_MIB = 128
GO_PAGE_BYTES = 8 << 10
PROBLEM, NOTE = "problem", "note"


class Experiment:
    """How a cause is produced.

    about       for people
    versions    the releases of Go that can have it ("1.24.4" where only some patch releases do)
    environ     what the program is started with, by ("go1.24.4", size in MiB)
    arguments   after the size
    after       what is done to the process once it is ready, by PID
    limit_mib   the limit of a memory cgroup around it, by its size in MiB; None for none
    weight      of the finding: a note's program is healthy
    program     the Go source, where it is not named like the cause
    beside      other causes that are true of the program too
    behind      the one of these that holds the bytes and goes before it, where it has none of its own
    python      whether there is a program without Go
    why_not     why this machine cannot produce it, in words; "" where it can
    """

    __slots__ = (
        "about", "after", "arguments", "behind", "beside", "environ", "limit_mib", "name", "program", "python",
        "versions", "weight", "why_not",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        about: str,
        *,
        versions: tuple[str, ...] = ALL_VERSIONS,
        environ: Settings | None = None,
        arguments: tuple[str, ...] = (),
        after: Callable[[int], None] | None = None,
        limit_mib: Callable[[int], int] | None = None,
        weight: str = PROBLEM,
        program: str = "",
        beside: tuple[str, ...] = (),
        behind: str = "",
        python: bool = False,
        why_not: str = "",
    ) -> None:
        self.name = name
        self.about = about
        self.versions = versions
        self.environ = environ or _nothing
        self.arguments = arguments
        self.after = after
        self.limit_mib = limit_mib
        self.weight = weight
        self.program = program or name
        self.beside = beside
        self.behind = behind
        self.python = python
        self.why_not = why_not

    def python_argv(self, size_mib: int, live_mib: int) -> list[str]:
        """The program without Go."""
        return [sys.executable, "-m", f"whyrss.lab.programs.{self.name}", str(size_mib), str(live_mib)]

    @property
    def go_source(self) -> str:
        return os.path.join(PROGRAMS, f"{self.program}.go")


def _nothing(go_version: str, size_mib: int) -> dict[str, str]:
    return {}


def _collapse(pid: int) -> None:
    """What khugepaged does by and by."""
    from whyrss.lab.collapse import collapse

    collapse(pid)


def _small_pages() -> str:
    page_bytes = os.sysconf("SC_PAGE_SIZE")
    needed = "it takes a kernel with pages of 16 KiB or more, as some for arm64 and ppc64le have"
    return "" if page_bytes > GO_PAGE_BYTES else f"{needed}; those of this one have {page_bytes >> 10} KiB"


def _wait(pid: int) -> None:
    """Until what is pending has been so for longer than a slow scavenger that is at work would take."""
    import time

    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        resident_bytes = int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    time.sleep(2 + resident_bytes / (20 << 20))


def _free(go_version: str, size_mib: int) -> dict[str, str]:
    """MADV_FREE: Go 1.12 to 1.15 use it by themselves."""
    from whyrss.policy import GoVersion, decide

    if decide(GoVersion.parse(go_version), os.uname().release, {}).advice == "MADV_FREE":
        return {}
    return {"GODEBUG": "madvdontneed=0"}


def _dontneed(go_version: str, size_mib: int) -> dict[str, str]:
    """MADV_DONTNEED, also where the release would use MADV_FREE."""
    return {} if _free(go_version, size_mib) else {"GODEBUG": "madvdontneed=1"}


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "lazyfree",
            "memory given back with MADV_FREE stays in RSS until the kernel needs it",
            environ=_free,
            beside=("leftover-madvdontneed",),
            python=True,
        ),
        Experiment(
            "leftover-madvdontneed",
            "madvdontneed=0, copied from a guide for an older Go, keeps released memory in RSS",
            versions=DONTNEED_VERSIONS,
            environ=_free,
            program="lazyfree",
            beside=("lazyfree",),
            behind="lazyfree",
        ),
        Experiment(
            "runtime-hugepages",
            "released memory comes back inside huge pages, by a Go that no longer keeps them off",
            versions=("1.21.3",),
            after=_collapse,
            program="hugepage-refill",
            why_not="neither PyPI nor Debian has Go 1.21.0 to 1.21.3; put one on PATH and name it with --go",
        ),
        Experiment(
            "hugepage-refill",
            "released memory comes back when the kernel makes huge pages around what is left",
            versions=HUGE_VERSIONS,
            after=_collapse,
        ),
        Experiment(
            "locked",
            "with mlockall released memory stays",
            environ=_dontneed,
        ),
        Experiment(
            "large-pages",
            "free memory stays, since one page of the kernel's also holds objects in use",
            why_not=_small_pages(),
        ),
        Experiment(
            "madvise-refused",
            "a seccomp filter refuses madvise, and released memory stays",
            versions=("1.15", "1.19"),
            environ=_dontneed,
        ),
        Experiment(
            "scavenger-stuck",
            "with GOGC=off no collection tells the scavenger that the peak is over",
            environ=lambda go_version, size_mib: {"GOGC": "off"},
        ),
        Experiment(
            "limit-goal-bug",
            "the scavenger of Go 1.19 to 1.21 ignores GOMEMLIMIT, and free heap above it stays",
            versions=("1.19", "1.21"),
            environ=lambda go_version, size_mib: {"GOGC": "off", "GOMEMLIMIT": f"{size_mib // 2}MiB"},
        ),
        Experiment(
            "external-fragmentation",
            "what is free lies in holes of 64 KiB, and blocks of 128 KiB make the heap grow",
        ),
        Experiment(
            "scavenger-pending",
            "free heap above the scavenger's goal, while the scavenger does not get its turn",
            after=_wait,
        ),
        Experiment(
            "past-spike",
            "a spike that is over and given back: only the peak tells of it",
            environ=_dontneed,
            weight=NOTE,
        ),
        Experiment("fragmentation", "one object in each span keeps its pages"),
        Experiment(
            "large-zeroed",
            "a large slice of pointers that nobody has written to is resident as a whole",
            versions=("1.24.3", "1.24.4"),
        ),
        Experiment(
            "ballast",
            "one large block that is written to only in part makes collections rare",
            arguments=("resident",),
            weight=NOTE,
        ),
        Experiment(
            "goroutine-leak",
            "goroutines that wait for an answer that never comes keep their stacks",
        ),
        Experiment(
            "dead-goroutines",
            "the structures of very many goroutines that ran at once, and have ended, are kept",
            environ=_dontneed,
        ),
        Experiment("goroutine-stacks", "deep recursion makes the stacks of a few goroutines large"),
        Experiment("profiling-buckets", "the memory profile keeps a bucket for each of very many stacks"),
        Experiment(
            "gogc-headroom",
            "GOGC=400 lets garbage wait until the heap is five times what is alive",
            environ=lambda go_version, size_mib: {"GOGC": "400"},
        ),
        Experiment(
            "no-gomemlimit",
            "the next collection is due above the limit of the container",
            versions=LIMIT_VERSIONS,
            limit_mib=lambda size_mib: size_mib * 9 // 10,
        ),
        Experiment(
            "gomemlimit-too-low",
            "GOMEMLIMIT is half of what is alive, and the collector runs without end",
            versions=LIMIT_VERSIONS,
            environ=lambda go_version, size_mib: {"GOMEMLIMIT": f"{size_mib // 2}MiB"},
        ),
        Experiment(
            "runtime-metadata",
            "the runtime's books of a heap that was large once stay behind",
            weight=NOTE,
        ),
        Experiment("live-heap", "a heap that is large because the program uses it", weight=NOTE),
    )
}
