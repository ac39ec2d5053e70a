"""Control groups, v1 and v2: which one a process is in, whose container it is, what its memory files say.

Everything here takes text (or a callable that gives it) and opens nothing itself. Formats: cgroups(7), the
kernel's Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst. All figures are bytes.
"""

from __future__ import annotations

from whyrss.errors import FormatError, Missing
from whyrss.read.status import unescape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PATH_MAX = 4096  # the kernel never prints a longer path (proc_cgroup_show)
TEXT_MAX_BYTES = 1 << 20
NUMBER_DIGITS = 20
ID_DIGITS = 64  # docker, containerd's CRI, cri-o and podman: 32 random bytes in hex
# v1 prints "no limit" as LONG_MAX rounded down to a page: 0x7ffffffffffff000 with 4 KiB pages,
# 0x7fffffffffff0000 with 64 KiB; before Linux 3.19 LONG_MAX itself (mm/page_counter.c, res_counter.c).
NO_LIMIT_BYTES = 0x7FFFFFFFFFFF0000

# (prefix, suffix, what stands between, runtime, source). "hex": 64 digits, the suffix may be absent (cgroupfs
# driver); "name": anything; "unit": the name of a systemd unit, the suffix is a must. An ID counts only when
# whole, so libpod-conmon-ID.scope (podman's monitor) is no container.
# fmt: off
FORMS: tuple[tuple[str, str, str, str, str], ...] = (
    ("docker-", ".scope", "hex", "docker", "moby daemon/oci_linux.go: system.slice:docker:ID"),
    ("cri-containerd-", ".scope", "hex", "containerd", "containerd CRI: SLICE:cri-containerd:ID"),
    ("nerdctl-", ".scope", "hex", "containerd", "nerdctl: SLICE:nerdctl:ID"),
    ("crio-", ".scope", "hex", "cri-o", "cri-o internal/config/cgmgr: crio-ID[.scope]"),
    ("libpod-payload-", "", "hex", "podman", "podman --cgroups=split"),
    ("libpod-", ".scope", "hex", "podman", "podman libpod: machine.slice, /libpod_parent"),
    ("lxc.payload.", "", "name", "lxc", "lxc 4 cgroups/cgroup.h: DEFAULT_PAYLOAD_CGROUP_PREFIX"),
    ("systemd-nspawn@", ".service", "unit", "nspawn", "systemd units/systemd-nspawn@.service"),
    ("machine-lxc\\x2d", ".scope", "unit", "lxc", "libvirt's LXC driver, through systemd-machined"),
    ("machine-", ".scope", "unit", "nspawn", "systemd src/machine/machine.c: machine-NAME.scope"),
)
# fmt: on
PREFIXES = tuple(form[0] for form in FORMS)
# (name of the folder above, what the child is, runtime, source)
PARENTS: dict[str, tuple[str, str, str]] = {
    "docker": ("hex", "docker", "moby daemon/oci_linux.go: /docker/ID with the cgroupfs driver"),
    "actions_job": ("hex", "docker", "GitHub's hosted runners: dockerd with cgroup-parent /actions_job"),
    "default": ("hex", "containerd", "containerd's own default, /NAMESPACE/ID; ctr, nerdctl"),
    "k8s.io": ("hex", "containerd", "containerd's own default, /NAMESPACE/ID; CRI without a pod's cgroup"),
    "lxc": ("name", "lxc", "lxc up to 3: /lxc/NAME; Proxmox"),
    "lxc.payload": ("name", "lxc", "lxc 3.2: /lxc.payload/NAME"),
}
VIRTUAL_MACHINE = "machine-qemu\\x2d"  # libvirt's scope of a virtual machine has the form of nspawn's
SUPERVISOR = "supervisor"  # systemd-nspawn's own process; the container is in the folder "payload" beside it


class CgroupPaths:
    """/proc/PID/cgroup. `paths`: controller -> path; v2 is "", a named hierarchy "name=NAME"."""

    __slots__ = ("deleted", "memory_path", "paths", "version")

    def __init__(self, paths: dict[str, str], deleted: bool) -> None:
        self.paths = paths
        self.version = 2 if "memory" not in paths and "" in paths else 1
        self.memory_path = paths.get("memory", paths.get(""))
        self.deleted = deleted

    @property
    def outside_namespace(self) -> bool:
        """The path leads out of the reader's cgroup namespace, by "/.." (cgroup_namespaces(7))."""
        path = self.memory_path
        return path is not None and (path == "/.." or path.startswith("/../"))


class ContainerId:
    """Whose container a cgroup is.

    `id`: 64 hex digits, or the name where a runtime uses names; None when only the pod is known. `runtime`:
    docker, containerd, cri-o, podman, lxc, nspawn, ecs; "kubernetes" where the path tells the pod but not the
    runtime (cgroupfs driver: docker and containerd look alike). `pod`: its UID with dashes. `qos`:
    guaranteed, burstable, besteffort; None outside Kubernetes.
    """

    __slots__ = ("id", "pod", "qos", "runtime")

    def __init__(self, id: str | None, runtime: str, pod: str | None = None, qos: str | None = None) -> None:
        self.id = id
        self.runtime = runtime
        self.pod = pod
        self.qos = qos

    def __repr__(self) -> str:
        return f"ContainerId({self.id!r}, {self.runtime!r}, pod={self.pod!r}, qos={self.qos!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ContainerId):
            return NotImplemented
        return (self.id, self.runtime, self.pod, self.qos) == (other.id, other.runtime, other.pod, other.qos)

    __hash__ = None  # type: ignore[assignment]


