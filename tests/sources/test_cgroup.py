"""The container's figure of a live process, in real cgroups of v1 that look like those of container runtimes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import whyrss

MOUNT = Path("/sys/fs/cgroup/memory")
LIMIT = 512 << 20
ID = "0123456789abcdef" * 4
POD = "1234abcd-0000-1111-2222-333344445555"

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not os.access(MOUNT / "memory.limit_in_bytes", os.W_OK),
    reason="needs root and the memory controller of cgroup v1",
)


@contextlib.contextmanager
def inside(*folders: str, limit_bytes: int | None) -> Iterator[int]:
    """A page heap with 16 MiB lazily freed in a cgroup of its own, all of it removed afterwards."""
    made = [MOUNT.joinpath(*folders[: depth + 1]) for depth in range(len(folders))]
    made = [folder for folder in made if not folder.exists()]
    for folder in made:
        folder.mkdir()
    if limit_bytes is not None:
        (made[-1] / "memory.limit_in_bytes").write_text(str(limit_bytes))
    join = f"echo $$ > {made[-1]}/cgroup.procs; exec {sys.executable} -m whyrss.lab.programs.lazyfree 16 1"
    process = subprocess.Popen(["sh", "-c", join], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline().startswith("READY")
        yield process.pid
    finally:
        process.kill()
        process.communicate()
        for folder in reversed(made):
            folder.rmdir()


def container(pid: int) -> dict[str, object] | None:
    code, out, _ = whyrss(str(pid), "--json")
    assert code == 0
    found: dict[str, object] | None = json.loads(out)["container"]
    return found


def test_a_limit_makes_it_a_container() -> None:
    with inside(f"whyrss-test-{os.getpid()}", limit_bytes=LIMIT) as pid:
        found = container(pid)
    assert found is not None
    assert (found["id"], found["runtime"], found["limit_bytes"]) == (None, None, LIMIT)
    usage, working_set = found["usage_bytes"], found["working_set_bytes"]
    assert isinstance(usage, int) and isinstance(working_set, int)
    # 16 MiB are lazily freed: in the usage, not in the working set; 1 MiB may be in the CPUs' batches.
    assert usage - working_set >= 15 << 20


def test_without_a_limit_it_is_none() -> None:
    with inside(f"whyrss-test-{os.getpid()}", limit_bytes=None) as pid:
        assert container(pid) is None


def test_a_limit_on_the_way_up_counts() -> None:
    top = f"whyrss-test-{os.getpid()}"
    (MOUNT / top).mkdir()
    try:
        (MOUNT / top / "memory.use_hierarchy").write_text("1")
        (MOUNT / top / "memory.limit_in_bytes").write_text(str(LIMIT))
        with inside(top, "below", limit_bytes=None) as pid:
            found = container(pid)
    finally:
        (MOUNT / top).rmdir()
    assert found is not None and found["limit_bytes"] == LIMIT


def test_a_pod_of_kubernetes() -> None:
    with inside("kubepods", "burstable", f"pod{POD}", ID, limit_bytes=LIMIT) as pid:
        found = container(pid)
    assert found is not None
    assert (found["id"], found["pod"], found["limit_bytes"]) == (ID, POD, LIMIT)


def test_docker() -> None:
    with inside("docker", ID, limit_bytes=None) as pid:
        found = container(pid)
    assert found is not None
    assert (found["id"], found["runtime"], found["limit_bytes"]) == (ID, "docker", None)
