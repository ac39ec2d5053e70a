"""whyrss as a command with a bound on its own memory and processor time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence

from tests.live.cli import HUNG_SECONDS

OWN_MEMORY_MAX_BYTES = 300 << 20
OWN_CPU_MAX_SECONDS = 10.0

# A small parent: the peak that the kernel keeps of a child begins with that of the one that forked it (fs/exec.c,
# exec_mmap), which is not to be this test's.
_PARENT = """
import os, sys
out = int(sys.argv[1])
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(pid, 0)
os.write(out, b"%d %d" % (used.ru_maxrss << 10, (used.ru_utime + used.ru_stime) * 1000))
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""


class Run:
    """What a run printed, and what it took: the peak of its memory, and its processor time."""

    def __init__(self, code: int, out: str, err: str, peak_bytes: int, cpu_ms: int) -> None:
        self.code = code
        self.out = out
        self.err = err
        self.peak_bytes = peak_bytes
        self.cpu_ms = cpu_ms

    @property
    def words(self) -> str:
        """stdout on one line: the text view folds its sentences."""
        return " ".join(self.out.split())


def whyrss(*args: str | int, env: Mapping[str, str] | None = None, under: Sequence[str] = ()) -> Run:
    """A run of `whyrss ARGS` within the bounds, and without a traceback; `under` is a command that starts it."""
    readable, writable = os.pipe()
    command = [*under, sys.executable, "-m", "whyrss", *map(str, args)]
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PARENT, str(writable), *command],
            env=os.environ | dict(env or {}),
            pass_fds=[writable],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=HUNG_SECONDS,
            check=False,
        )
        peak_bytes, cpu_ms = map(int, os.read(readable, 100).split())
    finally:
        os.close(readable)
        os.close(writable)
    run = Run(done.returncode, done.stdout, done.stderr, peak_bytes, cpu_ms)
    assert "Traceback" not in run.err, run.err
    assert run.peak_bytes <= OWN_MEMORY_MAX_BYTES, run.peak_bytes
    assert run.cpu_ms <= OWN_CPU_MAX_SECONDS * 1000, run.cpu_ms
    return run
