"""A memory cgroup for this process, made, entered, and in every case left and removed again.

Pages are charged to the group in which they are touched first, so a process has to be in it before it touches
the memory that is to come under pressure (Documentation/admin-guide/cgroup-v1/memory.rst, cgroup-v2.rst).
"""

from __future__ import annotations

import os
import time
from errno import EBUSY

from whyrss.errors import FormatError, Missing, TargetError
from whyrss.read.cgroup import FILES, parse_limit, read_cgroup
from whyrss.read.hierarchy import folder_of, mount_of, parse_paths, way_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from whyrss.read.hierarchy import Mount

PREFIX = "whyrss-lab-"
REMOVE_TRIES = 50  # a process that is ending leaves its group a moment later (cgroup_exit)
REMOVE_WAIT_S = 0.02
CONTROLLER = "memory"


class Pressing:
    """By version: the file whose limit makes the kernel reclaim, the text of no limit, and what keeps a group
    from swapping, so that nothing but lazily freed pages and file pages can go."""

    __slots__ = ("limit", "no_limit", "no_swap")

    def __init__(self, limit: str, no_limit: str, no_swap: tuple[str, str]) -> None:
        self.limit = limit
        self.no_limit = no_limit
        self.no_swap = no_swap


# v1: a limit that cannot be reached is refused with EBUSY, nobody is killed (mm/memcontrol-v1.c,
# mem_cgroup_resize_max). v2: memory.max would bring the OOM killer, memory.high never does (cgroup-v2.rst).
PRESSING: dict[int, Pressing] = {
    1: Pressing(FILES[1].limit, "-1", ("memory.swappiness", "0")),
    2: Pressing(FILES[2].high or "", "max", ("memory.swap.max", "0")),
}


class Group:
    """Use as a context manager. `reason` is "" where the process is in a group of its own, else why it is not:
    entering never raises for that. Leaving raises TargetError where the group could not be removed.

    `root` is where /proc and the cgroup filesystem are looked for. On v1 the group is made below the caller's
    own; on v2, where a group with processes has no children with controllers, beside it, with the same limit.
    """

    def __init__(self, root: str = "/") -> None:
        self._root = root
        self._home = ""
        self.folder = ""
        self.version = 0
        self.reason = "not entered"

    def __enter__(self) -> Self:
        try:
            self._enter()
            self.reason = ""
        except (OSError, Missing, FormatError) as error:
            self.reason = f"no memory cgroup could be made: {_words(error)}"
            self._leave()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        left = self._leave()
        if left and kind is None:
            raise TargetError(f"the cgroup {left} could not be removed", "it is empty: rmdir it")

    def read(self, name: str) -> bytes:
        return _read(f"{self.folder}/{name}")

    def write(self, name: str, text: str) -> None:
        _write(f"{self.folder}/{name}", text)

    def usage_bytes(self) -> int:
        """What is charged to the group. Raises OSError, FormatError."""
        return parse_limit(self.read(FILES[self.version].usage)) or 0

    def lazyfree_upper_bytes(self) -> int:
        """At most so much of what is charged to the group is lazily freed. Raises Missing."""
        paths = parse_paths(f"0::{self.folder}" if self.version == 2 else f"1:memory:{self.folder}")
        return read_cgroup(paths, self.read).lazyfree_upper_bytes or 0

    def limit(self, limit_bytes: int) -> None:
        """Has the kernel reclaim down to that, in the course of the call. Raises OSError (v1: EBUSY)."""
        self.write(PRESSING[self.version].limit, str(limit_bytes))

    def unlimit(self) -> None:
        self.write(PRESSING[self.version].limit, PRESSING[self.version].no_limit)

    def make(self, folder: str) -> None:
        """The kernel fills a new folder with the files of its group."""
        os.mkdir(folder)

    def remove(self, folder: str) -> None:
        os.rmdir(folder)

    def _enter(self) -> None:
        paths = parse_paths(self._read("proc/self/cgroup"))
        mount, home = folder_of(mount_of(self._read("proc/self/mountinfo")), paths)
        self.version = paths.version
        self._home = self._path(home)
        place = home if self.version == 1 else self._place_of_v2(mount, home)
        self._sweep(self._path(place))
        folder = f"{self._path(place)}/{PREFIX}{os.getpid()}"
        self.make(folder)
        self.folder = folder
        if self.version == 2 and place != home:
            self.write(FILES[2].limit, self._read(f"{home}/{FILES[2].limit}").decode().strip())
        self._refuse_swap()
        self.write("cgroup.procs", "0")  # the writer itself

    def _place_of_v2(self, mount: Mount, home: str) -> str:
        """The group that may have children with a memory controller: the own one (only a root has processes
        besides), or the one above. Raises Missing."""
        for folder in (home, *way_up(mount, home)[:1]):
            if CONTROLLER in self._read(f"{folder}/cgroup.subtree_control").decode().split():
                return folder
        raise Missing(f"{home}: neither it nor the group above it passes on the memory controller")

    def _refuse_swap(self) -> None:
        name, text = PRESSING[self.version].no_swap
        try:
            self.write(name, text)
        except FileNotFoundError:
            pass  # a kernel without swap support has no such file

    def _sweep(self, place: str) -> None:
        """Removes the groups of processes that were killed; the kernel refuses where one has members."""
        for name in os.listdir(place):
            pid = name.removeprefix(PREFIX)
            gone = pid == str(os.getpid()) or not os.path.exists(self._path(f"proc/{pid}"))
            if name != pid and pid.isdecimal() and gone:
                try:
                    self.remove(f"{place}/{name}")
                except OSError:
                    pass

    def _leave(self) -> str:
        """Back where it was, children included; the folder that is left over, else ""."""
        if not self.folder:
            return ""
        folder, self.reason = self.folder, self.reason or "left"
        for _ in range(REMOVE_TRIES):
            try:
                self._move_out()
                self.remove(folder)
                self.folder = ""
                return ""
            except OSError as error:
                if error.errno != EBUSY:
                    break
            time.sleep(REMOVE_WAIT_S)
        return folder

    def _move_out(self) -> None:
        _write(f"{self._home}/cgroup.procs", "0")
        for pid in self.read("cgroup.procs").split():
            try:
                _write(f"{self._home}/cgroup.procs", pid.decode())
            except ProcessLookupError:
                pass

    def _path(self, path: str) -> str:
        return os.path.join(self._root, path.lstrip("/"))

    def _read(self, path: str) -> bytes:
        return _read(self._path(path))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    """No file is made where the kernel has none."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _words(error: OSError | Missing | FormatError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return str(error)
