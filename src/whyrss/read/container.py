"""Whose container a cgroup path names, by the forms in which each runtime writes them.

Every form has its source beside it; what no runtime wrote is no container.
"""

from __future__ import annotations

PATH_MAX = 4096  # the kernel never prints a longer path (proc_cgroup_show)
ID_DIGITS = 64  # docker, containerd's CRI, cri-o and podman: 32 random bytes in hex

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

    __hash__ = None  # type: ignore[assignment]  # the way to say "not hashable"


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
