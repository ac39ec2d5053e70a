"""A process that is held: nothing of it runs meanwhile, all of it goes on afterwards, whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import jsonschema
import pytest

from tests import support
from tests.cli import whyrss
from tests.live.cli import assert_sums
from whyrss.errors import GoneError, RefusedError, UsageError
from whyrss.goheap import heap as heap_module
from whyrss.goheap.heap import Heap
from whyrss.lab import toolchain
from whyrss.sources import freeze, goheap, open_source
from whyrss.sources.freeze import PTRACE_INTERRUPT, Frozen, Held
from whyrss.sources.proc import ProcSource
from whyrss.verdict import account_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stops a process of Linux")
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to drop rights")

HERE = Path(__file__).parent.parent
SCHEMA = json.loads((HERE.parent / "docs" / "whyrss-1.schema.json").read_text())
BUSY = HERE / "goheap" / "programs" / "busy.go"
VERSIONS = ("1.15", "1.24", "1.27")

# Its threads count how often they wake, and its main thread signals; it answers one line to one.
TARGET = """
import os, signal, sys, threading, time
signals, beats = 0, []
def count(*_):
    global signals
    signals += 1
def beat():
    number = len(beats)
    beats.append(0)
    while True:
        beats[number] += 1
        time.sleep(0.001)
def obey():
    for line in sys.stdin:
        if line == "thread\\n":
            threading.Thread(target=beat, daemon=True).start()
        print({"signals\\n": signals, "beats\\n": sum(beats)}.get(line, line.strip()), flush=True)
    os._exit(0)
signal.signal(signal.SIGUSR1, count)
for _ in range(int(sys.argv[1])):
    threading.Thread(target=beat, daemon=True).start()
threading.Thread(target=obey, daemon=True).start()
print("READY {}", flush=True)
beat()
"""

# Holds the process of that PID until it is killed.
HOLDER = """
import sys, time
from whyrss.sources.freeze import Frozen
with Frozen(int(sys.argv[1])):
    print("HELD", flush=True)
    time.sleep(600)
"""

# The same, but the first thread is stopped in the middle of being given a signal.
HOLDER_WITHIN_A_SIGNAL = """
import os, signal, time
from whyrss.sources import freeze
real = freeze._ptrace
def ptrace(request, thread, data=0):
    if request == freeze.PTRACE_INTERRUPT and thread == int(sys.argv[1]):
        os.kill(thread, signal.SIGUSR1)
        while open(f"/proc/{thread}/stat").read().rpartition(")")[2].split()[0] != "t":
            time.sleep(0.001)
    return real(request, thread, data)
freeze._ptrace = ptrace
"""


@pytest.fixture
def target() -> Iterator[support.Program]:
    with support.running([sys.executable, "-c", TARGET, "3"]) as running:
        yield running


def states(pid: int) -> dict[int, str]:
    """The state of each thread, as the kernel says it."""
    tasks = Path(f"/proc/{pid}/task")
    return {int(task.name): (task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()}


def held_threads(pid: int) -> set[int]:
    return {thread for thread, state in states(pid).items() if state == "t"}


def traced(pid: int) -> bool:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return any("TracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + support.HUNG_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def assert_goes_on(target: support.Program) -> None:
    """Nothing traces it, and each of its threads works: it answers, counts, and is given signals."""
    await_that(lambda: not traced(target.pid))
    assert not held_threads(target.pid)
    beats, signals = int(target.ask("beats")), int(target.ask("signals"))
    os.kill(target.pid, signal.SIGUSR1)
    await_that(lambda: int(target.ask("signals")) == signals + 1)
    await_that(lambda: int(target.ask("beats")) > beats)


@contextlib.contextmanager
def holder(pid: int, before: str = "", end: int = signal.SIGKILL) -> Iterator[int]:
    """The PID of a process that holds that one, until it gets the signal `end`."""
    argv = [sys.executable, "-c", f"import sys\n{before}{HOLDER}", str(pid)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout and process.stdout.readline() == "HELD\n"
        yield process.pid
    finally:
        process.send_signal(end)
        process.communicate(timeout=support.HUNG_SECONDS)


# Held and let go


def test_every_thread_stands_still_and_then_goes_on(target: support.Program) -> None:
    for _ in range(20):
        with Frozen(target.pid) as frozen:
            assert set(states(target.pid).values()) == {"t"}
            assert len(states(target.pid)) == 5
            before = Path(f"/proc/{target.pid}/schedstat").read_text()
            time.sleep(0.01)
            assert Path(f"/proc/{target.pid}/schedstat").read_text() == before
        assert frozen.held_s >= 0.01
        assert_goes_on(target)


def test_a_thread_that_starts_meanwhile_is_held_too(target: support.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts when the first thread is about to be stopped, and the threads have been counted."""
    real = freeze._ptrace

    def ptrace(request: int, thread: int, data: int = 0) -> int:
        if request == PTRACE_INTERRUPT and thread == target.pid:
            assert target.ask("thread") == "thread"
        return real(request, thread, data)

    monkeypatch.setattr(freeze, "_ptrace", ptrace)
    with Frozen(target.pid):
        assert list(states(target.pid).values()) == ["t"] * 6
    assert_goes_on(target)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_goes_on_when_the_holder_is_killed(target: support.Program, number: int) -> None:
    with holder(target.pid, end=number):
        assert len(held_threads(target.pid)) == 5
    assert_goes_on(target)


