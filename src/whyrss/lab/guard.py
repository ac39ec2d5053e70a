"""The lab never gets the machine out of memory: what is too large is refused, and a limit holds for the rest."""

from __future__ import annotations

import os
import resource

from whyrss.errors import FormatError, Missing, UsageError
from whyrss.read.status import parse_meminfo
from whyrss.sources.cgroup import collect_cgroup
from whyrss.sources.files import LiveFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.sources.files import Files

KEPT_SHARE = 0.2  # of what is available: for everybody else
SLACK_BYTES = 1 << 30  # address space of the interpreter itself, its libraries and threads
GIB = 1 << 30


def available_bytes(files: Files | None = None) -> int:
    """What a program may take: MemAvailable, or what the limit of this process's cgroup leaves, if that is less."""
    files = files or LiveFiles()
    try:
        available = parse_meminfo(files.read("proc/meminfo")).get("MemAvailable", 0)
    except (OSError, FormatError):
        available = 0
    try:
        cgroup = collect_cgroup(files, files.read("proc/self/cgroup"))
    except (OSError, FormatError, Missing):
        return available
    if cgroup.limit_bytes is None or cgroup.usage_bytes is None:
        return available
    return min(available, max(0, cgroup.limit_bytes - cgroup.usage_bytes))


def refuse_too_large(peak_bytes: int, what: str, files: Files | None = None) -> None:
    """Raises UsageError where so much memory would leave too little for everybody else."""
    room_bytes = int(available_bytes(files) * (1 - KEPT_SHARE))
    if peak_bytes > room_bytes:
        raise UsageError(
            f"{what} needs up to {peak_bytes / GIB:.1f} GiB, and {room_bytes / GIB:.1f} GiB may be taken here",
            "nothing was allocated; make its sizes smaller",
        )


def protect(peak_bytes: int) -> None:
    """From now on this process is the first to be killed when memory runs out, and cannot map much more than it
    said. For a process of its own: neither is taken back."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
            file.write("1000")
    except OSError:
        pass  # a limit of its own is left
    mapped_bytes = _mapped_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = mapped_bytes + 2 * peak_bytes + SLACK_BYTES
    for bound in (soft, hard):
        wanted = wanted if bound == resource.RLIM_INFINITY else min(wanted, bound)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))


def _mapped_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
