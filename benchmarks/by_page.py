"""`whyrss PID --basis page` beside a C program that asks the kernel the same of each page, and beside `pmap -X`.

The C program (page_types.c) does what the kernel's own `page-types -p` does, and knows nothing of Go. The addresses
that whyrss found in a program are in its cache, as they are from the second look at it on.  The large heap is read
with numpy.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import targets
from benchmarks.bench import PMAP, Bench, pmap
from benchmarks.report import Check, Section, skipped
from benchmarks.targets import GIB
from whyrss.errors import TargetError
from whyrss.lab import toolchain

C = "C: pagemap and kpageflags, as page-types -p"
WHYRSS = "whyrss --basis page"
HEAP_MIB, SPANS = 2048, 240_000
QUICK_MIB, QUICK_SPANS = 256, 30_000
SMALL_MIB = 100
LARGE_WALL_LIMIT, LARGE_PEAK_LIMIT_MB = 1.2, 300
SMALL_WALL_LIMIT = 4.0
MARGIN_BYTES = 2 * GIB
ROUNDS_MAX = 15


def large(bench: Bench, go_version: str) -> Section:
    mib, spans = (QUICK_MIB, QUICK_SPANS) if bench.quick else (HEAP_MIB, SPANS)
    title = f"By page: Go {go_version}, a heap of {mib:,} MiB in {spans:,} spans"
    if targets.available_bytes() < (mib << 20) + MARGIN_BYTES:
        return skipped(title, f"only {targets.available_bytes() / GIB:.1f} GiB are available")
    try:
        _install_numpy(bench)
        with _reader() as reader, _spans(go_version, mib, spans) as pid, _by_page(bench, pid) as ours:
            commands = {C: [reader, str(pid)], WHYRSS: ours, "whyrss --basis vma": bench.explain(pid)}
            section = bench.commands(title, C, commands, min(bench.rounds, ROUNDS_MAX))
    except (TargetError, FileNotFoundError, subprocess.CalledProcessError) as error:
        return skipped(title, error)
    series = section.series[WHYRSS]
    section.checks = [
        Check("wall time, whyrss to C", series.wall_ratio, LARGE_WALL_LIMIT),
        Check("peak memory of whyrss", series.peak_bytes / 1e6, LARGE_PEAK_LIMIT_MB, "MB"),
    ]
    return section


def small(bench: Bench, go_version: str) -> Section:
    title = f"By page: Go {go_version}, an HTTP server with {SMALL_MIB} MiB lazily freed"
    try:
        with targets.go_server(go_version, SMALL_MIB) as pid, _by_page(bench, pid) as ours:
            commands = {PMAP: pmap(pid), WHYRSS: ours, "whyrss --basis vma": bench.explain(pid)}
            commands["python -c pass"] = [bench.installed.python, "-c", "pass"]
            section = bench.commands(title, PMAP, commands)
    except (TargetError, FileNotFoundError) as error:
        return skipped(title, error)
    section.checks = [Check("wall time, whyrss to pmap -X", section.series[WHYRSS].wall_ratio, SMALL_WALL_LIMIT)]
    return section


def _install_numpy(bench: Bench) -> None:
    """The wheel is installed without what it may use."""
    pip = [sys.executable, "-m", "pip", "--python", bench.installed.python, "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "-q", "--no-deps", "numpy"], check=True)


@contextlib.contextmanager
def _by_page(bench: Bench, pid: int) -> Iterator[list[str]]:
    """The command, with a cache folder of its own that knows the program."""
    with tempfile.TemporaryDirectory(prefix="whyrss-bench-") as cache:
        argv = ["/usr/bin/env", f"XDG_CACHE_HOME={cache}", bench.installed.whyrss, str(pid), "--basis", "page"]
        bench.launcher.run(argv)
        yield argv


@contextlib.contextmanager
def _reader() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="whyrss-bench-") as folder:
        program = Path(folder) / "page_types"
        source = Path(__file__).with_name("page_types.c")
        subprocess.run(["gcc", "-O2", "-o", program, source], check=True)
        yield str(program)


@contextlib.contextmanager
def _spans(go_version: str, mib: int, spans: int) -> Iterator[int]:
    program = toolchain.build(toolchain.find(go_version), Path(__file__).with_name("spans.go"))
    with targets._running([str(program), str(mib), str(spans)]) as pid:
        yield pid
