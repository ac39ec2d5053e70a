"""Control groups: the path forms of every runtime, both versions' memory files, and a real cgroup."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrss.errors import FormatError, Missing
from whyrss.read import cgroup, container, hierarchy
from whyrss.read.container import ContainerId
from whyrss.read.hierarchy import CgroupPaths, Mount

ID = "4e7fc71c8bef8c05c9fb76d93a186736fca266e668722e1239fe64503b3e80d3"
OUTER = "fbc411e743aa89de421746b3fc92e4fa475d0f2dc92967fb39c2f78574799701"
POD = "83b090de-9676-407c-99aa-d33dc6aa0c0d"
POD_ = POD.replace("-", "_")
STATIC = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
KUBEPODS = "/kubepods.slice"
BURSTABLE = f"{KUBEPODS}/kubepods-burstable.slice/kubepods-burstable-pod{POD_}.slice"
GUARANTEED = f"{KUBEPODS}/kubepods-pod{POD_}.slice"
UNDRIVEN = f"/system.slice/containerd.service/kubepods-burstable-pod{POD_}.slice"
KIND = (
    "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
    f"kubelet-kubepods-besteffort-pod{POD_}.slice"
)
MIB = 1 << 20

CONTAINERS = [
    (f"/docker/{ID}", ContainerId(ID, "docker")),
    (f"/docker/{ID}/init.scope", ContainerId(ID, "docker")),
    (f"/actions_job/{ID}", ContainerId(ID, "docker")),
    (f"/system.slice/docker-{ID}.scope", ContainerId(ID, "docker")),
    (f"/user.slice/user-1000.slice/user@1000.service/app.slice/docker-{ID}.scope", ContainerId(ID, "docker")),
    (f"/ecstasks.slice/ecstasks-{STATIC}.slice/docker-{ID}.scope", ContainerId(ID, "docker")),
    (f"/kubepods/burstable/pod{POD}/{ID}", ContainerId(ID, "kubernetes", POD, "burstable")),
    (f"/kubepods/besteffort/pod{POD}/{ID}", ContainerId(ID, "kubernetes", POD, "besteffort")),
    (f"/kubepods/pod{POD}/{ID}", ContainerId(ID, "kubernetes", POD, "guaranteed")),
    (f"/node2/kubepods/burstable/pod{STATIC}/{ID}", ContainerId(ID, "kubernetes", STATIC, "burstable")),
    (f"/kubepods/burstable/pod{POD}/crio-{ID}", ContainerId(ID, "cri-o", POD, "burstable")),
    (f"{BURSTABLE}/cri-containerd-{ID}.scope", ContainerId(ID, "containerd", POD, "burstable")),
    (f"{BURSTABLE}/crio-{ID}.scope", ContainerId(ID, "cri-o", POD, "burstable")),
    (f"{BURSTABLE}/crio-{ID}.scope/container", ContainerId(ID, "cri-o", POD, "burstable")),
    (f"{BURSTABLE}/docker-{ID}.scope", ContainerId(ID, "docker", POD, "burstable")),
    (f"{GUARANTEED}/cri-containerd-{ID}.scope", ContainerId(ID, "containerd", POD, "guaranteed")),
    (f"{KIND}/cri-containerd-{ID}.scope", ContainerId(ID, "containerd", POD, "besteffort")),
    (f"/docker/{OUTER}{KIND}/cri-containerd-{ID}.scope", ContainerId(ID, "containerd", POD, "besteffort")),
    (f"/docker/{OUTER}/kubepods/burstable/pod{POD}/{ID}", ContainerId(ID, "kubernetes", POD, "burstable")),
    (f"/kubepods/burstable/pod{POD}/{OUTER}/docker/{ID}", ContainerId(ID, "docker", POD, "burstable")),
    (f"{UNDRIVEN}:cri-containerd:{ID}", ContainerId(ID, "containerd", POD, "burstable")),
    (f"/kubepods/burstable/pod{POD}", ContainerId(None, "kubernetes", POD, "burstable")),
    (f"/docker/{OUTER}/kubelet/kubepods/pod{POD}", ContainerId(None, "kubernetes", POD, "guaranteed")),
    (BURSTABLE, ContainerId(None, "kubernetes", POD, "burstable")),
    (f"/k8s.io/{ID}", ContainerId(ID, "containerd")),
    (f"/default/{ID}", ContainerId(ID, "containerd")),
    (f"/system.slice/nerdctl-{ID}.scope", ContainerId(ID, "containerd")),
    (f"/libpod_parent/libpod-{ID}", ContainerId(ID, "podman")),
    (f"/machine.slice/libpod-{ID}.scope", ContainerId(ID, "podman")),
    (f"/machine.slice/libpod-{ID}.scope/container", ContainerId(ID, "podman")),
    (f"/machine.slice/machine-libpod_pod_{OUTER}.slice/libpod-{ID}.scope", ContainerId(ID, "podman")),
    (f"/system.slice/web.service/libpod-payload-{ID}", ContainerId(ID, "podman")),
    ("/lxc/100", ContainerId("100", "lxc")),
    ("/lxc/100/ns/system.slice/etcd.service", ContainerId("100", "lxc")),
    ("/lxc.payload.web", ContainerId("web", "lxc")),
    ("/lxc.payload/web", ContainerId("web", "lxc")),
    ("/lxc.payload.web/system.slice/cron.service", ContainerId("web", "lxc")),
    (f"/lxc.payload.web/system.slice/docker-{ID}.scope", ContainerId(ID, "docker")),
    ("/machine.slice/machine-deb\\x2d12.scope/payload", ContainerId("deb-12", "nspawn")),
    ("/machine.slice/systemd-nspawn@deb\\x2d12.service/payload/init.scope", ContainerId("deb-12", "nspawn")),
    (f"/ecs/{STATIC}/{ID}", ContainerId(ID, "ecs")),
    (f"/ecs/{STATIC}/{STATIC}-2495160603", ContainerId(f"{STATIC}-2495160603", "ecs")),
]  # fmt: skip

NO_CONTAINERS = [
    ("/", None),
    ("", None),
    ("/..", None),
    ("/init.scope", "init.scope"),
    ("/system.slice/etcd.service", "etcd.service"),
    ("/system.slice/_cpu.service", "cpu.service"),
    ("/system.slice/docker.service", "docker.service"),
    ("/system.slice", None),
    ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
    ("/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.service", "app-x.service"),
    (f"/machine.slice/libpod-conmon-{ID}.scope", f"libpod-conmon-{ID}.scope"),
    (f"{BURSTABLE[: BURSTABLE.rindex('/')]}", None),
    (f"/system.slice/crio-conmon-{ID}.scope", f"crio-conmon-{ID}.scope"),
    (f"/system.slice/docker-{ID[1:]}.scope", f"docker-{ID[1:]}.scope"),
    (f"/docker/{ID.upper()}", None),
    (f"/docker/{ID}0", None),
    ("/docker", None),
    (f"/batch/{ID}", None),
    ("/lxc", None),
    ("/lxc.monitor.web", None),
    ("/lxc.monitor/web", None),
    ("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope", "machine-qemu\\x2d1\\x2dvm.scope"),
    ("/machine.slice/machine-deb.scope/supervisor", "machine-deb.scope"),
    ("/kubepods", None),
    ("/kubepods/burstable", None),
    ("/kubepods/burstable/podman", None),
    (f"/batch/pod{POD}/{ID[1:]}", None),
]


@pytest.mark.parametrize(("path", "expected"), CONTAINERS)
def test_containers(path: str, expected: ContainerId) -> None:
    assert container.identify(path) == expected


@pytest.mark.parametrize(("path", "unit"), NO_CONTAINERS)
def test_what_is_no_container(path: str, unit: str | None) -> None:
    assert container.identify(path) is None
    assert container.unit_of(path) == unit


def test_every_form_of_the_tables_is_tried() -> None:
    tried = "\n".join(path for path, _ in CONTAINERS)
    untried = {"machine-lxc\\x2d"}
    assert {prefix for prefix in container.PREFIXES if f"/{prefix}" not in tried} == untried
    assert all(f"/{parent}/" in tried for parent in container.PARENTS)
    libvirt = container.identify("/machine.slice/machine-lxc\\x2d7\\x2dweb.scope/libvirt")
    assert libvirt == ContainerId("7-web", "lxc")


def test_containers_differ() -> None:
    assert ContainerId(ID, "docker") != ContainerId(ID, "podman")
    assert ContainerId(ID, "docker") != ID


V1 = f"""12:pids:/docker/{ID}
9:memory:/docker/{ID}
4:cpu,cpuacct:/a:b
1:name=systemd:/docker/{ID}
0::/system.slice/containerd.service
"""


def test_v1_and_hybrid_take_the_memory_hierarchy() -> None:
    paths = hierarchy.parse_paths(V1)
    assert (paths.version, paths.memory_path) == (1, f"/docker/{ID}")
    assert paths.paths["cpu"] == paths.paths["cpuacct"] == "/a:b"
    assert paths.paths["name=systemd"] == f"/docker/{ID}"
    assert paths.paths[""] == "/system.slice/containerd.service"
    assert not paths.outside_namespace and not paths.deleted


def test_v2() -> None:
    paths = hierarchy.parse_paths(b"0::/user.slice/caf\xc3\xa9\xff.scope\n")
    assert (paths.version, paths.memory_path) == (2, "/user.slice/caf\u00e9\udcff.scope")
    assert os.fsencode(str(paths.memory_path)) == b"/user.slice/caf\xc3\xa9\xff.scope"


def test_hybrid_without_a_v1_memory_controller_is_v2() -> None:
    paths = hierarchy.parse_paths("5:name=systemd:/x\n2:cpu:/y\n0::/z\n")
    assert (paths.version, paths.memory_path) == (2, "/z")


def test_v1_without_the_memory_controller_has_no_path() -> None:
    paths = hierarchy.parse_paths("2:cpu:/y\n")
    assert (paths.version, paths.memory_path) == (1, None)
    with pytest.raises(Missing, match="memory controller"):
        cgroup.read_cgroup(paths, dict[str, bytes]().__getitem__)


@pytest.mark.parametrize("path", ["/..", "/../..", f"/../../docker/{ID}"])
def test_outside_the_namespace(path: str) -> None:
    paths = hierarchy.parse_paths(f"0::{path}\n")
    assert paths.outside_namespace
    assert paths.memory_path == path


def test_a_dot_dot_name_is_not_outside() -> None:
    assert not hierarchy.parse_paths("0::/..a\n").outside_namespace


def test_a_removed_v2_cgroup() -> None:
    paths = hierarchy.parse_paths("0::/a/b (deleted)\n")
    assert (paths.memory_path, paths.deleted) == ("/a/b", True)
    with pytest.raises(Missing, match="removed"):
        cgroup.read_cgroup(paths, _files({}))


@pytest.mark.parametrize(
    "text", [b"", b"\n", b"memory", b"0::", b"0::relative", b"x:memory:/a", b"0::/a\0b", b"0:/a"]
)
def test_broken_paths_are_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        hierarchy.parse_paths(text)


def test_huge_texts_are_refused() -> None:
    huge = b"0::/" + b"a" * cgroup.TEXT_MAX_BYTES
    for parse in (hierarchy.parse_paths, cgroup.parse_stat):
        with pytest.raises(FormatError):
            parse(huge)
    assert container.identify("/docker" * 10_000) is None


V1_STAT = b"""cache 4096
rss 0
shmem 0
swap 0
inactive_file 0
hierarchical_memory_limit 419430400
total_cache 136314880
total_rss 209715200
total_shmem 31457280
total_inactive_anon 31457280
total_active_anon 0
total_inactive_file 309715200
total_active_file 4857600
"""
V2_STAT = b"""anon 215244800
file 136314880
kernel 2097152
shmem 31457280
inactive_file 309715200
active_file 4857600
slab 1048576
some_new_key 7
"""
V1_FILES = {
    "memory.stat": V1_STAT,
    "memory.usage_in_bytes": b"350000000\n",
    "memory.limit_in_bytes": b"9223372036854771712\n",
    "memory.max_usage_in_bytes": b"400000000\n",
    "memory.kmem.usage_in_bytes": b"1234567\n",
    "memory.oom_control": b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
}
V2_FILES = {
    "memory.stat": V2_STAT,
    "memory.current": b"350000000\n",
    "memory.max": b"419430400\n",
    "memory.high": b"max\n",
    "memory.events": b"low 0\nhigh 0\nmax 5\noom 1\noom_kill 1\n",
}


def _files(files: dict[str, bytes], errno: int = 2) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        if name not in files:
            raise OSError(errno, os.strerror(errno), name)
        return files[name]

    return read


def test_v1_figures_are_those_with_the_cgroups_below() -> None:
    group = cgroup.read_cgroup(hierarchy.parse_paths(V1), _files(V1_FILES))
    assert group.container == ContainerId(ID, "docker")
    assert group.usage_bytes == 350000000
    assert group.anon_bytes == group.rss_bytes == 209715200
    assert group.file_bytes == 136314880
    assert group.shmem_bytes == 31457280
    assert group.working_set_bytes == 350000000 - 309715200
    # 304.6 MiB on the file lists, 100 MiB of them files
    assert group.lazyfree_upper_bytes == 309715200 + 4857600 - 104857600
    assert (group.peak_bytes, group.kernel_bytes, group.events["oom_kill"]) == (400000000, 1234567, 3)
    assert group.unread == {}


def test_a_v1_limit_above_counts() -> None:
    read = _files(V1_FILES)
    assert cgroup.read_cgroup(hierarchy.parse_paths(V1), read).limit_bytes == 400 * MIB
    lower = _files({**V1_FILES, "memory.limit_in_bytes": b"104857600\n"})
    assert cgroup.read_cgroup(hierarchy.parse_paths(V1), lower).limit_bytes == 100 * MIB


def test_v2_figures() -> None:
    group = cgroup.read_cgroup(hierarchy.parse_paths("0::/system.slice/etcd.service"), _files(V2_FILES))
    assert (group.container, group.unit) == (None, "etcd.service")
    assert group.anon_bytes == 215244800
    assert group.working_set_bytes == 350000000 - 309715200
    assert group.lazyfree_upper_bytes == 309715200 + 4857600 - 104857600
    assert (group.limit_bytes, group.high_bytes, group.kernel_bytes) == (400 * MIB, None, 2 * MIB)
    assert group.stat["some_new_key"] == 7
    assert group.unread == {"memory.peak": "No such file or directory"}


def test_swap_cache_is_not_taken_for_files() -> None:
    stat = V2_STAT + b"swapcached 1000000\n"
    group = cgroup.read_cgroup(hierarchy.parse_paths("0::/a"), _files({**V2_FILES, "memory.stat": stat}))
    assert group.lazyfree_upper_bytes == 309715200 + 4857600 - 104857600 + 1000000


def test_figures_are_never_negative() -> None:
    files = {"memory.current": b"5\n", "memory.stat": b"inactive_file 9\nactive_file 0\nfile 90\nshmem 1\n"}
    group = cgroup.read_cgroup(hierarchy.parse_paths("0::/"), _files(files))
    assert (group.working_set_bytes, group.lazyfree_upper_bytes) == (0, 0)


def test_figures_that_are_not_there_are_none() -> None:
    group = cgroup.read_cgroup(hierarchy.parse_paths("0::/"), _files({"memory.stat": b"anon 4096\n"}))
    assert group.anon_bytes == 4096
    for name in ("usage", "working_set", "lazyfree_upper", "file", "shmem", "limit", "peak", "kernel"):
        assert getattr(group, f"{name}_bytes") is None
    assert set(group.unread) == {
        "memory.current",
        "memory.max",
        "memory.high",
        "memory.peak",
        "memory.events",
    }


@pytest.mark.parametrize(
    ("text", "errno", "words"),
    [
        ("0::/a", 2, "not enabled"),
        ("0::/a", 19, "No such device"),
        ("0::/../a", 2, "outside"),
        (V1, 13, "denied"),
    ],
)
def test_missing_says_what_and_why(text: str, errno: int, words: str) -> None:
    paths = hierarchy.parse_paths(text)
    with pytest.raises(Missing, match=words) as caught:
        cgroup.read_cgroup(paths, _files({}, errno))
    assert str(paths.memory_path) in caught.value.reason
    assert "memory.stat" in caught.value.reason


def test_a_broken_stat_is_missing_not_an_error() -> None:
    with pytest.raises(Missing, match="key figure"):
        cgroup.read_cgroup(hierarchy.parse_paths("0::/a"), _files({"memory.stat": b"???"}))


def test_stat_skips_what_has_no_form() -> None:
    text = b"anon 1\n\nfile x\n 5\nshmem 1 2\nneg -3\nbig 123456789012345678901\nanon 9\nsock 0\nsla"
    assert cgroup.parse_stat(text) == {"anon": 1, "sock": 0}
    assert cgroup.parse_stat(b"") == {}
    with pytest.raises(FormatError):
        cgroup.parse_stat(b"file x\n")


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        (b"max\n", None),
        (b"9223372036854771712\n", None),  # 4 KiB pages
        (b"9223372036854710272\n", None),  # 64 KiB pages
        (b"9223372036854775807\n", None),  # before 3.19
        (b"18446744073709551615\n", None),
        (b"419430400\n", 419430400),
        (b"0\n", 0),
    ],
)
def test_limits(text: bytes, limit: int | None) -> None:
    assert cgroup.parse_limit(text) == limit


@pytest.mark.parametrize("text", [b"", b"-1\n", b"1_0", b"9" * 5000, b"maximum", b"0x10", "\u0661".encode()])
def test_broken_limits_are_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        cgroup.parse_limit(text)


def test_the_smallest_limit_counts() -> None:
    assert cgroup.effective_limit([None, 300, 200, None]) == 200
    assert cgroup.effective_limit([None, 0]) == 0
    assert cgroup.effective_limit([None]) is None
    assert cgroup.effective_limit([]) is None


MOUNTINFO = b"""23 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:15 master:2 - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
INSIDE = f"""700 690 0:32 /docker/{ID} /sys/fs/cgroup/memory ro,nosuid master:17 - cgroup cgroup rw,memory
701 690 0:32 / /host/cg\\040roup rw - cgroup cgroup rw,memory
""".encode()


