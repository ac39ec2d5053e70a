"""Memory pressure on this process by a real cgroup; cgroup v2 by files as its documentation describes them."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("needs Linux", allow_module_level=True)

from whyrss.errors import RefusedError, TargetError
from whyrss.facts.kernel import MADV_FREE
from whyrss.lab.group import PREFIX, Group
from whyrss.lab.memory import OS_PAGE_BYTES, Memory
from whyrss.lab.pressure import RESERVE_BYTES, has_swap, press
from whyrss.lab.semantics.lists import CHARGE_PAGES
from whyrss.lab.semantics.pages import BASE, BATCH_BYTES, Contents, advise, all_pages, fill, mapped
from whyrss.read.cgroup import FILES, parse_limit

MIB = 1 << 20
FIXTURES = Path(__file__).parent / "fixtures" / "cgroup2"
CPUS = os.cpu_count() or 1
# This process may run on any CPU, each with its batch of freed pages and of pages charged ahead.
BATCHES_BYTES = CPUS * BATCH_BYTES
CHARGED_BYTES = 2 * CHARGE_PAGES * CPUS * OS_PAGE_BYTES
OTHER_BASE = BASE + (1 << 30)


@contextmanager
def lazy(size_bytes: int, base: int = BASE) -> Iterator[Memory]:
    """Memory that is filled and given to MADV_FREE as a whole."""
    with mapped(size_bytes, base=base) as memory:
        fill(memory, all_pages(memory))
        advise(memory, MADV_FREE)
        yield memory


def ranges(*memories: Memory) -> list[tuple[int, int]]:
    return [(each.base, each.end - each.base) for each in memories]


def needs(group: Group) -> None:
    if group.reason:
        pytest.skip(f"needs root and a memory cgroup: {group.reason}")


def own_groups() -> bytes:
    return Path("/proc/self/cgroup").read_bytes()


# The real thing.


def test_a_group_takes_down_to_the_limit() -> None:
    with Group() as group, lazy(64 * MIB) as memory:
        needs(group)
        pressed = press(24 * MIB, ranges(memory), group)
        found = Contents(memory, all_pages(memory))
        limit = parse_limit(group.read("memory.high" if group.version == 2 else FILES[1].limit))
    assert pressed.way == f"cgroup v{group.version}"
    assert pressed.notes == []
    assert (pressed.wanted_bytes, pressed.limit_bytes) == (24 * MIB, 24 * MIB)
    assert pressed.before.rss_bytes == 64 * MIB
    assert pressed.after.rss_bytes <= 24 * MIB + CHARGED_BYTES
    assert pressed.taken_bytes == 64 * MIB - pressed.after.rss_bytes == found.zero * OS_PAGE_BYTES
    assert found.old + found.zero == 64 * MIB // OS_PAGE_BYTES
    assert limit is None


def test_a_limit_that_cannot_be_reached_is_raised() -> None:
    """32 MiB are in use and 32 MiB freed: nothing in use is touched, and the reserve is left."""
    with Group() as group, mapped(32 * MIB, base=OTHER_BASE) as used:
        needs(group)
        fill(used, all_pages(used))
        with lazy(32 * MIB) as memory:
            pressed = press(MIB, ranges(memory, used), group)
        in_use = Contents(used, all_pages(used))
    assert pressed.wanted_bytes == MIB
    assert 0 <= pressed.limit_bytes - (32 * MIB + RESERVE_BYTES) <= BATCHES_BYTES + CHARGED_BYTES
    assert len(pressed.notes) == 1
    assert f"raised from {MIB} to {pressed.limit_bytes} bytes" in pressed.notes[0]
    assert in_use.old == 32 * MIB // OS_PAGE_BYTES
    assert abs(pressed.after.rss_bytes - pressed.limit_bytes) <= CHARGED_BYTES


def test_memory_within_the_limit_is_left_alone() -> None:
    with Group() as group, lazy(16 * MIB) as memory:
        needs(group)
        pressed = press(64 * MIB, ranges(memory), group)
    assert (pressed.taken_bytes, pressed.notes) == (0, [])


class Overrated(Group):
    """A group that takes memory for lazily freed that is not even charged to it."""

    def lazyfree_upper_bytes(self) -> int:
        return 1 << 40


def test_a_limit_that_the_kernel_refuses_is_said_and_lifted() -> None:
    with lazy(64 * MIB) as elsewhere, Overrated() as group, mapped(16 * MIB, base=OTHER_BASE) as used:
        needs(group)
        if group.version != 1:
            pytest.skip("memory.high of cgroup v2 is never refused")
        fill(used, all_pages(used))
        pressed = press(0, ranges(elsewhere), group)
        limit = parse_limit(group.read(FILES[1].limit))
        in_use = Contents(used, all_pages(used)).old
    assert pressed.way == "cgroup v1"
    assert os.strerror(errno.EBUSY) in pressed.notes[-1]
    assert limit is None
    assert in_use == 16 * MIB // OS_PAGE_BYTES


def test_what_was_touched_before_the_group_is_not_charged_to_it() -> None:
    with lazy(64 * MIB) as memory, Group() as group:
        needs(group)
        pressed = press(20 * MIB, ranges(memory), group)
    assert pressed.taken_bytes <= CHARGED_BYTES
    assert "raised" in pressed.notes[0]


def test_the_group_is_left_and_removed_when_the_body_raises() -> None:
    before = own_groups()
    group = Group()
    with pytest.raises(ZeroDivisionError), group:
        needs(group)
        folder = group.folder
        assert own_groups() != before
        assert str(os.getpid()) in group.read("cgroup.procs").decode().split()
        raise ZeroDivisionError
    assert own_groups() == before
    assert not os.path.exists(folder)
    assert group.reason


def test_children_are_moved_out_as_well() -> None:
    with Group() as group:
        needs(group)
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        inside = Path(f"/proc/{child.pid}/cgroup").read_bytes()
    try:
        assert inside != own_groups() == Path(f"/proc/{child.pid}/cgroup").read_bytes()
        assert not os.path.exists(group.folder or "/nowhere")
    finally:
        child.kill()
        child.communicate()


def test_the_group_of_a_killed_process_is_swept_away() -> None:
    """Killed where no `finally` runs."""
    program = "import os, signal; from whyrss.lab.group import Group; group = Group().__enter__(); "
    program += "print(group.folder, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    left = done.stdout.strip()
    if not left:
        pytest.skip("needs root and a memory cgroup")
    assert os.path.isdir(left)
    with Group():
        assert not os.path.exists(left)


# Where no group can be made.


def test_without_a_group_madv_pageout_takes_them(tmp_path: Path) -> None:
    if has_swap():
        pytest.skip("there is swap here")
    with Group(str(tmp_path)) as group, mapped(16 * MIB, base=OTHER_BASE) as used, lazy(64 * MIB) as memory:
        fill(used, all_pages(used))
        pressed = press(20 * MIB, ranges(used, memory), group)
        in_use = Contents(used, all_pages(used)).old
    assert pressed.way == "MADV_PAGEOUT"
    assert "no memory cgroup could be made" in pressed.notes[0]
    assert str(tmp_path) in pressed.notes[0]
    assert in_use == 16 * MIB // OS_PAGE_BYTES
    # It goes by steps of 8 MiB, and stops at the first that is far enough.
    assert 16 * MIB <= pressed.after.rss_bytes <= 20 * MIB + BATCHES_BYTES
    assert pressed.taken_bytes > 0


def test_with_swap_it_is_not_done(tmp_path: Path) -> None:
    swaps = tmp_path / "swaps"
    swaps.write_text("Filename Type Size Used Priority\n/swapfile file 1048572 0 -2\n")
    with lazy(32 * MIB) as memory:
        pressed = press(0, ranges(memory), swaps=str(swaps))
    assert (pressed.way, pressed.taken_bytes) == ("none", 0)
    assert "swap" in pressed.notes[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Filename Type Size Used Priority\n", False), ("Filename\n/dev/sda2 partition 1 0 -2\n", True)],
)
def test_swap_is_read_from_proc(tmp_path: Path, text: str, expected: bool) -> None:
    (tmp_path / "swaps").write_text(text)
    assert has_swap(str(tmp_path / "swaps")) is expected
    assert has_swap(str(tmp_path / "none")) is False


# cgroup v2: the right files get the right texts.


class OnFiles(Group):
    """A group of which the test is the kernel: it fills a new folder, and removes a full one."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.written: list[tuple[str, str]] = []

    def make(self, folder: str) -> None:
        shutil.copytree(FIXTURES, folder)

    def remove(self, folder: str) -> None:
        shutil.rmtree(folder)

    def write(self, name: str, text: str) -> None:
        super().write(name, text)
        assert Path(self.folder, name).read_text() == text
        self.written.append((name, text))