def test_it_goes_on_when_whyrss_is_killed() -> None:
    """As soon as a thread is seen to be held: others are not stopped yet then, or all are, or all have just been let
    go."""
    seen = 0
    with support.running([busy("1.27")]) as running:
        for _ in range(10):
            argv = [sys.executable, "-m", "whyrss", str(running.pid), "--freeze"]
            with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as looking:
                while not (held := held_threads(running.pid)) and looking.poll() is None:
                    pass
                looking.kill()
            seen += bool(held)
            await_that(lambda: not traced(running.pid) and not held_threads(running.pid))
            before = cpu_ticks(running.pid)
            await_that(lambda: cpu_ticks(running.pid) > before)  # noqa: B023
    assert seen


def test_it_goes_on_after_an_error(target: support.Program) -> None:
    with pytest.raises(ZeroDivisionError), Frozen(target.pid):
        _ = 1 // 0
    assert_goes_on(target)


def test_a_stop_by_the_terminal_waits() -> None:
    """Ctrl-Z would leave the target held until whyrss goes on."""
    program = (
        "import os, signal, sys\n"
        "from whyrss.sources.freeze import Frozen\n"
        "signal.signal(signal.SIGTSTP, lambda *_: print('stopped'))\n"
        "with Frozen(int(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGTSTP)\n"
        "    print('held')\n"
        "print('let go')\n"
    )
    with support.running([sys.executable, "-c", TARGET, "1"]) as target:
        done = subprocess.run(
            [sys.executable, "-c", program, str(target.pid)], capture_output=True, text=True, check=True
        )
    assert done.stdout.split("\n")[:2] == ["held", "stopped"]


# Signals


def test_signals_that_come_while_it_is_held_are_given_to_it(target: support.Program) -> None:
    for number in range(50):
        with Frozen(target.pid):
            os.kill(target.pid, signal.SIGUSR1)
        await_that(lambda: int(target.ask("signals")) == number + 1)  # noqa: B023


