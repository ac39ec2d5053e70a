"""What the Go program of tools/layouts reads: a runtime's structures, from its source or from a program's DWARF."""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools.layoutfiles import Structs
from whyrss.errors import TargetError
from whyrss.lab import toolchain
from whyrss.lab.debian import cache_folder, cached

SOURCE = Path(__file__).parent / "layouts"
READER_GO = "1.27"  # the Go that builds it
WORDS = 400  # characters kept of what it says when it fails


def read_source(root: Path, arch: str, release: str, changes: Sequence[str] = ()) -> Structs:
    """Each structure's text, by go/types from the source tree `root`. Raises TargetError with the reader's words."""
    return _structs(_read("source", str(root), arch, release, *changes))


def read_dwarf(program: Path) -> Structs:
    """Each structure's text, from a program's DWARF. Raises TargetError with the reader's words."""
    return _structs(_read("dwarf", str(program)))


def _structs(text: str) -> Structs:
    return {name: rest for name, _, rest in (line.strip().partition(" ") for line in text.splitlines())}


def _read(*arguments: str) -> str:
    done = subprocess.run([str(_reader()), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise TargetError(done.stderr.strip()[:WORDS] or f"the reader of layouts ended with {done.returncode}")
    return done.stdout


@functools.cache
def _reader() -> Path:
    """The program of tools/layouts, built once for each state of its source."""
    files = sorted(SOURCE.glob("*.go"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:20]
    return cached(cache_folder() / "built" / f"layouts-{digest}", _build) / "layouts"


def _build(folder: Path) -> None:
    fixed = {"GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOENV": "off", "CGO_ENABLED": "0"}
    environment = {**os.environ, **fixed, "GOCACHE": str(cache_folder() / "gocache" / "layouts")}
    argv = [str(toolchain.find(READER_GO)), "build", "-o", str(folder / "layouts"), "."]
    done = subprocess.run(argv, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TargetError(f"tools/layouts cannot be built: {done.stderr.strip()[:WORDS]}")