def v2_root(root: Path, own: str, controllers: dict[str, str]) -> Path:
    """/proc and /sys/fs/cgroup of a process in the group `own`; `controllers` are those that a group passes on."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"0::{own}\n")
    line = "30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
    (root / "proc/self/mountinfo").write_text(line)
    for path, passed_on in controllers.items():
        folder = root / f"sys/fs/cgroup{path}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup.subtree_control").write_text(passed_on)
        (folder / "cgroup.procs").write_text("")
        (folder / "memory.max").write_text(f"{1 << 30}\n")
    return root / "sys/fs/cgroup"


def test_v2_makes_the_group_beside_the_own_one_with_its_limit(tmp_path: Path) -> None:
    mount = v2_root(
        tmp_path, "/app.slice/app", {"": "memory pids\n", "/app.slice": "memory\n", "/app.slice/app": "\n"}
    )
    with OnFiles(str(tmp_path)) as group:
        assert group.reason == ""
        assert (group.version, Path(group.folder)) == (2, mount / "app.slice" / f"{PREFIX}{os.getpid()}")
        assert group.written == [("memory.max", str(1 << 30)), ("memory.swap.max", "0"), ("cgroup.procs", "0")]
        folder = group.folder
    assert (mount / "app.slice/app/cgroup.procs").read_text() == "0"
    assert not os.path.exists(folder)


def test_v2_presses_with_memory_high_and_lifts_it(tmp_path: Path) -> None:
    v2_root(tmp_path, "/app", {"": "memory\n", "/app": "\n"})
    with OnFiles(str(tmp_path)) as group, lazy(64 * MIB) as memory:
        group.written.clear()
        pressed = press(24 * MIB, ranges(memory), group)
    # memory.current of the fixture is 129 MiB, and 40 MiB of it are to go.
    assert group.written == [("memory.high", str((129 - 40) * MIB)), ("memory.high", "max")]
    assert pressed.way == "cgroup v2"


def test_v2_never_goes_below_what_the_group_says_is_lazily_freed(tmp_path: Path) -> None:
    """96 MiB of the fixture's 128 are lazily freed: less than this process has freed."""
    v2_root(tmp_path, "/app", {"": "memory\n", "/app": "\n"})
    with OnFiles(str(tmp_path)) as group, lazy(112 * MIB) as memory:
        group.written.clear()
        pressed = press(0, ranges(memory), group)
    assert pressed.limit_bytes == 112 * MIB - 96 * MIB + RESERVE_BYTES
    assert group.written[0] == ("memory.high", str(129 * MIB - 96 * MIB + RESERVE_BYTES))


