"""A real process's heap: read live, and kept as an image of just the pages that reading needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.support import Program, needs_linux, running
from whyrss.goheap.heap import Heap, read_heap
from whyrss.goheap.image import Image
from whyrss.goheap.locate import Located, locate
from whyrss.goheap.memory import ProcessMemory
from whyrss.lab import toolchain
from whyrss.read.buildinfo import Build, read_build

VERSIONS = ("1.15", "1.19", "1.21", "1.22", "1.24", "1.25", "1.26", "1.27")
PAGE = 4096


def program(version: str) -> Path:
    """programs/pages.go, built by that Go."""
    needs_linux()
    return toolchain.build(toolchain.find(version), Path(__file__).parent / "programs" / "pages.go")


def build_of(path: Path) -> Build:
    data = path.read_bytes()
    return read_build(lambda at, size: data[at : at + size], len(data))


class Reading:
    """A running program whose heap can be read as often as one likes."""

    def __init__(self, program: Program, memory: ProcessMemory, located: Located) -> None:
        self.program = program
        self.memory = memory
        self.located = located

    def heap(self) -> Heap:
        self.memory.forget()
        return read_heap(self.memory, self.located)


@contextlib.contextmanager
def reading(version: str, *arguments: str) -> Iterator[Reading]:
    """The program of that Go, running, and its runtime located."""
    path = program(version)
    with running([path, *arguments]) as started, ProcessMemory(started.pid) as memory:
        with Image.of(memory) as image:
            located = locate(memory, image, build_of(path))
        yield Reading(started, memory, located)


class Recorder:
    """Passes reads on, and keeps the pages that they touched."""

    def __init__(self, memory: ProcessMemory) -> None:
        self._memory = memory
        self.pages: dict[int, bytes] = {}

    def read(self, address: int, size_bytes: int) -> bytes:
        low, high = address // PAGE * PAGE, -(-(address + size_bytes) // PAGE) * PAGE
        data = self._memory.read(low, high - low)
        self.pages.update({low + at: data[at : at + PAGE] for at in range(0, len(data), PAGE)})
        return data[address - low : address - low + size_bytes]


def captured(version: str, *arguments: str) -> tuple[dict[int, bytes], Located]:
    """The pages that reading the heap of a quiet program needs, by address, and where its runtime is."""
    with reading(version, *arguments) as live:
        recorder = Recorder(live.memory)
        read_heap(recorder, live.located)
        return recorder.pages, live.located