def parse_paths(text: bytes | str) -> CgroupPaths:
    """/proc/PID/cgroup: v1 ("4:cpu,cpuacct:/a"), v2 ("0::/a") and both at once.

    The memory figures are v1's where a v1 line names the controller `memory`, else v2's. A path may hold ":";
    it never holds a newline (cgroup_mkdir refuses it). FormatError when no line has the form.
    """
    if len(text) > TEXT_MAX_BYTES:
        raise FormatError(f"not the text of /proc/PID/cgroup: larger than {TEXT_MAX_BYTES} bytes")
    paths: dict[str, str] = {}
    deleted = False
    for line in (text if isinstance(text, str) else text.decode("utf-8", "surrogateescape")).split("\n"):
        number, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon or not number.isdecimal() or path[:1] != "/" or "\0" in path:
            continue
        if not controllers and path.endswith(" (deleted)"):
            path, deleted = path[: -len(" (deleted)")], True
        for controller in controllers.split(","):
            paths.setdefault(controller, path)
    if not paths:
        raise FormatError('not the text of /proc/PID/cgroup: no line "number:controllers:/path"')
    return CgroupPaths(paths, deleted)


def identify(path: str) -> ContainerId | None:
    """The innermost container that a cgroup path names; None where there is none, or none for certain."""
    if path == "/" or len(path) > PATH_MAX:
        return None
    parts = _parts(path)
    kubernetes = "kubepods" in path
    for index in range(len(parts) - 1, 0, -1):
        found = _container(parts, index)
        if found:
            return ContainerId(*found, *_pod_above(parts, index, kubernetes))
        if kubernetes and _pod(parts[index]):
            return ContainerId(None, "kubernetes", *_pod_above(parts, index + 1, kubernetes))
    return None


def unit_of(path: str) -> str | None:
    """The innermost systemd unit of a cgroup path ("etcd.service", "session-3.scope"); None in a bare slice.

    systemd puts "_" before a name that the kernel would take for a file of its own (cg_escape).
    """
    if len(path) > PATH_MAX:
        return None
    for part in reversed(path.split("/")):
        if part.endswith((".service", ".scope")):
            return part.removeprefix("_")
    return None


def _parts(path: str) -> list[str]:
    """The folders of a path; "SLICE:PREFIX:ID" is one name where runc was given systemd's form but not its
    driver, and counts as the two folders that were meant.
    """
    parts = path.split("/")
    if ":" not in path:
        return parts
    split: list[str] = []
    for part in parts:
        words = part.split(":", 2)
        whole = len(words) == 3 and words[0].endswith(".slice")
        split += [words[0], f"{words[1]}-{words[2]}.scope"] if whole else [part]
    return split


def _container(parts: list[str], index: int) -> tuple[str, str] | None:
    """(id, runtime) when this part of the path is a container's folder."""
    part, above = parts[index], parts[index - 1]
    if part.startswith(PREFIXES):
        return _by_form(part, parts[index + 1 : index + 2])
    if above in PARENTS:
        follows, runtime, _ = PARENTS[above]
        return (part, runtime) if part and (follows == "name" or _is_id(part)) else None
    if _is_id(part) and _pod(above):
        return part, "kubernetes"
    if index > 1 and parts[index - 2] == "ecs" and (_is_id(part) or _is_fargate(part, above)):
        return part, "ecs"  # Amazon ECS task metadata: /ecs/TASK/ID; Fargate: /ecs/TASK/TASK-NUMBER
    return None


def _by_form(part: str, below: list[str]) -> tuple[str, str] | None:
    for prefix, suffix, follows, runtime, _ in FORMS:
        if not part.startswith(prefix):
            continue
        name = part[len(prefix) :].removesuffix(suffix)
        if follows == "hex" and _is_id(name):
            return name, runtime
        if follows == "name" and name:
            return name, runtime
        if follows == "unit" and name and part.endswith(suffix) and not part.startswith(VIRTUAL_MACHINE):
            return None if below == [SUPERVISOR] else (name.replace("\\x2d", "-"), runtime)
    return None


def _pod_above(parts: list[str], index: int, kubernetes: bool) -> tuple[str | None, str | None]:
    """(pod, qos) of the innermost pod above a part of the path."""
    if not kubernetes:
        return None, None
    for at in range(index - 1, 0, -1):
        pod = _pod(parts[at])
        if pod:
            return pod, _qos(parts[at - 1], parts[at])
    return None, None