def test_mounts_of_a_hybrid_machine() -> None:
    mounts = hierarchy.mount_of(MOUNTINFO)
    assert [(mount.root, mount.point) for mount in mounts[1]] == [("/", "/sys/fs/cgroup/memory")]
    assert [(mount.root, mount.point) for mount in mounts[2]] == [("/", "/sys/fs/cgroup/unified")]


def test_the_widest_view_comes_first_and_escapes_are_undone() -> None:
    views = hierarchy.mount_of(INSIDE)[1]
    assert [view.point for view in views] == ["/host/cg roup", "/sys/fs/cgroup/memory"]


def test_a_later_mount_hides_an_earlier_one() -> None:
    later = b"99 31 0:32 /docker /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    assert [mount.root for mount in hierarchy.mount_of(MOUNTINFO + later)[1]] == ["/docker"]


@pytest.mark.parametrize(
    ("root", "path", "folder"),
    [
        ("/", "/", "/cg"),
        ("/", "/a/b", "/cg/a/b"),
        ("/docker/x", "/docker/x", "/cg"),
        ("/docker/x", "/docker/x/init.scope", "/cg/init.scope"),
        ("/docker/x", "/docker/xy", None),
        ("/docker/x", "/docker", None),
        ("/docker/x", "/", None),
        ("/", "/..", None),
        ("/", "/../../etc", None),
        ("/", "/a/../../etc", None),
        ("/../..", "/../..", "/cg"),  # a mount made before the namespace was entered
        ("/../..", "/../../docker/x", "/cg/docker/x"),
        ("/../..", "/../../..", None),
        ("/../..", "/", None),  # it is somewhere below, and nobody says where
    ],
)
def test_join(root: str, path: str, folder: str | None) -> None:
    assert hierarchy.join(Mount(1, root, "/cg"), path) == folder


