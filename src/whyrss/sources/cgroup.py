"""The memory cgroup of a process, found through its mount and read with every limit on the way up."""

from __future__ import annotations

from whyrss.errors import FormatError, Missing
from whyrss.read.cgroup import FILES, Cgroup, effective_limit, parse_limit, read_cgroup
from whyrss.read.hierarchy import folder_of, mount_of, parse_paths, way_up
from whyrss.read.status import parse_meminfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.sources.files import Files


def collect_cgroup(files: Files, paths_text: bytes) -> Cgroup:
    """From the text of /proc/PID/cgroup. Raises Missing with words where there is no memory cgroup to be seen."""
    try:
        paths = parse_paths(paths_text)
        mounts = mount_of(files.read("proc/self/mountinfo", 16 << 20))
    except OSError as error:
        raise Missing(f"/proc/self/mountinfo: {error.strerror}") from None
    except FormatError as error:
        raise Missing(str(error)) from None
    mount, folder = folder_of(mounts, paths)
    cgroup = read_cgroup(paths, lambda name: files.read(f"{folder}/{name}".lstrip("/")))
    if cgroup.version == 2:
        limits = [_limit(files, above) for above in way_up(mount, folder)]
        cgroup.limit_bytes = effective_limit([cgroup.limit_bytes, *limits])
    cgroup.host_bytes = _host_bytes(files)
    return cgroup


def _host_bytes(files: Files) -> int | None:
    try:
        return parse_meminfo(files.read("proc/meminfo")).get("MemTotal")
    except (OSError, FormatError):
        return None


def _limit(files: Files, folder: str) -> int | None:
    """The limit of a cgroup above; None where it has none, as the root, which has no such file."""
    try:
        return parse_limit(files.read(f"{folder}/{FILES[2].limit}".lstrip("/")))
    except (OSError, FormatError):
        return None