def test_a_signal_on_its_way_is_given_to_it(target: support.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread is traced when the signal comes, and not yet interrupted: it stops in the signal's delivery."""
    real = freeze._ptrace

    def ptrace(request: int, thread: int, data: int = 0) -> int:
        if request == PTRACE_INTERRUPT and thread == target.pid:
            os.kill(thread, signal.SIGUSR1)
            await_that(lambda: states(target.pid)[thread] == "t")
        return real(request, thread, data)

    monkeypatch.setattr(freeze, "_ptrace", ptrace)
    for number in range(5):
        with Frozen(target.pid):
            pass
        await_that(lambda: int(target.ask("signals")) == number + 1)  # noqa: B023


def test_a_signal_on_its_way_is_given_to_it_when_the_holder_is_killed(target: support.Program) -> None:
    with holder(target.pid, HOLDER_WITHIN_A_SIGNAL):
        assert len(held_threads(target.pid)) == 5
    await_that(lambda: int(target.ask("signals")) == 1)
    assert_goes_on(target)


def test_what_was_stopped_stays_stopped(target: support.Program) -> None:
    os.kill(target.pid, signal.SIGSTOP)
    await_that(lambda: set(states(target.pid).values()) == {"T"})
    with Frozen(target.pid):
        assert set(states(target.pid).values()) == {"t"}
    await_that(lambda: set(states(target.pid).values()) == {"T"})
    with Frozen(target.pid):
        os.kill(target.pid, signal.SIGCONT)
    assert_goes_on(target)


def test_a_stop_while_it_is_held_comes_afterwards(target: support.Program) -> None:
    with Frozen(target.pid):
        os.kill(target.pid, signal.SIGSTOP)
    await_that(lambda: set(states(target.pid).values()) == {"T"})
    os.kill(target.pid, signal.SIGCONT)
    assert_goes_on(target)


def test_its_parent_is_told_nothing() -> None:
    """SIGCHLD would come for a child that is stopped by a signal, or goes on."""
    program = (
        "import signal, subprocess, sys\n"
        "told = []\n"
        "signal.signal(signal.SIGCHLD, lambda *_: told.append(1))\n"
        "child = subprocess.Popen(['sleep', '600'])\n"
        "print(f'READY {child.pid}', flush=True)\n"
        "for line in sys.stdin: print(len(told), flush=True)\n"
    )
    with support.running([sys.executable, "-c", program]) as parent:
        child = int(str(parent.ready))
        try:
            for _ in range(3):
                with Frozen(child):
                    assert held_threads(child) == {child}
            assert parent.ask("told") == "0"
            os.kill(child, signal.SIGSTOP)
            await_that(lambda: parent.ask("told") == "1")
        finally:
            os.kill(child, signal.SIGKILL)


def test_it_may_be_killed_while_it_is_held(target: support.Program) -> None:
    """And its parent learns how it ended."""
    with Frozen(target.pid):
        os.kill(target.pid, signal.SIGKILL)
        await_that(lambda: set(states(target.pid).values()) == {"Z"})
    assert target.process.wait(support.HUNG_SECONDS) == -signal.SIGKILL


# Refused


def test_a_process_that_is_traced_already(target: support.Program) -> None:
    with holder(target.pid) as pid:
        with pytest.raises(RefusedError, match=f"traced by process {pid} already"):
            Frozen(target.pid).__enter__()
        assert len(held_threads(target.pid)) == 5
    assert_goes_on(target)


@root
def test_without_the_right(target: support.Program) -> None:
    program = f"from whyrss.sources.freeze import Frozen\nFrozen({target.pid}).__enter__()"
    argv = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program]
    with support.running([*argv[:3], "--reuid=65534", "--clear-groups", "sh", "-c", "echo READY; read end"]) as other:
        program = program.replace(str(target.pid), str(other.pid))
        done = subprocess.run([*argv[:-1], program], capture_output=True, text=True, check=False)
        assert not traced(other.pid)
    assert "RefusedError" in done.stderr and "CAP_SYS_PTRACE" in done.stderr


def test_itself() -> None:
    with pytest.raises(RefusedError, match="operation not permitted"):
        Frozen(os.getpid()).__enter__()
    assert not traced(os.getpid())


def test_no_such_process() -> None:
    process = subprocess.Popen(["true"])
    await_that(lambda: states(process.pid) == {process.pid: "Z"})
    with pytest.raises(GoneError, match="ended"):
        Frozen(process.pid).__enter__()
    process.wait()
    with pytest.raises(GoneError, match=f"no process {process.pid}"):
        Frozen(process.pid).__enter__()


def test_too_many_threads(target: support.Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze, "THREADS_MAX", 4)
    with pytest.raises(RefusedError, match="more than 4 threads"):
        Frozen(target.pid).__enter__()
    assert_goes_on(target)