def test_join_below_the_root_folder() -> None:
    assert hierarchy.join(Mount(2, "/", "/"), "/a") == "/a"


def test_folder_of_tries_every_view() -> None:
    own, other = f"4:memory:/docker/{ID}", "4:memory:/docker/other"
    narrow = hierarchy.mount_of(INSIDE.splitlines()[0])
    assert hierarchy.folder_of(narrow, hierarchy.parse_paths(own))[1] == "/sys/fs/cgroup/memory"
    with pytest.raises(Missing, match="/docker/other is not below"):
        hierarchy.folder_of(narrow, hierarchy.parse_paths(other))
    both = hierarchy.mount_of(INSIDE)
    assert hierarchy.folder_of(both, hierarchy.parse_paths(other))[1] == "/host/cg roup/docker/other"


def test_folder_of_says_what_is_missing() -> None:
    mounts = hierarchy.mount_of(MOUNTINFO)
    with pytest.raises(Missing, match="outside"):
        hierarchy.folder_of(mounts, hierarchy.parse_paths("0::/../a"))
    with pytest.raises(Missing, match="no hierarchy"):
        hierarchy.folder_of(mounts, hierarchy.parse_paths("2:cpu:/"))
    with pytest.raises(Missing, match=r"v2 .* not mounted"):
        hierarchy.folder_of({1: mounts[1]}, hierarchy.parse_paths("0::/a"))