def test_v2_in_the_root_makes_it_below(tmp_path: Path) -> None:
    mount = v2_root(tmp_path, "/", {"": "memory\n"})
    with OnFiles(str(tmp_path)) as group:
        assert Path(group.folder).parent == mount


@pytest.mark.parametrize("own", ["/", "/app"])
def test_v2_without_the_controller_says_so(tmp_path: Path, own: str) -> None:
    v2_root(tmp_path, own, {"": "pids\n", own.rstrip("/"): "\n"})
    with OnFiles(str(tmp_path)) as group:
        assert "passes on the memory controller" in group.reason
        assert group.folder == ""


def test_v2_with_a_read_only_limit_goes_the_other_way(tmp_path: Path) -> None:
    class ReadOnly(OnFiles):
        def write(self, name: str, text: str) -> None:
            if name == "memory.high":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
            super().write(name, text)

    if has_swap():
        pytest.skip("there is swap here")
    v2_root(tmp_path, "/", {"": "memory\n"})
    with ReadOnly(str(tmp_path)) as group, lazy(64 * MIB) as memory:
        pressed = press(24 * MIB, ranges(memory), group)
    assert pressed.way == "MADV_PAGEOUT"
    assert os.strerror(errno.EACCES) in pressed.notes[0]
    assert pressed.after.rss_bytes <= 24 * MIB + BATCHES_BYTES


def test_a_limit_that_cannot_be_lifted_is_an_error(tmp_path: Path) -> None:
    class Stays(OnFiles):
        def unlimit(self) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "memory.high")

    mount = v2_root(tmp_path, "/", {"": "memory\n"})
    with (
        pytest.raises(RefusedError, match="could not be lifted"),
        Stays(str(tmp_path)) as group,
        lazy(64 * MIB) as memory,
    ):
        press(24 * MIB, ranges(memory), group)
    assert [path.name for path in mount.iterdir() if path.is_dir()] == []


def test_a_group_that_cannot_be_joined_is_removed(tmp_path: Path) -> None:
    class Closed(OnFiles):
        def write(self, name: str, text: str) -> None:
            if name == "cgroup.procs":
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
            super().write(name, text)

    mount = v2_root(tmp_path, "/", {"": "memory\n"})
    with Closed(str(tmp_path)) as group:
        assert group.reason == f"no memory cgroup could be made: cgroup.procs: {os.strerror(errno.EACCES)}"
    assert [path.name for path in mount.iterdir() if path.is_dir()] == []


def test_a_group_that_stays_is_named(tmp_path: Path) -> None:
    class Stuck(OnFiles):
        def remove(self, folder: str) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), folder)

    mount = v2_root(tmp_path, "/", {"": "memory\n"})
    with pytest.raises(TargetError, match=f"{PREFIX}{os.getpid()} could not be removed"), Stuck(str(tmp_path)):
        pass
    v2_root(tmp_path / "again", "/", {"": "memory\n"})
    with pytest.raises(ZeroDivisionError), Stuck(str(tmp_path / "again")) as group:
        assert group.reason == ""
        raise ZeroDivisionError
    assert (mount / "cgroup.procs").read_text() == "0"
