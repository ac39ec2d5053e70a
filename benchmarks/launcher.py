"""Runs whole commands from a small parent, and says what each cost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.rounds import Sample

# What the commands see: nothing of the caller's environment that changes how Python starts.
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/"}

_IN_PYTHON = """
import os, sys, time
null = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
begin = time.monotonic_ns()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=null)
_, status, used = os.wait4(pid, 0)
wall = time.monotonic_ns() - begin
print(wall, round((used.ru_utime + used.ru_stime) * 1e6), used.ru_maxrss, status)
"""


class Launcher:
    """`peak_floor` says in words what the peak memory of a command cannot fall below; empty: nothing."""

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        self.peak_floor = "" if compiler else "no C compiler: peaks are at least those of a bare Python"
        self._argv = [sys.executable, "-I", "-S", "-c", _IN_PYTHON]
        if compiler:
            source = Path(__file__).with_name("launch.c")
            self._argv = [str(folder / "launch")]
            subprocess.run([compiler, "-O2", "-o", *self._argv, source], check=True)

    def run(self, argv: Sequence[str]) -> Sample:
        """One run of the command. Raises RuntimeError where it fails."""
        done = subprocess.run(
            [*self._argv, *argv],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        wall_ns, cpu_us, peak_kib, status = map(int, done.stdout.split())
        if status:
            code = os.waitstatus_to_exitcode(status)
            raise RuntimeError(f"{' '.join(argv)} ended with {code}: {done.stderr.strip()[:500]}")
        return Sample(wall_ns / 1e6, cpu_us / 1e3, peak_kib << 10)