def test_way_up() -> None:
    mount = Mount(2, "/", "/sys/fs/cgroup")
    assert hierarchy.way_up(mount, "/sys/fs/cgroup/a/b") == ["/sys/fs/cgroup/a", "/sys/fs/cgroup"]
    assert hierarchy.way_up(mount, "/sys/fs/cgroup") == []
    assert hierarchy.way_up(mount, "/proc/a/b/c/d/e/f") == []


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; before = set(sys.modules)\n"
        "from whyrss.read import cgroup, container, hierarchy\n"
        f"container.identify(hierarchy.parse_paths({V1!r}).memory_path)\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('whyrss')))"
    )
    source = Path(cgroup.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(source)!r})\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["__future__"]


# What no runtime wrote.
PIECES = [
    "/",
    "docker-",
    ID,
    ".scope",
    "kubepods",
    "pod",
    POD,
    POD_,
    ".slice",
    "..",
    ":",
    "lxc",
    "\\x2d",
    "\0",
    "\n",
]
HOSTILE = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES), max_size=30).map("".join))


@given(HOSTILE)
@settings(deadline=None, max_examples=500)
def test_hostile_paths(path: str) -> None:
    found = container.identify(path)
    container.unit_of(path)
    if found:
        assert (found.id or found.pod) and found.runtime
        assert found.id is None or found.id in path or found.id in path.replace("\\x2d", "-")
    folder = hierarchy.join(Mount(1, "/", "/cg"), path)
    assert folder is None or os.path.normpath(folder).startswith("/cg")


