"""The program zoo.go by each Go and in each way to build it, and what it says of itself."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import support
from whyrss.lab import debian, toolchain

VERSIONS = ("1.15", "1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27")
MODES = ("plain", "-s -w", "PIE", "cgo", "stripped")
SOURCE = Path(__file__).parent / "programs" / "zoo.go"

# Small pieces of malloc's lie in [heap] and, by other threads, in arenas; 1 MiB has a mapping of its own.
_C = """\
package main

/*
#include <stdlib.h>
#include <string.h>
static void *volatile held[1 << 12];
static int count;
static void grab(size_t size) { void *p = malloc(size); if (p) memset(p, 1, size); held[count++ & 4095] = p; }
*/
import "C"

func init() {
	for i := 0; i < 1000; i++ {
		C.grab(C.size_t(64 << uint(i%6)))
	}
	for i := 0; i < 4; i++ {
		C.grab(1 << 20)
	}
}
"""


def program(version: str, mode: str) -> Path:
    """The zoo built by that Go in one of MODES."""
    support.needs_linux()
    go = toolchain.find(version)
    if mode == "cgo":
        return toolchain.build(go, _with_c(), env={"CGO_ENABLED": "1"})
    flags = {"-s -w": ["-ldflags=-s -w"], "PIE": ["-buildmode=pie"]}.get(mode, [])
    built = toolchain.build(go, SOURCE, flags=flags)
    return _stripped(built) if mode == "stripped" else built


def _with_c() -> Path:
    """The source with `import "C"`: a program that may be built without cgo cannot have it."""
    preamble, _, init = _C.partition("\nfunc init")
    head, _, rest = SOURCE.read_text().partition("package main\n")
    text = f"{head}{preamble}{rest}\nfunc init{init}"

    def write(folder: Path) -> None:
        (folder / "zoo.go").write_text(text)

    key = hashlib.sha256(text.encode()).hexdigest()[:20]
    return debian.cached(debian.cache_folder() / "built" / f"zoo-source-{key}", write) / "zoo.go"


def _stripped(built: Path) -> Path:
    """What binutils' strip leaves: no symbols, and section headers of another order."""
    strip = shutil.which("strip")
    if not strip:
        pytest.skip("needs strip (binutils)")

    def write(folder: Path) -> None:
        subprocess.run([strip, "-o", str(folder / built.name), str(built)], check=True)

    place = built.parent.with_name(f"{built.parent.name}-stripped")
    return debian.cached(place, write) / built.name


@contextlib.contextmanager
def zoo(version: str, mode: str = "plain", mib: int = 48) -> Iterator[support.Program]:
    """A running zoo that keeps most of `mib` MiB; it allocates nothing until it is asked."""
    with support.running([program(version, mode), str(mib)]) as running:
        yield running


def memstats(running: support.Program) -> dict[str, Any]:
    """Its runtime.MemStats, read now."""
    answer = running.ask("stats")
    stats: dict[str, Any] = json.loads(answer.removeprefix("STATS "))
    return stats
