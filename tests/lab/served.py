"""What real Go programs serve, and made-up figures to serve."""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import cast

from tests.support import needs_linux
from whyrss.lab import toolchain
from whyrss.lab.formats import Record
from whyrss.lab.memstats import MemStats, empty

SOURCE = Path(__file__).with_suffix(".go")
VERSIONS = ("1.15", "1.27")
MIB = 1 << 20

RECORDS = (
    Record(16, 16 * MIB, 256, 256 * MIB, ("model.allocate(1MiB)", "model.phase1", "main.main")),
    Record(32, 2 * MIB, 96, 6 * MIB, ("model.allocate(64KiB)", "model.phase2", "main.main")),
)


@functools.cache
def by_go(version: str, what: str) -> str:
    """What served.go prints, built by that Go and run."""
    needs_linux()
    program = toolchain.build(toolchain.find(version), SOURCE)
    return subprocess.run([program, what], capture_output=True, text=True, check=True, timeout=120).stdout


def real(version: str) -> MemStats:
    """MemStats of a real program of that Go."""
    return cast(MemStats, json.loads(by_go(version, "vars"))["memstats"])


def made_up() -> MemStats:
    """Every figure different, and all of a real kind."""
    stats = empty()
    for number, name in enumerate(name for name, value in stats.items() if type(value) is int):
        stats[name] = 1_000_003 + 7919 * number  # type: ignore[literal-required]
    stats["PauseNs"][:2] = [5628, 12699]
    stats["PauseEnd"][:2] = [1795566268085103755, 1795566268085511229]
    stats["LastGC"] = stats["PauseEnd"][1]
    stats["GCCPUFraction"] = 0.000012345
    stats["EnableGC"] = True
    return stats
