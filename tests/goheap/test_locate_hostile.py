"""Corrupted memory, lies in the cache, layouts that nearly fit, and programs of other kinds end in words."""

from __future__ import annotations

import contextlib
import random
import struct
import sys
from collections.abc import Iterator
from functools import cache as once
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import support
from tests.goheap.located import (
    SYMBOLS,
    VERSIONS,
    assert_as_symbols,
    captured,
    found,
    held,
    opened,
    program,
    settled,
    started,
    symbols,
)
from whyrss.errors import Missing
from whyrss.goheap import chunks
from whyrss.goheap import locate as module
from whyrss.goheap.cache import Cache
from whyrss.goheap.core import find_core
from whyrss.goheap.image import Image
from whyrss.goheap.layout import layouts_for
from whyrss.goheap.locate import Located, locate
from whyrss.goheap.memory import ImageMemory, ProcessMemory
from whyrss.lab import toolchain
from whyrss.read.buildinfo import Build
from whyrss.sources.executable import build_of

LIBRARY = """package main

import "C"

//export Answer
func Answer() int { return 42 }

func main() {}
"""


# The cache


def test_the_cache_gives_the_same_without_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(str(tmp_path))
    path = program("1.24", "pie")
    # The program has sampled nothing, so its profiling buckets would be searched for again.
    monkeypatch.setattr(module, "EVERYTHING", tuple(name for name in module.EVERYTHING if name != "buckets"))
    with started(path) as running:
        settled(running.pid)
        cold = found(running.pid, cache, use_symbols=False)
    with started(path) as running:
        settled(running.pid)
        monkeypatch.setattr(Image, "words", None)
        warm = found(running.pid, cache)
        assert_as_symbols(running.pid, warm, symbols(path))
    assert {how.partition(": ")[2] for how in warm.how} == {"cache"}
    assert cold.reasons == warm.reasons == {}
    assert cold.mheap != warm.mheap  # another place in memory
    assert cold.debug.keys() == warm.debug.keys()


@given(st.dictionaries(st.sampled_from([*SYMBOLS, "gc_bits", "dbgvars"]), st.lists(st.integers(), max_size=3)))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lies_in_the_cache_are_found_out(
    tmp_path_factory: pytest.TempPathFactory, kept: dict[str, list[int]]
) -> None:
    cache = Cache(str(tmp_path_factory.mktemp("cache")))
    pid, by_name = waiting()
    with opened(pid) as (_, image):
        for layout in ("go1.24.11 amd64", "go1.19.8 amd64", "", "x"):
            cache.store(image, layout, kept)
            assert_as_symbols(pid, found(pid, cache), by_name)


@once
def waiting() -> tuple[int, dict[str, int]]:
    """A program that runs until the end of these tests. It has symbols, but no DWARF that would give its layout."""
    path = program("1.24", "static", "-ldflags=-w")
    stack.enter_context(started(path))
    running = stack.enter_context(started(path))
    settled(running.pid)
    return running.pid, symbols(path)


stack = contextlib.ExitStack()


@pytest.fixture(scope="module", autouse=True)
def reaped() -> Iterator[None]:
    yield
    stack.close()
    waiting.cache_clear()


# The layout


def test_of_an_unknown_release_the_only_layout_that_fits_is_taken() -> None:
    """1.24.11 pretends to be 1.23.99: of the table's releases that come into question, those of 1.24 fit."""
    pid, by_name = waiting()
    build = build_of(f"/proc/{pid}/exe")
    build.go_version = "go1.23.99"
    with opened(pid) as (memory, image):
        located = locate(memory, image, build)
        assert located.layout.go_version.startswith("go1.24")
        assert "by the layout of go1.24" in located.how[0]
        assert_as_symbols(pid, located, by_name)


