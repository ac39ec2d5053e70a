"""Build information of real programs, against what `go version -m -json` of Go 1.27 says about them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import debian_program, go_program
from whyrss.errors import FormatError
from whyrss.lab import debian, toolchain
from whyrss.read.buildinfo import MAGIC, Build, read_build
from whyrss.read.elf import PF_W, PT_NOTE, Elf

# Every read that a hostile file can bring about: two searches of 256 MiB, headers, names, texts, relocations.
MAX_READ_BYTES = 2 * (256 << 20) + (16 << 20)
FILLS = (b"\xff" * 8, bytes(8), b"\x40" + bytes(7))
# A program without the standard library builds in a second.
TINY = 'package main\n\nvar s = ""\n\nfunc main() { println(s) }\n'


class Bytes:
    """A file in memory that counts what is read of it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.reads = 0
        self.read_bytes = 0

    def __call__(self, offset: int, size: int) -> bytes:
        assert offset >= 0 and size > 0
        found = self.data[offset : offset + size]
        self.reads += 1
        self.read_bytes += len(found)
        return found


def build_of(data: bytes) -> Build:
    return read_build(Bytes(data), len(data))


def said(path: Path) -> dict[str, Any]:
    """What Go's own reader says about the build of a file."""
    argv = [str(toolchain.find("1.27")), "version", "-m", "-json", str(path)]
    env = {**os.environ, "GOTOOLCHAIN": "local"}
    found: dict[str, Any] = json.loads(subprocess.run(argv, env=env, check=True, capture_output=True).stdout)
    return found


def same(build: Build, expected: dict[str, Any]) -> None:
    main = expected.get("Main", {})
    assert build.is_go
    assert build.go_version == expected["GoVersion"]
    assert build.path == (expected.get("Path") or None)
    assert build.main_module == main.get("Path")
    assert build.module_version == main.get("Version")
    assert build.settings == {s["Key"]: s.get("Value", "") for s in expected.get("Settings", [])}


def without_sections(data: bytes) -> bytes:
    """A copy with no section headers, in the ELF header or anywhere (64 bit, little endian)."""
    table, count = int.from_bytes(data[40:48], "little"), int.from_bytes(data[60:62], "little")
    copy = bytearray(data)
    copy[table : table + 64 * count] = bytes(64 * count)
    copy[40:48], copy[58:64] = bytes(8), bytes(6)
    return bytes(copy)


def module(go: Path, folder: Path, *flags: str) -> Path:
    """A program in module mode, with everything in its build settings that `flags` puts there."""
    (folder / "main.go").write_text(TINY)
    (folder / "go.mod").write_text("module example.org/tiny\n")
    cache = debian.cache_folder() / "gocache" / "modules"
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GOCACHE": str(cache), "GOTOOLCHAIN": "local"}
    argv = [str(go), "build", *flags, "-o", "tiny", "."]
    subprocess.run(argv, cwd=folder, env={**env, "CGO_ENABLED": "0", "GO111MODULE": "on"}, check=True)
    return folder / "tiny"


STRIPPED = ("-ldflags=-s -w",)
PIE = ("-buildmode=pie",)
ARM64 = {"GOARCH": "arm64", "CGO_ENABLED": "0"}


@pytest.mark.parametrize(
    ("version", "flags", "env", "stripped", "pie", "arch"),
    [
        ("1.15", (), {}, False, False, "amd64"),
        ("1.15", STRIPPED, {}, True, False, "amd64"),
        ("1.15", PIE, {}, False, True, "amd64"),
        ("1.15", (), ARM64, False, False, "arm64"),
        ("1.27", (), {}, False, False, "amd64"),
        ("1.27", STRIPPED, {}, True, False, "amd64"),
        ("1.27", PIE, {}, False, True, "amd64"),
        ("1.27", (), ARM64, False, False, "arm64"),
    ],
)
def test_the_same_as_go_version(
    version: str, flags: tuple[str, ...], env: dict[str, str], stripped: bool, pie: bool, arch: str
) -> None:
    env = {"GOARCH": "amd64", **env}
    path = go_program(version, flags=flags, env=env)
    data, expected = path.read_bytes(), said(path)
    file = Bytes(data)
    build = read_build(file, len(data))
    same(build, expected)
    assert (build.stripped, build.has_dwarf) == (stripped, not stripped)
    assert (build.pie, build.cgo, build.arch) == (pie, False, arch)
    assert build.experiments == []
    assert file.reads <= (4 if version == "1.27" else 13)
    assert file.read_bytes < 16384

    bare = build_of(without_sections(data))
    same(bare, expected)
    assert (bare.stripped, bare.has_dwarf) == (None, None)
    assert (bare.pie, bare.cgo, bare.arch) == (pie, False, arch)


