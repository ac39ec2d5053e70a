"""Holds every thread of a process still while its memory is read, by ptrace(2).

PTRACE_SEIZE and PTRACE_INTERRUPT (Linux 3.4) need no signal: the parent is told nothing, and what was stopped before
stays stopped. The tracer is a thread of its own, since the kernel lets everything go that a thread traced when it
ends (kernel/ptrace.c, exit_ptrace): also when this program is killed, and also what never came to a stop. The stops
are looked at with WNOWAIT, so that the kernel keeps the signal that each of them has interrupted, and delivers it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from errno import EPERM, ESRCH
from functools import cache

from whyrss.errors import FormatError, GoneError, RefusedError, WhyrssError
from whyrss.read.status import parse_status
from whyrss.sources.files import read_file

# include/uapi/linux/ptrace.h, the same on every architecture
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WALL = 0x40000000  # __WALL, include/uapi/linux/wait.h
EVENT_SHIFT = 8  # a stop's status is its signal, and above it the event; a signal on its way has none (ptrace(2))
THREADS_MAX = 10_000
STOP_MAX_S = 2.0
POLL_S = 0.0002
# A terminal's Ctrl-Z would stop this program, and with it a target that waits to be let go.
TERMINAL_STOPS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Held:
    """The section of a snapshot that says for how long the target was held, in seconds, in that many stops."""

    __slots__ = ("seconds", "stops")

    def __init__(self) -> None:
        self.seconds = 0.0
        self.stops = 0

    def add(self, seconds: float) -> None:
        self.seconds += seconds
        self.stops += 1


class Frozen:
    """A context manager, good for once: inside of it no thread of the process runs. Afterwards `held_s` is how many
    seconds passed from the first thread's stop until the last one went on, and they are in `held`.

    Raises RefusedError where the kernel does not allow it, where the process is traced already, has more than
    10,000 threads or does not stop within 2 s (all of it goes on then), and GoneError where there is none.
    """

    def __init__(self, pid: int, held: Held | None = None) -> None:
        self.pid = pid
        self.held_s = 0.0
        self._held = held or Held()
        self._trouble: Exception | None = None
        self._begun, self._over = threading.Event(), threading.Event()
        self._tracer = threading.Thread(target=self._hold, daemon=True)
        self._mask: set[int] = set()

    def __enter__(self) -> Frozen:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL_STOPS)
        try:
            self._tracer.start()
            self._begun.wait()
            if self._trouble:
                raise self._trouble
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        self._over.set()
        if self._tracer.ident is not None:
            self._tracer.join()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _hold(self) -> None:
        """The tracer's whole life."""
        threads = _Threads(self.pid)
        try:
            threads.stop()
            self._begun.set()
            self._over.wait()
        except Exception as error:
            self._trouble = error
        finally:
            self.held_s = threads.release()
            self._held.add(self.held_s)
            self._begun.set()


class _Threads:
    """The threads of a process, as the thread that traces them sees them."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._known: set[int] = set()
        self._waited_for: set[int] = set()
        self._stopped: dict[int, int] = {}  # by thread: the signal that it goes on with, or 0
        self._since: float | None = None

    def stop(self) -> None:
        """All of them. One that still ran may have started others, hence until no new one is there."""
        deadline = time.monotonic() + STOP_MAX_S
        while new := self._present() - self._known:
            for thread in sorted(new):
                self._seize(thread)
            self._await(deadline)
        if not self._stopped:
            raise GoneError(f"process {self._pid} ended before it was stopped")

    def release(self) -> float:
        """Lets go of what has stopped; of the rest, the end of this thread. Returns the seconds since the first
        was stopped."""
        for thread, number in self._stopped.items():
            _ptrace(PTRACE_DETACH, thread, number)
        return time.monotonic() - self._since if self._since is not None else 0.0

    def _present(self) -> set[int]:
        try:
            found = {int(name) for name in os.listdir(f"/proc/{self._pid}/task")}
        except (FileNotFoundError, ProcessLookupError):
            raise GoneError(f"no process {self._pid}") from None
        if len(found | self._known) > THREADS_MAX:
            raise RefusedError(f"process {self._pid} has more than {THREADS_MAX} threads, too many to stop")
        return found

    def _seize(self, thread: int) -> None:
        self._known.add(thread)
        error = _ptrace(PTRACE_SEIZE, thread)
        if error == ESRCH or (error and self._has_ended(thread)):
            return
        if error:
            raise self._refusal(thread, error)
        if self._since is None:
            self._since = time.monotonic()
        _ptrace(PTRACE_INTERRUPT, thread)
        self._waited_for.add(thread)

    def _await(self, deadline: float) -> None:
        while True:
            self._waited_for = {thread for thread in self._waited_for if not self._is_still(thread)}
            if time.monotonic() > deadline:
                raise RefusedError(f"process {self._pid} did not stop within {STOP_MAX_S:.0f} s, and goes on")
            if not self._waited_for:
                return
            time.sleep(POLL_S)

    def _is_still(self, thread: int) -> bool:
        """Whether it has stopped, or ended."""
        try:
            found = os.waitid(os.P_PID, thread, os.WSTOPPED | os.WNOHANG | os.WNOWAIT | WALL)
        except ChildProcessError:
            return True
        if found is None:
            return self._has_ended(thread)
        self._stopped[thread] = 0 if found.si_status >> EVENT_SHIFT else found.si_status
        return True

    def _has_ended(self, thread: int) -> bool:
        return self._field(thread, "State")[:1] in ("", "Z", "X")

    def _refusal(self, thread: int, error: int) -> WhyrssError:
        tracer = self._field(thread, "TracerPid")  # a thread's ID
        if error == EPERM and tracer not in ("", "0"):
            tracer = _field(f"/proc/{tracer}/status", "Tgid") or tracer
            return RefusedError(
                f"process {self._pid} is traced by process {tracer} already (TracerPid)",
                "only one at a time can stop a process by ptrace; end that one first",
            )
        return RefusedError(
            f"process {self._pid} cannot be stopped by ptrace: {os.strerror(error).lower()}",
            "needs CAP_SYS_PTRACE, or the same user where kernel.yama.ptrace_scope is 0",
        )

    def _field(self, thread: int, name: str) -> str:
        return _field(f"/proc/{self._pid}/task/{thread}/status", name)


def _field(path: str, name: str) -> str:
    """A field of the status of a thread; empty where there is no such thread any more."""
    try:
        return parse_status(read_file(path, 1 << 16)).get(name, "")
    except (OSError, FormatError):
        return ""


def _ptrace(request: int, thread: int, data: int = 0) -> int:
    """0, or the errno."""
    done = _libc().ptrace(ctypes.c_long(request), ctypes.c_long(thread), ctypes.c_void_p(0), ctypes.c_void_p(data))
    return ctypes.get_errno() if done else 0


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