def test_several_layouts_that_fit_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layout that differs from the right one only in what no probe looks at."""
    pid, _ = waiting()
    right = layouts_for("go1.24.11", "amd64")[0]
    alike = layouts_for("go1.24.11", "amd64")[0]
    monkeypatch.setattr(alike, "offset", lambda field: right.offset(field) + 8 * (field == "mspan.elemsize"))
    monkeypatch.setattr(module, "layouts_for", lambda *_: [right, alike])
    build = build_of(f"/proc/{pid}/exe")
    build.go_version = "go1.24.99"
    with opened(pid) as (memory, image), pytest.raises(Missing, match=r"go1.24.99 .* go1.24.11, go1.24.11 all fit"):
        locate(memory, image, build)


@pytest.mark.parametrize("version", VERSIONS)
def test_wrong_layouts_find_nothing(version: str) -> None:
    """Layouts of releases that differ in a field that the signature or the probe uses."""
    with started(program(version, "static")) as running, opened(running.pid) as (memory, image):
        words = image.words(memory)
        build = build_of(f"/proc/{running.pid}/exe")
        assert build.go_version is not None
        right = layouts_for(build.go_version, "amd64")[0]
        assert find_core(memory, image, right, words).memstats
        for other in {f"go1.{minor}": 0 for minor in range(12, 28)}:
            for layout in layouts_for(other, "amd64"):
                if any(used(layout, field) != used(right, field) for field in ("mheap.spanalloc", "mspan", "mcache")):
                    with pytest.raises(Missing, match=r"no places in its data look like the heap"):
                        find_core(memory, image, layout, words)


def used(layout: object, field: str) -> int:
    return layout.offset(field) if "." in field else layout.size(field)  # type: ignore[attr-defined, no-any-return]


# What is no such program


def test_a_library_of_go_in_another_program_is_not_looked_for(tmp_path: Path) -> None:
    source = tmp_path / "library.go"
    source.write_text(LIBRARY)
    go = toolchain.find("1.24")
    library = toolchain.build(go, source, flags=["-buildmode=c-shared"], env={"CGO_ENABLED": "1"})
    python = f"import ctypes; lib = ctypes.CDLL({str(library)!r}); print('READY', lib.Answer(), flush=True); input()"
    with support.running([sys.executable, "-c", python]) as running:
        assert str(running.ready) == "42"
        with pytest.raises(Missing, match="not Go's"):
            found(running.pid)


def test_a_32_bit_program_is_not_known() -> None:
    path = support.go_program("1.24", env={"GOARCH": "386"})
    with started(path) as running, pytest.raises(Missing, match="386"):
        found(running.pid)


@pytest.mark.parametrize("version", ["go1.99.1", "devel", "", None])
def test_an_unknown_version_is_missing(version: str | None) -> None:
    pid, _ = waiting()
    build = Build("amd64", False)
    build.is_go, build.go_version = True, version
    with opened(pid) as (memory, image), pytest.raises(Missing):
        locate(memory, image, build)


# Lies


@once
def image_of_a_process() -> tuple[dict[int, bytearray], bytes, int, Build]:
    """What is resident of a stopped process, its file, its bias, its build."""
    pid, _ = waiting()
    with opened(pid) as (memory, image):
        ranges = [(each.start, each.end) for each in memory.maps.list if each.perms.startswith("rw")]
        data = Path(f"/proc/{pid}/exe").read_bytes()
        return captured(pid, ranges), data, image.bias, build_of(f"/proc/{pid}/exe")


def located_in(ranges: dict[int, bytearray]) -> Located:
    _, data, bias, build = image_of_a_process()
    return locate(held(ranges), Image(lambda at, size: data[at : at + size], len(data), bias), build)


def test_a_captured_process_is_located_as_the_live_one() -> None:
    pid, by_name = waiting()
    assert_as_symbols(pid, located_in(image_of_a_process()[0]), by_name)


WORDS = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.sampled_from([0, 1, 1208, 160, (1 << 64) - 1, 1 << 47, 0xC0_0000_0000, 0x5A0000, 1 << 20, (1 << 63) - 1]),
)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_corrupted_words_end_in_missing_or_in_finds(data: st.DataObject) -> None:
    """Words of mheap_ and of everything that is found: each may be anything."""
    whole = image_of_a_process()[0]
    right = located_in(whole)
    places = [
        right.mheap + right.layout.offset(f"mheap.{name}")
        for name in ("allspans", "spanalloc", "heapArenas")
        if right.layout.has(f"mheap.{name}")
    ]
    places += [place for name in SYMBOLS if (place := getattr(right, name)) is not None]
    ranges = {start: bytearray(content) for start, content in whole.items()}
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.sampled_from(places)) + 8 * data.draw(st.integers(-4, 12))
        overwrite(ranges, at, data.draw(WORDS))
    with contextlib.suppress(Missing):
        assert isinstance(located_in(ranges), Located)


def overwrite(ranges: dict[int, bytearray], at: int, value: int) -> None:
    for start, content in ranges.items():
        if start <= at <= start + len(content) - 8:
            struct.pack_into("<Q", content, at - start, value)


@pytest.mark.parametrize("seed", range(4))
def test_random_bytes_where_data_was_are_missing(seed: int) -> None:
    source = random.Random(seed)
    whole = image_of_a_process()[0]
    ranges = {start: bytearray(source.randbytes(len(content))) for start, content in whole.items()}
    with pytest.raises(Missing, match="was not found"):
        located_in(ranges)


@pytest.mark.parametrize("value", [1208, 160, 0xC000000000, 4 << 20, 12])
def test_the_same_word_everywhere_is_missing(value: int) -> None:
    """The words that are searched for, and a pointer into the heap, more often than in any program."""
    word = struct.pack("<Q", value)
    ranges = {start: bytearray(word * (len(content) // 8)) for start, content in image_of_a_process()[0].items()}
    with pytest.raises(Missing, match="was not found"):
        located_in(ranges)


def test_lists_that_lead_back_to_themselves_end() -> None:
    loop = struct.pack("<4Q", 0x3000, 0x3000, 0, 0)
    memory = ImageMemory({0x1000: struct.pack("<Q", 0x3000), 0x3000: loop})
    with pytest.raises(Missing, match="loop"):
        chunks.persistent_chunks(memory, 0x1000)
    assert chunks.gc_bits_arenas(memory, [0x1000, 0x9000]) == []


class Endless:
    """Memory in which every piece leads to another one, for ever."""

    def __init__(self) -> None:
        self.reads = 0

    def read(self, address: int, size_bytes: int) -> bytes:
        self.reads += 1
        return struct.pack("<2Q", address // 4096 * 4096 + 4096, address // 4096 * 4096 + 4096)[:size_bytes]


def test_a_list_without_an_end_ends() -> None:
    memory = Endless()
    with pytest.raises(Missing, match="no end"):
        chunks.persistent_chunks(memory, 0x1000)
    assert memory.reads <= chunks.LENGTH_MAX + 2
    steps = chunks.Steps(100)
    for _ in range(3):
        with pytest.raises(Missing, match="no end"):
            chunks.persistent_chunks(memory, 0x1000, steps)
    assert memory.reads <= chunks.LENGTH_MAX + 2 + 100 + 6


def test_a_process_that_ends_in_the_middle_is_missing() -> None:
    with started(program("1.24", "static")) as running:
        memory = ProcessMemory(running.pid)
        image = Image.of(memory)
        build = build_of(f"/proc/{running.pid}/exe")
    with memory, image, pytest.raises(Missing):
        locate(memory, image, build)