def _pod(part: str) -> str | None:
    """podUID (cgroupfs driver) or kubepods[-QOS]-podU_I_D.slice (kubelet cm/cgroup_manager_linux.go)."""
    if part.startswith("pod"):
        uid = part[3:]
    elif part.endswith(".slice") and "kubepods" in part:
        uid = part[:-6].rpartition("-pod")[2].replace("_", "-")
    else:
        return None
    # A static pod's UID is an MD5 without dashes (kubelet config/common.go).
    dashes = 4 if len(uid) == 36 else 0
    known = len(uid) in (32, 36) and uid.count("-") == dashes and _is_hex(uid.replace("-", ""))
    return uid if known else None


def _qos(above: str, part: str) -> str:
    for qos in ("burstable", "besteffort"):
        if above == qos or f"kubepods-{qos}-pod" in part:
            return qos
    return "guaranteed"


def _is_hex(text: str) -> bool:
    return bool(text) and not text.strip("0123456789abcdef")


def _is_id(text: str) -> bool:
    return len(text) == ID_DIGITS and _is_hex(text)


def _is_fargate(part: str, task: str) -> bool:
    head, _, number = part.partition("-")
    return head == task and len(head) == 32 and _is_hex(head) and number.isascii() and number.isdigit()


class Mount:
    """One mounted hierarchy: its folder `point` shows the cgroup `root` and what is below it."""

    __slots__ = ("point", "root", "version")

    def __init__(self, version: int, root: str, point: str) -> None:
        self.version = version
        self.root = root
        self.point = point


def mount_of(mountinfo: bytes) -> dict[int, list[Mount]]:
    """Where cgroup v1's memory controller (key 1) and cgroup2 (key 2) are mounted, the widest view first.

    From /proc/self/mountinfo, proc_pid_mountinfo(5). A container may show several views of one hierarchy; of
    two mounts on one folder the later one hides the earlier.
    """
    by_point: dict[str, Mount] = {}
    for line in mountinfo.decode("utf-8", "surrogateescape").split("\n"):
        if "cgroup" in line:
            mount = _mount(line)
            if mount:
                by_point[mount.point] = mount
    found: dict[int, list[Mount]] = {}
    for mount in sorted(by_point.values(), key=_narrowness):
        found.setdefault(mount.version, []).append(mount)
    return found


def _mount(line: str) -> Mount | None:
    """ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAGS...] - TYPE SOURCE SUPER-OPTIONS"""
    left, _, right = line.partition(" - ")
    fields, types = left.split(" "), right.split(" ")
    if len(fields) < 6 or len(types) < 3:
        return None
    root, point = unescape(fields[3]), unescape(fields[4])
    if types[0] == "cgroup2":
        return Mount(2, root, point)
    if types[0] == "cgroup" and "memory" in types[2].split(","):
        return Mount(1, root, point)
    return None


def _narrowness(mount: Mount) -> int:
    """Levels of the mount's root below the root of the reader's namespace; "/../.." is two above it."""
    return sum(-1 if part == ".." else 1 for part in mount.root.split("/") if part)


def join(mount: Mount, path: str) -> str | None:
    """The folder in which the cgroup `path` can be read; None when this mount does not show it.

    `path` and the mount's root are both relative to the reader's cgroup namespace, so a container whose mount
    has the root "/docker/ID" finds "/docker/ID" in the mount point itself. It does not find "/" there: that
    is another cgroup, and its figures would be somebody else's.
    """
    root = "" if mount.root == "/" else mount.root
    if path != mount.root and not path.startswith(root + "/"):
        return None
    below = path[len(root) :].strip("/")
    if ".." in below.split("/"):
        return None
    return f"{mount.point.rstrip('/')}/{below}" if below else mount.point


def folder_of(mounts: dict[int, list[Mount]], paths: CgroupPaths) -> tuple[Mount, str]:
    """The mount that shows a process's memory cgroup, and its folder there; Missing says why none does."""
    if paths.memory_path is None:
        raise Missing("/proc/PID/cgroup names no hierarchy with the memory controller")
    for mount in mounts.get(paths.version, ()):
        folder = join(mount, paths.memory_path)
        if folder is not None:
            return mount, folder
    if paths.version not in mounts:
        raise Missing(f"cgroup v{paths.version} with the memory controller is not mounted here")
    where = "outside this cgroup namespace" if paths.outside_namespace else "not below any mounted one"
    raise Missing(f"cgroup {paths.memory_path} is {where}")


def way_up(mount: Mount, folder: str) -> list[str]:
    """The folders above `folder` up to the mount point, nearest first: a limit of any of them counts too."""
    point = mount.point.rstrip("/")
    folders: list[str] = []
    while len(folder) > len(point) and len(folders) < PATH_MAX // 2:
        folder = folder.rpartition("/")[0]
        folders.append(folder or "/")
    return folders if folder == point else []


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
    apart (file name -> why it could not be read). `stat` and `events` are the kernel's own keys.
    """

    __slots__ = (
        "container",
        "events",
        "high_bytes",
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
        self.events: dict[str, int] = {}
        self.unread: dict[str, str] = {}

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
