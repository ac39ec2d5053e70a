"""One live process looked at by page, and how far that is from what the kernel and the process itself say.

A process moves while it is looked at.  So both are asked before and after, and an error is the distance to the
nearer of the two where a figure is not between them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from whyrss.errors import WhyrssError
from whyrss.goheap.heap import Heap
from whyrss.sources.proc import ProcSource

SOURCE = Path(__file__).resolve().parent.parent / "src"
KIB = 1 << 10
COMPARED = ("HeapInuse", "HeapIdle", "HeapReleased", "StackInuse", "MSpanInuse", "GCSys", "BuckHashSys")

# (fraction of RSS or of the figure, bytes): an error may be as large as the larger of both.
SUM = (0.001, 0)
UNATTRIBUTED = (0.001, 64 * KIB)
GUESSED = (0.01, 0)
MEMSTATS = (0.005, 128 * KIB)
LAZYFREE = (0.0, 64 * KIB)

# runtime/mem_linux.go: up to Go 1.15 memory is freed with MADV_FREE (debug.madvdontneed is 0).
LAST_MINOR_WITH_LAZYFREE = 15

Figures = Mapping[str, Any]
Range = tuple[int, int]


class Looked:
    """What was found, and the errors, in bytes."""

    def __init__(self, document: Figures, rss: Range, lazyfree: Range, stats: tuple[Figures, Figures] | None) -> None:
        self.document = document
        self.go = str(document["process"]["go_version"] or "").removeprefix("go")
        self.rss_bytes = int(document["rss_bytes"])
        self.sum_error = distance(self.rss_bytes, rss)
        self.unattributed = int(document["unattributed_bytes"])
        self.guessed = self.line("runtime/guessed")
        self.c = self.line("c")
        self.residue = document["residue_bytes"]
        self.lazyfree_error = self._lazyfree_error(lazyfree)
        self.memstats_errors = self._memstats_errors(stats) if stats else {}
        self.limits_bytes = self._limits(stats)
        self.tries, self.consistent = 0, False
        self.cold_seconds = self.warm_seconds = 0.0

    def line(self, path: str) -> int:
        """The bytes of a line of the account ("heap/released"); 0 where it has none."""
        at = self.document["account"]
        for name in path.split("/"):
            at = next((child for child in at["children"] if child["name"] == name), None)
            if at is None:
                return 0
        return int(at["bytes"])

    def misses(self, has_c: bool) -> Iterator[str]:
        """Every limit that is missed, in words; `has_c` is whether there may be memory of C at all."""
        errors = {"sum": self.sum_error, "unattributed": self.unattributed, "guessed": self.guessed}
        errors |= self.memstats_errors
        if self.lazyfree_error is not None:
            errors["lazyfree"] = self.lazyfree_error
        for name, error in errors.items():
            if abs(error) > self.limits_bytes[name]:
                yield f"{name} {error / KIB:+.0f} KiB, limit {self.limits_bytes[name] / KIB:.0f} KiB"
        if self.c and not has_c:
            yield f"{self.c / KIB:.0f} KiB in c, and there is no C"

    def _lazyfree_error(self, lazyfree: Range) -> int | None:
        minor = re.match(r"1\.(\d+)", self.go)
        if not minor or int(minor[1]) > LAST_MINOR_WITH_LAZYFREE:
            return None
        return distance(self.line("heap/released/lazyfree"), lazyfree)

    def _memstats_errors(self, stats: tuple[Figures, Figures]) -> dict[str, int]:
        found = self.document["memstats"] or {}
        between = {name: (int(stats[0][name]), int(stats[1][name])) for name in COMPARED}
        return {name: distance(int(found.get(name) or 0), between[name]) for name in COMPARED}

    def _limits(self, stats: tuple[Figures, Figures] | None) -> dict[str, float]:
        of_rss = {"sum": SUM, "unattributed": UNATTRIBUTED, "guessed": GUESSED, "lazyfree": LAZYFREE}
        limits = {name: max(part * self.rss_bytes, least) for name, (part, least) in of_rss.items()}
        part, least = MEMSTATS
        return limits | {name: max(part * stats[1][name], least) for name in COMPARED if stats}


def distance(figure: int, between: Range) -> int:
    """How far a figure lies outside of a range whose ends may come in either order; 0 inside."""
    low, high = sorted(between)
    return min(figure - low, 0) or max(figure - high, 0)


def look(pid: int, ask: Callable[[], Figures] | None = None) -> Looked:
    """`whyrss PID --basis page` beside smaps and what `ask` returns: the process's own runtime.MemStats.

    Raises RuntimeError where there is no account by page.
    """
    with tempfile.TemporaryDirectory(prefix="whyrss-cache-") as cache:
        _, cold_seconds = explain(pid, cache)
        stats_before = ask() if ask else {}
        before = smaps_bytes(pid)
        document, warm_seconds = explain(pid, cache)
        after = smaps_bytes(pid)
        stats_after = ask() if ask else {}
    rss, lazyfree = ((before[field], after[field]) for field in ("Rss", "LazyFree"))
    looked = Looked(document, rss, lazyfree, (stats_before, stats_after) if ask else None)
    looked.cold_seconds, looked.warm_seconds = cold_seconds, warm_seconds
    looked.tries, looked.consistent = _tries(pid)
    return looked


def explain(pid: int, cache: str, *more: str) -> tuple[dict[str, Any], float]:
    """The document that the command prints, and how long it took; `cache` is the user's cache folder."""
    argv = [sys.executable, "-m", "whyrss", str(pid), "--basis", "page", "--json", *more]
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "XDG_CACHE_HOME": cache}
    begin = time.monotonic()
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - begin
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()[-500:]}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document, seconds


def smaps_bytes(pid: int) -> dict[str, int]:
    """Rss and LazyFree, summed over the mappings."""
    sums = {"Rss": 0, "LazyFree": 0}
    for line in Path(f"/proc/{pid}/smaps").read_text(errors="replace").splitlines():
        name, _, rest = line.partition(":")
        if name in sums:
            sums[name] += int(rest.split()[0]) * KIB
    return sums


def pprof_memstats(text: bytes) -> dict[str, int]:
    """runtime.MemStats behind a heap profile as text (runtime/pprof/pprof.go, writeHeapInternal)."""
    found = dict(re.findall(r"^# (\w+) = (\d+(?: / \d+)?)$", text.decode(), re.MULTILINE))
    inuse = {f"{name}Inuse": found[name].split(" / ")[0] for name in ("Stack", "MSpan")}
    return {name: int({**found, **inuse}[name]) for name in COMPARED}


def _tries(pid: int) -> tuple[int, bool]:
    """How often the heap had to be read, and whether the reading that was taken is consistent."""
    try:
        heap = ProcSource(pid, basis="page").collect().get(Heap)
    except WhyrssError:
        heap = None
    return (heap.tries, heap.consistent) if heap else (0, False)
