"""Live processes, and everything that can be wrong with one: a clear line, exit 3, no traceback."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import whyrss
from whyrss.errors import GoneError, Missing, TargetError
from whyrss.mappings import account_by_vma
from whyrss.read.cgroup import Cgroup
from whyrss.show import text
from whyrss.snapshot import Build, Host, Process, Status, Vmas
from whyrss.sources import open_source
from whyrss.sources.files import LiveFiles
from whyrss.sources.proc import ProcSource
from whyrss.verdict import why

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc of Linux")
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to drop rights or to make a namespace")


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    environ = {"GODEBUG": "x=1", "PATH": os.environ["PATH"]}
    process = subprocess.Popen(["sleep", "600"], env=environ)
    deadline = time.monotonic() + 30
    while b"(sleep) S" not in Path(f"/proc/{process.pid}/stat").read_bytes():  # until its libraries are mapped
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield process
    process.kill()
    process.wait()


def test_a_whole_snapshot(sleeper: subprocess.Popen[bytes]) -> None:
    snapshot = open_source(str(sleeper.pid)).collect()
    assert snapshot[Process].comm == "sleep"
    assert snapshot[Process].environ["GODEBUG"] == "x=1"
    assert snapshot[Process].exe == os.path.realpath(shutil.which("sleep") or "")
    assert snapshot[Vmas].total_bytes("Rss") > 0
    assert snapshot[Vmas].residue_bytes is not None
    assert snapshot[Status].fields["Name"] == "sleep"
    assert "Max stack size" in snapshot[Status].limits
    assert snapshot[Host].kernel == os.uname().release
    assert snapshot[Host].page_bytes == os.sysconf("SC_PAGE_SIZE")
    assert not snapshot[Build].is_go
    with open(f"/proc/{sleeper.pid}/cgroup") as file:
        lines = file.read()
    cgroup = snapshot.get(Cgroup)
    assert cgroup is None or cgroup.path in lines


def test_the_sum_is_the_kernels_own(sleeper: subprocess.Popen[bytes]) -> None:
    source = ProcSource(sleeper.pid)
    vmas, rollup = source.collect()[Vmas], source.rollup()
    for field in ("Rss", "Anonymous", "LazyFree"):
        assert vmas.total_bytes(field) == rollup.total_bytes(field)


def test_no_such_process() -> None:
    code, out, err = whyrss("4194000")
    assert (code, out) == (3, "")
    assert err == "whyrss: no process 4194000; see ps -e for those that exist\n"


def test_zombie() -> None:
    process = subprocess.Popen(["true"])
    while Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
        time.sleep(0.01)
    code, out, err = whyrss(str(process.pid))
    process.wait()
    assert (code, out) == (3, "")
    assert "zombie" in err and f"its parent, PID {os.getpid()}, has to reap it" in err
    assert err.count("\n") == 1


def test_kernel_thread() -> None:
    code, _, err = whyrss("2")
    assert code == 3
    assert "kernel thread" in err and err.count("\n") == 1


def test_a_pid_that_got_another_process(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """The start time changes between the two looks: what was read belongs to nobody."""

    class Reused(LiveFiles):
        looks = 0

        def read(self, path: str, limit_bytes: int = 4 << 20) -> bytes:
            data = super().read(path, limit_bytes)
            if path.endswith("/stat"):
                self.looks += 1
                if self.looks > 1:
                    head, tail = data.rsplit(b") ", 1)
                    fields = tail.split(b" ")
                    fields[19] = b"%d" % (int(fields[19]) + 1)
                    data = head + b") " + b" ".join(fields)
            return data

    with pytest.raises(GoneError, match="ended while it was read"):
        ProcSource(sleeper.pid, Reused()).collect()


def test_another_root_of_proc(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to(str(os.getpid()))
    (tmp_path / str(sleeper.pid)).symlink_to(f"/proc/{sleeper.pid}")
    files = LiveFiles(proc=str(tmp_path))
    assert ProcSource(sleeper.pid, files).collect()[Vmas].total_bytes("Rss") > 0


@pytest.mark.parametrize("target", ["0", "99999999", "123456789012345678901234567890"])
def test_what_is_no_pid(target: str) -> None:
    code, _, err = whyrss(target)
    assert code == 2 and "is no PID" in err


def test_a_name_that_nobody_has() -> None:
    code, _, err = whyrss("no-such-name-at-all")
    assert code == 3 and "no process is named no-such-name-at-all" in err


def test_a_name_that_several_have(tmp_path: Path) -> None:
    copy = tmp_path / "manyof-it"
    shutil.copy(shutil.which("sleep") or "", copy)
    processes = [subprocess.Popen([copy, "600"]) for _ in range(2)]
    try:
        code, out, err = whyrss("manyof-it")
        assert (code, out) == (2, "")
        assert "2 processes are named manyof-it" in err
        assert all(str(process.pid) in err for process in processes)
        processes[1].kill()
        processes[1].wait()
        code, out, _ = whyrss("manyof-it")
        assert code == 0 and f"manyof-it (PID {processes[0].pid})" in out
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_list_to_choose_from_on_a_terminal(tmp_path: Path) -> None:
    import pty

    copy = tmp_path / "chooseme"
    shutil.copy(shutil.which("sleep") or "", copy)
    processes = [subprocess.Popen([copy, "600"]) for _ in range(2)]
    try:
        pid, terminal = pty.fork()
        if not pid:
            os.execv(sys.executable, [sys.executable, "-m", "whyrss", "chooseme", "--no-color"])
        shown = b""
        while b"number: " not in shown:
            shown += os.read(terminal, 4096)
        os.write(terminal, b"2\n")
        try:
            while data := os.read(terminal, 4096):
                shown += data
        except OSError:
            pass  # the other end of a terminal that closed
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert all(str(process.pid).encode() in shown for process in processes)
        assert b"chooseme (PID" in shown
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_an_empty_target() -> None:
    assert whyrss("")[0] == 2
    assert whyrss()[0] == 2


@root
def test_without_rights_over_the_process(sleeper: subprocess.Popen[bytes]) -> None:
    code, out, err = whyrss(
        str(sleeper.pid), prefix=["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    )
    assert (code, out) == (3, "")
    assert f"/proc/{sleeper.pid}/smaps: permission denied" in err and "CAP_SYS_PTRACE" in err
    assert err.count("\n") == 1


def test_without_the_environment(sleeper: subprocess.Popen[bytes]) -> None:
    class Without(LiveFiles):
        def read(self, path: str, limit_bytes: int = 4 << 20) -> bytes:
            if path.endswith("/environ"):
                raise PermissionError(13, "Permission denied", path)
            return super().read(path, limit_bytes)

    snapshot = ProcSource(sleeper.pid, Without()).collect()
    assert snapshot[Vmas].total_bytes("Rss") > 0
    with pytest.raises(Missing, match=r"environ: permission denied.*CAP_SYS_PTRACE"):
        _ = snapshot[Process].environ


def test_without_the_executable(sleeper: subprocess.Popen[bytes]) -> None:
    """The account stands, as of a program without Go, and the reason is kept."""

    class Without(LiveFiles):
        def path(self, path: str) -> str:
            return "/proc/self/no-such-file" if path.endswith("/exe") else super().path(path)

    snapshot = ProcSource(sleeper.pid, Without()).collect()
    assert snapshot[Process].exe is None
    with pytest.raises(Missing, match="exe: no such file"):
        _ = snapshot[Build]
    page = text.show(why(ProcSource(sleeper.pid, Without())))
    assert "build unknown" in page and f"Not read: /proc/{sleeper.pid}/exe: no such file" in " ".join(page.split())
    assert "heap" not in {line.name for line in account_by_vma(snapshot).root.children}


@root
def test_foreign_pid_namespace() -> None:
    """In a new PID namespace with the old /proc, numbers mean other processes than the ones shown."""
    code, out, err = whyrss("1", prefix=["unshare", "--pid", "--fork"])
    assert (code, out) == (3, "")
    assert "another PID namespace" in err and "nsenter" in err and err.count("\n") == 1


@root
def test_a_pid_of_inside_a_container() -> None:
    """The number that a container's user sees may not exist here: then say which process it is here."""
    number = next(pid for pid in range(31000, 32000) if not os.path.exists(f"/proc/{pid}"))
    script = f"echo {number - 1} > /proc/sys/kernel/ns_last_pid; sleep 600 & echo $!; wait"
    command = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]
    inner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert inner.stdout is not None
        assert inner.stdout.readline().strip() == str(number)
        code, _, err = whyrss(str(number))
        assert code == 3 and err.count("\n") == 1
        here = re.search(
            rf"inside a container {number} is the process that is seen here as (\d+) \((sh|sleep)\)", err
        )
        assert here and nspid(here[1])[-1] == str(number)
    finally:
        inner.kill()
        inner.wait()


def nspid(pid: str) -> list[str]:
    with open(f"/proc/{pid}/status") as file:
        return next(line.split()[1:] for line in file if line.startswith("NSpid:"))


def test_looking_changes_nothing(sleeper: subprocess.Popen[bytes]) -> None:
    """Rss, LazyFree and both fault counters of the target are the same after ten looks."""

    def state() -> tuple[int, int, list[str]]:
        vmas = ProcSource(sleeper.pid).collect()[Vmas]
        with open(f"/proc/{sleeper.pid}/stat") as file:
            faults = file.read().rsplit(")", 1)[1].split()[7:12]
        return vmas.total_bytes("Rss"), vmas.total_bytes("LazyFree"), faults

    before = state()
    for _ in range(10):
        assert whyrss(str(sleeper.pid))[0] == 0
    assert state() == before


def test_errors_are_target_errors() -> None:
    with pytest.raises(TargetError):
        ProcSource(4194000).collect()
