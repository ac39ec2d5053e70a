"""The memory controller of a control group, v1 and v2: its figures and limits, all in bytes.

Everything here takes text (or a callable that gives it) and opens nothing itself. Formats: the kernel's
Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst. Where the files are is `hierarchy`, whose
container it is `container`.
"""

from __future__ import annotations

from whyrss.errors import FormatError, Missing
from whyrss.read.container import identify, unit_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whyrss.read.hierarchy import CgroupPaths

TEXT_MAX_BYTES = 1 << 20
NUMBER_DIGITS = 20
# v1 prints "no limit" as LONG_MAX rounded down to a page: 0x7ffffffffffff000 with 4 KiB pages,
# 0x7fffffffffff0000 with 64 KiB; before Linux 3.19 LONG_MAX itself (mm/page_counter.c, res_counter.c).
NO_LIMIT_BYTES = 0x7FFFFFFFFFFF0000


class MemoryFiles:
    """The names of the memory controller's files; None where a version has no such file."""

    __slots__ = ("events", "high", "kernel", "limit", "peak", "stat", "usage")

    def __init__(
        self,
        usage: str,
        limit: str,
        peak: str,
        events: str,
        high: str | None = None,
        kernel: str | None = None,
    ) -> None:
        self.usage = usage
        self.limit = limit
        self.stat = "memory.stat"
        self.peak = peak
        self.events = events
        self.high = high
        self.kernel = kernel


# Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst. memory.peak: Linux 5.19. The v2 root has only
# memory.stat. v1's oom_control counts OOM kills since Linux 4.13.
FILES: dict[int, MemoryFiles] = {
    1: MemoryFiles(
        usage="memory.usage_in_bytes",
        limit="memory.limit_in_bytes",
        peak="memory.max_usage_in_bytes",
        events="memory.oom_control",
        kernel="memory.kmem.usage_in_bytes",
    ),
    2: MemoryFiles(
        usage="memory.current",
        limit="memory.max",
        peak="memory.peak",
        events="memory.events",
        high="memory.high",
    ),
}


def parse_stat(data: bytes) -> dict[str, int]:
    """memory.stat, memory.events, memory.oom_control: every "key figure" line, unknown keys too.

    v1 has each figure twice: "rss" of the cgroup alone, "total_rss" with all below it. Lines of another form
    are passed over; FormatError when there is text and none of it has the form.
    """
    if len(data) > TEXT_MAX_BYTES:
        raise FormatError(f"not a memory.stat: larger than {TEXT_MAX_BYTES} bytes")
    figures: dict[str, int] = {}
    for line in data.split(b"\n"):
        key, _, figure = line.partition(b" ")
        if key and figure.isdigit() and len(figure) <= NUMBER_DIGITS:
            figures.setdefault(key.decode("utf-8", "replace"), int(figure))
    if data.strip() and not figures:
        raise FormatError('not a memory.stat: no line "key figure"')
    return figures


def parse_limit(data: bytes) -> int | None:
    """A file that holds one figure of bytes; None is "no limit" ("max" in v2, LONG_MAX less a page in v1)."""
    figure = data[: NUMBER_DIGITS + 12].strip()
    if figure == b"max":
        return None
    if not figure.isdigit() or len(figure) > NUMBER_DIGITS:
        raise FormatError(f"a memory limit is expected, not {figure!r}")
    return int(figure) if int(figure) < NO_LIMIT_BYTES else None


def effective_limit(limits: Iterable[int | None]) -> int | None:
    """The limit that is reached first: the smallest of a cgroup's and of all above it; None without any."""
    return min((limit for limit in limits if limit is not None), default=None)