@given(
    st.one_of(
        st.binary(max_size=300),
        HOSTILE.map(lambda path: f"0::{path}\n4:memory:{path}\n".encode("utf-8", "replace")),
    )
)
@settings(deadline=None, max_examples=500)
def test_hostile_texts(text: bytes) -> None:
    hierarchy.mount_of(text)
    for parse in (hierarchy.parse_paths, cgroup.parse_stat, cgroup.parse_limit):
        try:
            parse(text)
        except FormatError:
            continue


@given(st.dictionaries(st.sampled_from([*V1_FILES, *V2_FILES]), st.binary(max_size=60)), st.sampled_from([1, 2]))
@settings(deadline=None)
def test_hostile_files(files: dict[str, bytes], version: int) -> None:
    paths = CgroupPaths({"memory" if version == 1 else "": "/a"}, deleted=False)
    try:
        group = cgroup.read_cgroup(paths, _files(files))
    except Missing as missing:
        assert missing.reason
        return
    for name in ("usage", "limit", "working_set", "lazyfree_upper", "anon"):
        figure = getattr(group, f"{name}_bytes")
        assert figure is None or figure >= 0


def test_this_process() -> None:
    paths = hierarchy.parse_paths(Path("/proc/self/cgroup").read_bytes())
    mounts = hierarchy.mount_of(Path("/proc/self/mountinfo").read_bytes())
    try:
        _, folder = hierarchy.folder_of(mounts, paths)
        group = cgroup.read_cgroup(paths, lambda name: Path(folder, name).read_bytes())
    except Missing as missing:
        pytest.skip(missing.reason)
    members = Path(folder, "cgroup.procs").read_text().split()
    assert str(os.getpid()) in members
    assert group.path == paths.memory_path
    assert (group.anon_bytes or 0) > 0


