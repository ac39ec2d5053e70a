"""The model of Go's page heap beside a C program that makes the same calls, and how much memory it takes itself."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.report import Check, Section

GIB = 1 << 30
SPEED_LIMIT = 20.0
OWN_LIMIT_MB = 100.0
C = "C: the same mmap, touch and madvise"
MODEL = "the model: allocate, collect, free"

_RUN = """
import sys
from whyrss.lab.model.runtime import Runtime
from whyrss.lab.model.settings import Settings
from whyrss.policy import GoVersion
total = int(sys.argv[1])
with Runtime(Settings(GoVersion.parse("go1.24"))) as runtime:
    for power in range(13, 21):
        runtime.allocate(total // 8, 1 << power)
    runtime.drop()
    runtime.free_os_memory()
"""

_OWN = """
import sys
from whyrss.lab.model.runtime import Runtime
from whyrss.lab.model.settings import Settings
from whyrss.policy import GoVersion
total = int(sys.argv[1])
with Runtime(Settings(GoVersion.parse("go1.24"), {}, -1)) as runtime:
    for power in range(13, 21):
        runtime.allocate(total // 8, 1 << power)
    heap_bytes = runtime.heap.memory.kernel_figures()["Rss"]
    with open("/proc/self/smaps_rollup") as file:
        rss_bytes = next(int(line.split()[1]) << 10 for line in file if line.startswith("Rss:"))
    print(heap_bytes, rss_bytes)
"""


def run(bench: Bench) -> Section:
    total = GIB // 4 if bench.quick else GIB
    with tempfile.TemporaryDirectory(prefix="whyrss-bench-") as folder:
        program = Path(folder) / "page_heap"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True)
        commands = {C: [str(program), str(total)], MODEL: [bench.installed.python, "-c", _RUN, str(total)]}
        section = bench.commands(f"The lab's page heap: {total / GIB:g} GiB of 8 KiB to 1 MiB", C, commands, 7)
    section.checks = [Check("CPU time, the model to C", section.series[MODEL].cpu_ratio, SPEED_LIMIT)]
    held = GIB if bench.quick else 4 * GIB
    heap_bytes, rss_bytes = _own(bench, held)
    own_mb = (rss_bytes - heap_bytes) / 1e6
    section.checks.append(
        Check(f"its own memory beside {heap_bytes / GIB:.2f} GiB of heap", own_mb, OWN_LIMIT_MB, "MB")
    )
    return section


def _own(bench: Bench, held: int) -> tuple[int, int]:
    """(RSS of the model's arenas, RSS of the whole process) in bytes while it holds so much."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    argv = [bench.installed.python, "-c", _OWN, str(held)]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    heap_bytes, rss_bytes = map(int, done.stdout.split())
    return heap_bytes, rss_bytes