@pytest.mark.parametrize("version", ["1.15", "1.27"])
@pytest.mark.parametrize("linked", ["dynamic", "static"])
def test_cgo(version: str, linked: str) -> None:
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    flags = "-ldflags=-linkmode=external" + (" -extldflags=-static" if linked == "static" else "")
    path = go_program(version, flags=(flags,), env={"CGO_ENABLED": "1"})
    build = build_of(path.read_bytes())
    same(build, said(path))
    assert build.cgo is True


@pytest.mark.parametrize("version", ["1.15", "1.27"])
def test_strip_removes_symbols_not_the_build_information(version: str, tmp_path: Path) -> None:
    if not shutil.which("strip"):
        pytest.skip("needs strip (binutils)")
    path = go_program(version, env={"GOARCH": "amd64"})
    subprocess.run(["strip", "-o", str(tmp_path / "bare"), str(path)], check=True)
    build = build_of((tmp_path / "bare").read_bytes())
    same(build, said(path))
    assert (build.stripped, build.has_dwarf) == (True, False)


@pytest.mark.parametrize("version", ["1.15", "1.27"])
def test_module_and_quoted_settings(version: str, tmp_path: Path) -> None:
    ldflags = '-s -X "main.s=a`b\\c\td\u00e9\u2713"'
    path = module(toolchain.find(version), tmp_path, f"-ldflags={ldflags}", "-tags=x,y")
    build, expected = build_of(path.read_bytes()), said(path)
    same(build, expected)
    assert (build.main_module, build.path) == ("example.org/tiny", "example.org/tiny")
    if version == "1.27":
        assert build.settings["-ldflags"] == ldflags
        # A go.mod without a go line is of Go 1.16, so the defaults of that release are in the program.
        pairs = [pair.partition("=") for pair in build.settings["DefaultGODEBUG"].split(",")]
        assert build.default_godebug == {key: value for key, _, value in pairs}
        assert build.default_godebug["panicnil"] == "1"


@pytest.mark.parametrize(
    "line",
    [
        r'"a\"b=c"="v \x41B\n\u00e9e\U0001f600"',
        r'"a\\"="\\n\"\t"',
        '`a"=`=`v \\n`',
        'plain="two words"',
        "plain=",
    ],
)
def test_quoting(line: str, tmp_path: Path) -> None:
    """As in Go source, key and value; Go's own reader is asked about the same changed file."""
    path = module(toolchain.find("1.27"), tmp_path, "-ldflags=-X main.s=" + 40 * "x")
    data = path.read_bytes()
    old = b'-ldflags="-X main.s=' + 40 * b"x" + b'"'
    assert b"build\t" + old in data
    new = line.encode() + b"\nbuild\tpad="
    changed = data.replace(old, new.ljust(len(old), b"p"))
    path.write_bytes(changed)
    same(build_of(changed), said(path))


def test_experiments() -> None:
    """Go 1.27 writes them as "go1.27.3-X:name"."""
    path = go_program("1.27", env={"GOEXPERIMENT": "nodwarf5", "GOARCH": "amd64"})
    build, expected = build_of(path.read_bytes()), said(path)
    assert expected["GoVersion"] == f"{build.go_version}-X:nodwarf5"
    assert build.experiments == ["nodwarf5"]


def test_debian_program_is_of_go_1_15_with_cgo_and_without_symbols() -> None:
    path = debian_program("etcd")
    build = build_of(path.read_bytes())
    same(build, said(path))
    assert (build.go_version, build.stripped, build.cgo, build.pie) == ("go1.15.9", True, True, False)


def test_pointers_only_in_relocations(tmp_path: Path) -> None:
    """The loader stores addends whatever the file holds, and some linkers leave zeros there."""
    path = module(toolchain.find("1.15"), tmp_path, *PIE)
    data = bytearray(path.read_bytes())
    elf = Elf(Bytes(bytes(data)), len(data))
    section = elf.section(".go.buildinfo")
    assert section
    headers = [elf.pointer(section.address + 16), elf.pointer(section.address + 24)]
    for address in (section.address + 16, section.address + 24, *headers):
        offset = elf.offset_of(address or 0)
        assert offset and any(data[offset : offset + 8])
        data[offset : offset + 8] = bytes(8)
    same(build_of(bytes(data)), said(path))
    same(build_of(without_sections(bytes(data))), said(path))


