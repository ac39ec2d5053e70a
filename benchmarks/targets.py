"""The processes that are looked at; each is ended in every case."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from whyrss.lab import toolchain
from whyrss.lab.causes import EXPERIMENTS

GIB = 1 << 30

_ANONYMOUS = """
import mmap, sys
size = int(sys.argv[1])
memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, size, mmap.PAGESIZE):
    memory[at] = 1
print("READY", flush=True)
sys.stdin.read()
"""

# Neighbours with different rights cannot be merged (mm/vma.c: can_vma_merge_before).
_MANY_VMAS = """
import ctypes, mmap, sys
count = int(sys.argv[1])
memory = mmap.mmap(-1, count * mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
mprotect = ctypes.CDLL(None, use_errno=True).mprotect
for at in range(0, count, 2):
    memory[at * mmap.PAGESIZE] = 1
    place = ctypes.c_void_p(start + at * mmap.PAGESIZE)
    if mprotect(place, ctypes.c_size_t(mmap.PAGESIZE), mmap.PROT_READ):
        raise OSError(ctypes.get_errno(), "mprotect")
print("READY", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def go_lazyfree(version: str, mib: int) -> Iterator[int]:
    """The PID of a program of that Go that dropped `mib` MiB. Raises TargetError where no such Go can be had."""
    experiment = EXPERIMENTS["lazyfree"]
    go = toolchain.find(version)
    program = toolchain.build(go, Path(experiment.go_source))
    environ = experiment.environ(toolchain.go_version(go).split()[2], mib)
    with _running([str(program), str(mib)], environ) as pid:
        yield pid


@contextlib.contextmanager
def go_server(version: str, mib: int) -> Iterator[int]:
    """Like go_lazyfree, but an HTTP server linked with C, as most Go services are. Needs a C compiler."""
    go = toolchain.find(version)
    program = toolchain.build(go, Path(__file__).with_name("server.go"), env={"CGO_ENABLED": "1"})
    environ = EXPERIMENTS["lazyfree"].environ(toolchain.go_version(go).split()[2], mib)
    with _running([str(program), str(mib)], environ) as pid:
        yield pid


@contextlib.contextmanager
def anonymous(size_bytes: int) -> Iterator[int]:
    """The PID of a process with that much resident private memory, in base pages."""
    with _running([sys.executable, "-c", _ANONYMOUS, str(size_bytes)]) as pid:
        yield pid


@contextlib.contextmanager
def many_vmas(count: int) -> Iterator[int]:
    """The PID of a process with `count` mappings of one page, and its own."""
    with _running([sys.executable, "-c", _MANY_VMAS, str(count)]) as pid:
        yield pid


def available_bytes() -> int:
    """MemAvailable of /proc/meminfo."""
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) << 10
    return 0


@contextlib.contextmanager
def _running(argv: Sequence[str], environ: dict[str, str] | None = None) -> Iterator[int]:
    dropped = ("GODEBUG", "GOGC", "GOMEMLIMIT")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    with subprocess.Popen(
        argv, env=kept | (environ or {}), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            if not process.stdout.readline().startswith("READY"):
                raise RuntimeError(f"{argv[0]} ended before it was ready")
            yield process.pid
        finally:
            process.kill()
