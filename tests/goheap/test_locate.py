"""The runtime is found where its symbols say that it is, in programs that have none."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from pathlib import Path

import pytest

from tests import support
from tests.goheap import captured
from tests.goheap.located import (
    MODES,
    PROGRAMS,
    SYMBOLS,
    VERSIONS,
    assert_as_symbols,
    found,
    opened,
    program,
    settled,
    started,
    symbols,
    tasks,
    without_sections,
)
from tests.live.measured import BATCHES_BYTES, smaps_bytes
from whyrss.goheap import chunks, globals, pacer
from whyrss.goheap.core import Core
from whyrss.goheap.dbgvars import find_debug
from whyrss.goheap.image import Image
from whyrss.goheap.layout import layouts_for
from whyrss.goheap.locate import Located
from whyrss.goheap.memory import ImageMemory, ProcessMemory
from whyrss.goheap.region import Region
from whyrss.lab import toolchain
from whyrss.sources.executable import build_of

OLD = ("1.15",)
QUIET = [("1.15", "static"), ("1.15", "cgo pie"), ("1.24", "static"), ("1.27", "pie")]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", VERSIONS)
def test_without_symbols_all_is_where_they_say(version: str, mode: str, tmp_path: Path) -> None:
    path = program(version, mode)
    by_name = symbols(path)
    with started(without_sections(path, tmp_path)) as running:
        settled(running.pid)
        located = found(running.pid)
        assert_as_symbols(running.pid, located, by_name)
        assert located.layout.go_version.startswith(f"go{version}")
        assert not any("symbol" in how for how in located.how)
        assert_counts(running.pid, located)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", VERSIONS)
def test_symbols_and_the_search_agree(version: str, mode: str) -> None:
    with started(program(version, mode)) as running:
        settled(running.pid)
        by_symbols, by_search = found(running.pid), found(running.pid, use_symbols=False)
    assert by_symbols.how[0] == "mheap: symbol"
    assert by_search.how[0] == "mheap: signature"
    for name in (*SYMBOLS, "debug", "reasons"):
        assert getattr(by_symbols, name) == getattr(by_search, name), name


@pytest.mark.parametrize("version", VERSIONS)
def test_the_table_of_profiling_buckets_is_found_once_something_was_sampled(version: str) -> None:
    with support.running([captured.program(version), "16"]) as running:  # serves pprof, so Go samples in it
        by_symbols, by_search = found(running.pid), found(running.pid, use_symbols=False)
        place = symbols(Path(f"/proc/{running.pid}/exe"))["runtime.buckhash"]
        assert by_symbols.buckets == by_search.buckets == place
        assert "buckets: search" in by_search.how


@pytest.mark.parametrize("version", VERSIONS)
def test_a_stripped_program_is_located(version: str, tmp_path: Path) -> None:
    with started(program(version, "static", "-ldflags=-s -w")) as running:
        settled(running.pid)
        located = found(running.pid)
        sampled_nothing = {"buckets"}  # it has not allocated 512 KiB yet (runtime/mprof.go, MemProfileRate)
        assert set(located.reasons) <= sampled_nothing | ({"gc_controller"} if version in OLD else set())
        assert_counts(running.pid, located)


def assert_counts(pid: int, located: Located) -> None:
    """What is at the addresses is what the kernel sees of the process."""
    with opened(pid) as (memory, image):
        core = Core(memory, image, located.layout, located.mheap)
        assert located.allm and located.allgs and located.allp and located.persistent
        # The template thread of cgo programs may be counted before it runs (runtime/proc.go, startTemplateThread).
        assert globals.threads(core, located.allm) in (tasks(pid), tasks(pid) + 1)
        assert globals.goroutines(core, located.allgs) >= 4  # main, forcegc, bgsweep, bgscavenge
        assert globals.processors(core, located.allp) == len(os.sched_getaffinity(pid))
        spans = [span.address for span in core.spans()]
        persistent = chunks.persistent_chunks(memory, located.persistent)
        assert all(any(start <= at < end for start, end in persistent) for at in spans)
        assert chunks.gc_bits_arenas(memory, located.gc_bits)
        value = int.from_bytes(memory.read(located.debug["madvdontneed"], 4), "little")
        assert value == (0 if located.layout.go_version.startswith("go1.15") else 1)


@pytest.mark.parametrize("server", ["etcd", "prometheus"])
def test_debians_stripped_servers_are_located(server: str) -> None:
    with (support.etcd if server == "etcd" else support.prometheus)() as running:
        located = found(running.pid)
        # allgs: while its collector runs; buckets: as long as nothing was sampled
        assert set(located.reasons) <= {"gc_controller", "allgs", "buckets"}
        with opened(running.pid) as (memory, image):
            core = Core(memory, image, located.layout, located.mheap)
            assert located.allm is not None
            assert abs(globals.threads(core, located.allm) - tasks(running.pid)) <= 1


# gcController


@pytest.mark.parametrize(
    ("env", "percent", "limit"),
    [
        ({}, 100, (1 << 63) - 1),
        ({"GOGC": "off"}, -1, (1 << 63) - 1),
        ({"GOGC": "50"}, 50, (1 << 63) - 1),
        ({"GOMEMLIMIT": "300MiB"}, 100, 300 << 20),
        ({"GOGC": "off", "GOMEMLIMIT": "300MiB"}, -1, 300 << 20),
        ({"GOGC": "37", "GOMEMLIMIT": "300MiB"}, 37, 300 << 20),
        ({"GOGC": "100000"}, 100000, (1 << 63) - 1),
        ({"GOGC": "0", "GOMEMLIMIT": "300MiB"}, 0, 300 << 20),
    ],
)
@pytest.mark.parametrize("version", ["1.19", "1.22", "1.27"])
def test_the_collectors_settings_are_found_whatever_they_are(
    version: str, env: dict[str, str], percent: int, limit: int
) -> None:
    path = program(version, "static")
    with started(path, env) as running:
        located = found(running.pid, use_symbols=False)
        assert located.gc_controller == symbols(path)["runtime.gcController"]
        with ProcessMemory(running.pid) as memory:
            region = Region(memory, located.layout, pacer.STRUCT, located.gc_controller)
            assert (region.signed("gcPercent"), region.signed("memoryLimit")) == (percent, limit)


def test_the_least_heap_is_that_of_64_bit_arithmetic() -> None:
    assert pacer.heap_minimum_bytes(100) == 4 << 20
    assert pacer.heap_minimum_bytes(50) == 2 << 20
    assert pacer.heap_minimum_bytes(-1) == ctypes.c_uint64(-(4 << 20)).value // 100


# arm64, by the file alone


@pytest.mark.parametrize("flags", [(), ("-buildmode=pie",)], ids=["static", "pie"])
@pytest.mark.parametrize("version", ["1.15", "1.19", "1.24", "1.27"])
def test_the_settings_table_of_arm64_is_found_in_its_file(version: str, flags: tuple[str, ...]) -> None:
    path = support.go_program(version, flags=flags, env={"GOARCH": "arm64"})
    data = path.read_bytes()
    image = Image(lambda at, size: data[at : at + size], len(data))
    memory = loaded(image)
    _, debug = find_debug(memory, image, image.words(memory))
    by_name = symbols(path)
    assert len(debug) > 15
    offset = layouts_for(str(build_of(str(path)).go_version), "arm64")[0].offset("debug.madvdontneed")
    assert debug["madvdontneed"] == by_name["runtime.debug"] + offset


def loaded(image: Image) -> ImageMemory:
    """The file as the loader would lay it out at its own addresses: with the relocations that need no symbol."""
    ranges = {}
    for segment in image.elf.loads():
        content = bytearray(image.elf.read(segment.offset, segment.file_bytes))
        content += bytes(segment.memory_bytes - segment.file_bytes)
        end = segment.address + len(content)
        for at, value in image.elf.relative_addends(segment.address, end).items():
            struct.pack_into("<Q", content, at - segment.address, value)
        ranges[segment.address] = bytes(content)
    return ImageMemory(ranges)


# Nothing of the target changes


@pytest.mark.parametrize(
    ("version", "mode"), [("1.15", "static"), ("1.15", "cgo pie"), ("1.24", "static"), ("1.27", "pie")]
)
def test_the_target_is_not_changed(version: str, mode: str) -> None:
    with started(program(version, mode)) as running:
        settled(running.pid)
        os.kill(running.pid, signal.SIGSTOP)  # what it does itself would be mixed with what is done to it
        os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WNOWAIT)
        before, pages = figures(running.pid), presence(running.pid)
        for use_symbols in (False, True):
            found(running.pid, use_symbols=use_symbols)
        after = figures(running.pid)
        assert presence(running.pid) == pages
    assert after[:3] == before[:3]
    assert abs(after[3] - before[3]) <= BATCHES_BYTES


def figures(pid: int) -> tuple[int, int, int, int]:
    """Rss, minor and major faults (proc(5): minflt, majflt), LazyFree."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return smaps_bytes(pid, "Rss"), int(stat[7]), int(stat[9]), smaps_bytes(pid, "LazyFree")


def presence(pid: int) -> list[bytes]:
    """Which pages of every mapping are mapped at all, those of the zero page too."""
    found = []
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as file:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            low, high = (int(word, 16) for word in line.split()[0].split("-"))
            if high < 1 << 63:
                file.seek(low // 4096 * 8)
                entries = file.read((high - low) // 4096 * 8)
                found.append(bytes(top & 0xC0 for top in entries[7::8]))
    return found


def test_a_program_that_allocates_all_the_time_is_located() -> None:
    path = toolchain.build(toolchain.find("1.24"), PROGRAMS / "busy.go")
    by_name = symbols(path)
    with support.running([path]) as running:
        for _ in range(10):
            located = found(running.pid, use_symbols=False)
            assert located.mheap == by_name["runtime.mheap_"]
            assert located.gc_controller == by_name["runtime.gcController"]
            assert located.allm == by_name["runtime.allm"]
            assert located.allgs in (by_name["runtime.allgs"], None)
