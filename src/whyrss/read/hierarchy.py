"""Which control groups a process is in, v1 and v2, and where their files can be read.

Text in, records out. Formats: cgroups(7), cgroup_namespaces(7), proc_pid_mountinfo(5).
"""

from __future__ import annotations

from whyrss.errors import FormatError, Missing
from whyrss.read.status import unescape

PATH_MAX = 4096  # the kernel never prints a longer path (proc_cgroup_show)
TEXT_MAX_BYTES = 1 << 20


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