class Cgroup:
    """What the memory controller says of one cgroup and all below it, in bytes.

    None is "not there": `limit_bytes` and `high_bytes` also when there is no limit; `unread` tells the two
    apart (file name -> why it could not be read). `stat` and `events` are the kernel's own keys. `host_bytes`
    is the memory of the machine (MemTotal), which a limit has to be below to mean anything.
    """

    __slots__ = (
        "container",
        "events",
        "high_bytes",
        "host_bytes",
        "kernel_bytes",
        "limit_bytes",
        "path",
        "peak_bytes",
        "stat",
        "unit",
        "unread",
        "usage_bytes",
        "version",
    )

    def __init__(self, version: int, path: str, stat: dict[str, int]) -> None:
        self.version = version
        self.path = path
        self.container = identify(path)
        self.unit = unit_of(path)
        self.stat = stat
        self.usage_bytes: int | None = None
        self.limit_bytes: int | None = None
        self.high_bytes: int | None = None
        self.peak_bytes: int | None = None
        self.kernel_bytes: int | None = None
        self.host_bytes: int | None = None
        self.events: dict[str, int] = {}
        self.unread: dict[str, str] = {}

    @property
    def is_container(self) -> bool:
        """Whether an operator looks at this cgroup's own figures: a container's by its path, or one with a limit."""
        limited = self.limit_bytes is not None and self.host_bytes is not None and self.limit_bytes < self.host_bytes
        return self.container is not None or limited

    def figure(self, v2_key: str, v1_key: str | None = None) -> int | None:
        """A figure of memory.stat by its key in v2 (v1 where that differs), the cgroups below included."""
        if self.version != 1:
            return self.stat.get(v2_key)
        key = v1_key or v2_key
        return self.stat.get(f"total_{key}", self.stat.get(key))

    @property
    def anon_bytes(self) -> int | None:
        """Anonymous memory, lazily freed pages included (cAdvisor's container_memory_rss).

        Shared memory (tmpfs, memfd) is not in it, it is in `file_bytes`.
        """
        return self.figure("anon", "rss")

    @property
    def rss_bytes(self) -> int | None:
        """What v1 and cAdvisor call RSS: `anon_bytes`. The RSS of a process has its files too."""
        return self.anon_bytes

    @property
    def file_bytes(self) -> int | None:
        """The page cache, shmem included."""
        return self.figure("file", "cache")

    @property
    def shmem_bytes(self) -> int | None:
        """tmpfs, memfd and shared anonymous memory; a part of `file_bytes`."""
        return self.figure("shmem")

    @property
    def working_set_bytes(self) -> int | None:
        """usage - inactive_file, at least 0: container_memory_working_set_bytes (cAdvisor setMemoryStats).

        Lazily freed pages lie on the inactive file list (mm/swap.c: lru_lazyfree, Linux 4.12+), so they are
        not in it, and stay out when they are used again until reclaim looks at them.
        """
        inactive = self.figure("inactive_file")
        if self.usage_bytes is None or inactive is None:
            return None
        return max(0, self.usage_bytes - inactive)

    @property
    def lazyfree_upper_bytes(self) -> int | None:
        """Anonymous pages on the file lists: active_file + inactive_file - (file - shmem - swap cache).

        An upper bound of the lazily freed memory: pages written again stay on the list until reclaim looks at
        them. Locked file pages are in `file` and on neither list, so it may be low by them (key
        "unevictable"). Never negative.
        """
        active, inactive = self.figure("active_file"), self.figure("inactive_file")
        file, shmem = self.file_bytes, self.shmem_bytes
        if active is None or inactive is None or file is None or shmem is None:
            return None
        # "file" is the kernel's NR_FILE_PAGES: the swap cache counts, but lies on the anonymous lists.
        return max(0, active + inactive - (file - shmem - (self.figure("swapcached") or 0)))


def read_cgroup(paths: CgroupPaths, read: Callable[[str], bytes]) -> Cgroup:
    """The memory figures of a process's cgroup; `read("memory.stat")` gives that file or raises OSError.

    Missing without memory.stat: the controller is not there, or the cgroup has gone. A file besides that
    cannot be read leaves None and a line in `unread`. On v1 `limit_bytes` is already the smallest on the way
    up ("hierarchical_memory_limit"); on v2 it is the cgroup's own, see `effective_limit`.
    """
    if paths.memory_path is None:
        raise Missing("/proc/PID/cgroup names no hierarchy with the memory controller")
    files = FILES[paths.version]
    try:
        stat = parse_stat(read(files.stat))
    except (OSError, FormatError) as error:
        raise Missing(_why_no_stat(paths, files.stat, error)) from error
    cgroup = Cgroup(paths.version, paths.memory_path, stat)
    cgroup.usage_bytes = _read_figure(cgroup, read, files.usage)
    own_limit = _read_figure(cgroup, read, files.limit)
    inherited = stat.get("hierarchical_memory_limit", NO_LIMIT_BYTES)
    cgroup.limit_bytes = effective_limit((own_limit, inherited if inherited < NO_LIMIT_BYTES else None))
    cgroup.high_bytes = _read_figure(cgroup, read, files.high)
    cgroup.peak_bytes = _read_figure(cgroup, read, files.peak)
    cgroup.kernel_bytes = _read_figure(cgroup, read, files.kernel) if files.kernel else stat.get("kernel")
    cgroup.events = _read_events(cgroup, read, files.events)
    return cgroup


def _read_figure(cgroup: Cgroup, read: Callable[[str], bytes], name: str | None) -> int | None:
    if name is None:
        return None
    try:
        return parse_limit(read(name))
    except (OSError, FormatError) as error:
        cgroup.unread[name] = _reason(error)
        return None


def _read_events(cgroup: Cgroup, read: Callable[[str], bytes], name: str) -> dict[str, int]:
    try:
        return parse_stat(read(name))
    except (OSError, FormatError) as error:
        cgroup.unread[name] = _reason(error)
        return {}


def _reason(error: OSError | FormatError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _why_no_stat(paths: CgroupPaths, name: str, error: OSError | FormatError) -> str:
    """ENOENT: no controller here, or the cgroup has gone; ENODEV: it went while it was read (kernfs)."""
    what = f"cgroup v{paths.version} {paths.memory_path}: {name}: {_reason(error)}"
    if paths.deleted:
        return f"{what}; the cgroup has been removed"
    if paths.outside_namespace:
        return f"{what}; the cgroup lies outside this cgroup namespace"
    if isinstance(error, FileNotFoundError):
        return f"{what}; the memory controller is not enabled there, or the cgroup has gone"
    return what