def test_a_process_that_does_not_stop_is_let_go() -> None:
    """The parent of vfork(2) waits in the kernel for its child, and only SIGKILL gets it out of there."""
    program = (
        "import ctypes, os, time\n"
        "print('READY {}', flush=True)\n"
        "parent = os.getpid()\n"
        "if not ctypes.CDLL(None).vfork():\n"
        "    while os.path.exists(f'/proc/{parent}/exe') and os.getppid() == parent: time.sleep(0.01)\n"
        "    os._exit(0)\n"
    )
    with support.running([sys.executable, "-c", program]) as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        await_that(lambda: bool(children.read_text()))
        with pytest.raises(RefusedError, match="did not stop within 2 s"):
            Frozen(running.pid).__enter__()
        await_that(lambda: not traced(running.pid))


# The account


def busy(version: str) -> Path:
    support.needs_linux()
    return toolchain.build(toolchain.find(version), BUSY)


def cpu_ticks(pid: int) -> int:
    """utime and stime (proc_pid_stat(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("version", VERSIONS)
def test_a_held_reading_is_consistent_every_time(version: str) -> None:
    with support.running([busy(version)]) as running:
        for _ in range(20):
            before = cpu_ticks(running.pid)
            snapshot = ProcSource(running.pid, basis="page", freeze=True).collect()
            heap = snapshot[Heap]
            assert (heap.consistent, heap.residue_bytes) == (True, 0)
            assert snapshot[Held].seconds > 0 and snapshot[Held].stops >= 1
            account = account_for(snapshot)
            assert (account.basis, account.residue_bytes) == ("page", 0)
            await_that(lambda: cpu_ticks(running.pid) > before)  # noqa: B023


def test_a_moment_in_the_middle_of_an_allocation_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program is held again, and the times are added up."""
    real, torn = heap_module.read_heap, [True, True, False]

    def read_heap(*arguments: object) -> Heap:
        heap = real(*arguments)  # type: ignore[arg-type]
        heap.consistent = not torn.pop(0)
        return heap

    monkeypatch.setattr(goheap, "read_heap", read_heap)
    with support.running([busy("1.27")]) as running:
        snapshot = ProcSource(running.pid, basis="page", freeze=True).collect()
    assert (snapshot[Held].stops, torn) == (3, [])
    assert snapshot[Heap].consistent


def test_the_page_says_for_how_long_and_the_document_has_no_more_keys() -> None:
    with support.running([busy("1.27")]) as running:
        code, out, err = whyrss(str(running.pid), "--freeze")
        assert (code, err) == (0, "")
        held = " ".join(out.split()).partition("by page, held for ")[2].split()
        assert int(held[0]) >= 1 and held[1] == "ms"
        code, out, err = whyrss(str(running.pid), "--freeze", "--json", "--basis", "page")
        assert (code, err) == (0, "")
        document = json.loads(out)
        assert "held" not in whyrss(str(running.pid))[1]
    jsonschema.validate(document, SCHEMA)
    assert_sums(document)
    assert (document["basis"], document["residue_bytes"]) == ("page", 0)


def test_a_program_without_go_is_not_held(target: support.Program) -> None:
    code, out, err = whyrss(str(target.pid), "--freeze")
    assert (code, err) == (0, "")
    assert "held" not in out


def test_a_refusal_is_one_line() -> None:
    with support.running([busy("1.27")]) as running, holder(running.pid) as pid:
        code, out, err = whyrss(str(running.pid), "--freeze")
    assert (code, out, err.count("\n")) == (4, "", 1)
    assert f"traced by process {pid} already" in err


def test_only_by_page_and_only_live() -> None:
    recording = str(HERE / "recordings" / "healthy")
    with pytest.raises(UsageError, match="is a recording"):
        open_source(recording, freeze=True)
    for arguments in ([recording], [str(os.getpid()), "--basis", "vma"]):
        code, out, err = whyrss(*arguments, "--freeze")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "--freeze" in err


def test_the_help_says_that_it_stops_the_target() -> None:
    out = " ".join(whyrss("--help")[1].split())
    assert "--freeze stop a Go program" in out
    assert "only --freeze stops it" in out