CHILD = f"""
import mmap, sys
area = mmap.mmap(-1, {32 * MIB}, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
sys.stdin.readline()
area.write(b"x" * {32 * MIB})
area.madvise(mmap.MADV_FREE)
print(flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty memory cgroup with a limit of 256 MiB, where this machine lets us make one."""
    mounts = hierarchy.mount_of(Path("/proc/self/mountinfo").read_bytes())
    if 1 not in mounts or os.geteuid() != 0:
        pytest.skip("needs root and the v1 memory controller")
    made = Path(mounts[1][0].point, f"whyrss-test-{os.getpid()}")
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        (made / "memory.limit_in_bytes").write_text(str(256 * MIB))
        yield made
    finally:
        made.rmdir()


def test_a_real_v1_cgroup_with_lazily_freed_memory(folder: Path) -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin and child.stdout
    try:
        (folder / "cgroup.procs").write_text(str(child.pid))
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        paths = hierarchy.parse_paths(Path(f"/proc/{child.pid}/cgroup").read_bytes())
        mounts = hierarchy.mount_of(Path("/proc/self/mountinfo").read_bytes())
        found = hierarchy.folder_of(mounts, paths)[1]
        group = cgroup.read_cgroup(paths, lambda name: (folder / name).read_bytes())
        smaps = Path(f"/proc/{child.pid}/smaps_rollup").read_text()
    finally:
        child.communicate()
    lazyfree = next(int(line.split()[1]) * 1024 for line in smaps.splitlines() if line.startswith("LazyFree"))
    tolerance = 4 * MIB  # per-CPU batches and counters that are not flushed yet
    assert found == str(folder)
    assert group.container is None
    assert group.limit_bytes == 256 * MIB
    assert lazyfree > 31 * MIB
    assert group.usage_bytes is not None and group.usage_bytes > lazyfree
    assert group.lazyfree_upper_bytes == pytest.approx(lazyfree, abs=tolerance)
    assert group.anon_bytes is not None and group.anon_bytes > lazyfree - tolerance
    assert group.working_set_bytes is not None
    assert group.working_set_bytes < group.usage_bytes - lazyfree + tolerance


def test_a_cgroup_that_vanished_is_missing(folder: Path) -> None:
    paths = CgroupPaths({"memory": f"/{folder.name}"}, deleted=False)
    gone = folder / "gone"
    gone.mkdir()
    stat = (gone / "memory.stat").open("rb")
    gone.rmdir()
    with stat, pytest.raises(Missing, match="No such device"):
        cgroup.read_cgroup(paths, lambda _: stat.read())
    with pytest.raises(Missing, match="the cgroup has gone"):
        cgroup.read_cgroup(paths, lambda name: (gone / name).read_bytes())