@pytest.mark.parametrize("path", [shutil.which("ls"), sys.executable])
def test_another_language(path: str) -> None:
    data = Path(path).resolve().read_bytes()
    for variant in (data, without_sections(data)):
        build = build_of(variant)
        assert not build.is_go
        assert (build.go_version, build.path, build.settings, build.cgo) == (None, None, {}, None)


def test_not_elf() -> None:
    for data in (b"", b"\x7fEL", b"#!/bin/sh\n", b"MZ" + bytes(4096), b"\x7fELF" + bytes(60)):
        with pytest.raises(FormatError):
            build_of(data)


def test_go_without_build_information() -> None:
    """Go before 1.13 has none: its build ID note, or without notes its function table, still say Go."""
    data = without_sections(go_program("1.15", env={"GOARCH": "amd64"}).read_bytes())
    data = data.replace(MAGIC, bytes(len(MAGIC)))
    build = build_of(data)
    assert (build.is_go, build.go_version, build.settings, build.arch) == (True, None, {}, "amd64")
    silent = bytearray(data)
    for index in range(int.from_bytes(data[56:58], "little")):
        at = 64 + 56 * index
        if int.from_bytes(data[at : at + 4], "little") == PT_NOTE:
            silent[at : at + 4] = bytes(4)
    assert build_of(bytes(silent)).is_go


def test_a_text_with_the_magic_is_not_build_information() -> None:
    """A program in another language that looks for the magic has it among its texts."""
    size = 8192
    segment = b"".join(n.to_bytes(8, "little") for n in (0, 0, 0, size, size, 4096))
    header = bytearray(64)
    header[:7] = b"\x7fELF\x02\x01\x01"
    header[16:20] = bytes((2, 0, 62, 0))
    header[32], header[54], header[56] = 64, 56, 1
    head = bytes(header) + bytes((1, 0, 0, 0, PF_W, 0, 0, 0)) + segment
    data = head.ljust(4096, b"\0") + MAGIC + b"\x08\x02" + bytes(16) + b"\x05hello\x00"
    assert not build_of(data.ljust(size, b"\0")).is_go
    data = data.replace(b"\x05hello", b"\x08go1.99.1")
    assert build_of(data.ljust(size, b"\0")).go_version == "go1.99.1"


def test_lying_lengths() -> None:
    data = go_program("1.27", env={"GOARCH": "amd64"}).read_bytes()
    at = data.index(MAGIC + b"\x08\x02") + 32
    for lie in (b"\xff" * 12, b"\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\xff\xff\xff\x7f"):
        with pytest.raises(FormatError):
            build_of(data[:at] + lie + data[at + len(lie) :])


@pytest.fixture(scope="module")
def programs() -> list[bytes]:
    """One of each format of build information."""
    env = {"GOARCH": "amd64"}
    return [go_program("1.15", flags=PIE, env=env).read_bytes(), go_program("1.27", env=env).read_bytes()]


def places(data: bytes) -> Callable[[int], int]:
    """Map a drawn number to a byte of the file that the reader looks at: headers, build information."""
    table, count = int.from_bytes(data[40:48], "little"), int.from_bytes(data[60:62], "little")
    build = data.index(MAGIC + b"\x08")
    looked_at = [*range(512), *range(table, table + 64 * count), *range(build, build + 512)]
    return lambda drawn: looked_at[drawn % len(looked_at)]


@given(
    which=st.integers(0, 1),
    flips=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12),
    fill=st.none() | st.tuples(st.integers(0, 1 << 16), st.sampled_from(FILLS)),
    kept=st.none() | st.integers(0, 1 << 13) | st.integers(0, 1 << 21),
)
@settings(deadline=None, max_examples=150)
def test_damaged_files(
    programs: list[bytes],
    which: int,
    flips: list[tuple[int, int]],
    fill: tuple[int, bytes] | None,
    kept: int | None,
) -> None:
    data = bytearray(programs[which])
    place = places(programs[which])
    for drawn, value in flips:
        data[place(drawn)] = value
    if fill:
        at = place(fill[0]) & ~7
        data[at : at + 8] = fill[1]
    file = Bytes(bytes(data[:kept]))
    try:
        build = read_build(file, len(file.data))
    except FormatError as error:
        assert error.what
    else:
        assert build.is_go or build.go_version is None
    assert file.read_bytes <= MAX_READ_BYTES


@given(claimed=st.integers(0, 1 << 64), kept=st.integers(0, 8192))
@settings(deadline=None, max_examples=50)
def test_a_size_that_lies(programs: list[bytes], claimed: int, kept: int) -> None:
    """The file may have been cut after its size was asked for."""
    file = Bytes(programs[0][:kept])
    try:
        read_build(file, claimed)
    except FormatError:
        pass
    assert file.read_bytes <= MAX_READ_BYTES
