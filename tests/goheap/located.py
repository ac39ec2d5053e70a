"""Programs for the tests of what is located, and what is right by their symbols, read by `nm`."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests import support
from whyrss.goheap.cache import Cache
from whyrss.goheap.image import Image
from whyrss.goheap.locate import Located, locate
from whyrss.goheap.memory import ImageMemory, ProcessMemory
from whyrss.lab import toolchain
from whyrss.sources.executable import build_of

PROGRAMS = Path(__file__).parent / "programs"
VERSIONS = ("1.15", "1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27")
MODES = ("static", "pie", "cgo", "cgo pie")
# What is to be found, by the symbol that has its address. Up to Go 1.16 gcController has no settings.
SYMBOLS = {
    "mheap": "runtime.mheap_",
    "memstats": "runtime.memstats",
    "gc_controller": "runtime.gcController",
    "allgs": "runtime.allgs",
    "allm": "runtime.allm",
    "allp": "runtime.allp",
    "persistent": "runtime.persistentChunks",
    "moduledata": "runtime.firstmoduledata",
}


def program(version: str, mode: str, *flags: str) -> Path:
    """A program that holds some heap and waits; "cgo" is linked by the C compiler, "pie" anywhere in memory."""
    support.needs_linux()
    words = [*flags, "-buildmode=pie"] if "pie" in mode else [*flags]
    if "cgo" in mode:
        return toolchain.build(toolchain.find(version), PROGRAMS / "cgo.go", flags=words, env={"CGO_ENABLED": "1"})
    return support.go_program(version, flags=words)


def arguments(path: Path) -> list[str | Path]:
    return [path, "8", "1"] if path.name == "lazyfree" else [path]


def without_sections(path: Path, folder: Path) -> Path:
    """The same program without section headers, hence without symbols: e_shoff, e_shnum and e_shstrndx are 0."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, 40, 0)
    struct.pack_into("<3H", data, 58, 0, 0, 0)
    twin = folder / path.name
    twin.write_bytes(data)
    twin.chmod(0o755)
    return twin


def symbols(path: Path) -> dict[str, int]:
    """Every symbol's value, by nm."""
    if not shutil.which("nm"):
        pytest.skip("needs nm (binutils)")
    lines = subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines()
    return {words[2]: int(words[0], 16) for line in lines if len(words := line.split()) == 3}


@contextlib.contextmanager
def opened(pid: int) -> Iterator[tuple[ProcessMemory, Image]]:
    with ProcessMemory(pid) as memory, Image.of(memory) as image:
        yield memory, image


def found(pid: int, cache: Cache | None = None, use_symbols: bool = True) -> Located:
    """What is located in a process."""
    with opened(pid) as (memory, image):
        return locate(memory, image, build_of(f"/proc/{pid}/exe"), cache, use_symbols=use_symbols)


@contextlib.contextmanager
def started(path: Path, env: Mapping[str, str] | None = None) -> Iterator[support.Program]:
    with support.running(arguments(path), env) as running:
        yield running


def tasks(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def captured(pid: int, ranges: Sequence[tuple[int, int]]) -> dict[int, bytearray]:
    """The resident parts of these ranges."""
    with ProcessMemory(pid) as memory:
        parts = [part for start, end in ranges for part in memory.resident(start, end)]
        return {start: bytearray(memory.read(start, end - start)) for start, end in parts}


def held(ranges: Mapping[int, bytearray]) -> ImageMemory:
    return ImageMemory({start: bytes(data) for start, data in ranges.items()})


def assert_as_symbols(pid: int, located: Located, by_name: dict[str, int]) -> None:
    """Every find has the address of its symbol, moved as far as the program was."""
    with opened(pid) as (_, image):
        bias = image.bias
    for name, symbol in SYMBOLS.items():
        if name == "buckets":  # nothing was sampled: see test_the_table_of_profiling_buckets_is_found
            continue
        if name in located.reasons:
            assert name == "gc_controller" and located.layout.go_version.startswith("go1.15"), located.reasons
        else:
            assert getattr(located, name) == by_name[symbol] + bias, name
    assert by_name["runtime.gcBitsArenas"] + bias + 16 in located.gc_bits  # next, behind lock and free
    assert located.debug["madvdontneed"] == by_name["runtime.debug"] + bias + located.layout.offset(
        "debug.madvdontneed"
    )


def settled(pid: int) -> None:
    """Wait until the threads sleep: a collection that was begun before READY is over."""
    for _ in range(100):
        stats = [Path(f"/proc/{pid}/task/{task}/stat").read_text() for task in os.listdir(f"/proc/{pid}/task")]
        if {stat.rpartition(")")[2].split()[0] for stat in stats} <= {"S"}:
            return
        time.sleep(0.02)
