"""Toolchains and programs are really fetched, built and run; what is in the cache needs no network."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support import PROGRAMS, go_program, needs_linux, running
from whyrss.errors import TargetError
from whyrss.lab import debian, toolchain

ALONE = [PROGRAMS / "common.go", PROGRAMS / "scenario.go"]

# A program that prints what `go version` of a real toolchain does; nothing of the machine's own Go is asked.
FAKE_GO = "#!/bin/sh\necho 'go version go{release} linux/amd64'\n"


def fake_go(folder: Path, release: str) -> Path:
    folder.mkdir(parents=True)
    go = folder / "go"
    go.write_text(FAKE_GO.format(release=release))
    go.chmod(0o755)
    return go


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with nothing in it, and a PATH without go, pip and apt-get: nothing can be downloaded."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("WHYRSS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(toolchain, "_pip", lambda: ["no-pip-here"])
    return tmp_path / "cache"


@pytest.mark.parametrize("version", ["1.15", "1.27"])
def test_lazyfree_is_built_and_answers(version: str) -> None:
    with running([go_program(version), "16", "2"]) as program:
        assert program.ready["go"].startswith(f"go{version}.")
        assert program.ready["pid"] == program.pid
        assert program.ready["HeapReleased"] > 12 << 20
        assert program.ask("check") == "OK 32 blocks"
        assert program.ask("again") == "DONE"
        assert program.ask("check") == "OK 32 blocks"
        after = json.loads(program.ask("stats").removeprefix("STATS "))
        assert after["NumGC"] > program.ready["NumGC"]


@pytest.mark.parametrize(
    ("version", "env", "lazily"),
    [("1.15", {}, True), ("1.27", {}, False), ("1.27", {"GODEBUG": "madvdontneed=0"}, True)],
)
def test_the_kernel_holds_what_was_freed_lazily(version: str, env: dict[str, str], lazily: bool) -> None:
    with running([go_program(version), "64", "1"], env) as program:
        smaps = Path(f"/proc/{program.pid}/smaps").read_text().splitlines()
    lazyfree_kib = sum(int(line.split()[1]) for line in smaps if line.startswith("LazyFree:"))
    assert lazyfree_kib > 56 << 10 if lazily else lazyfree_kib == 0


def test_a_program_that_ended_is_reaped() -> None:
    with running([go_program("1.27"), "1", "1"]) as program:
        pass
    assert not Path(f"/proc/{program.pid}").exists()


def test_a_program_without_a_ready_line_is_told_with_its_words() -> None:
    with pytest.raises(AssertionError, match="is no number of MiB"), running([go_program("1.27"), "much"]):
        pass


def test_flags_reach_the_compiler() -> None:
    plain, stripped = go_program("1.27"), go_program("1.27", flags=["-ldflags=-s -w"])
    assert b".debug_info" in plain.read_bytes() or b".zdebug_info" in plain.read_bytes()
    assert b"debug_info" not in stripped.read_bytes()


def test_a_program_that_does_not_compile_is_refused_with_the_compilers_words(tmp_path: Path) -> None:
    needs_linux()
    source = tmp_path / "broken.go"
    source.write_text("package main\nfunc main() { undeclared() }\n")
    with pytest.raises(TargetError, match="undefined: undeclared"):
        toolchain.build(toolchain.find("1.27"), source)


def test_go_on_the_path_is_taken_first(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_go(empty_cache / "go" / "1.22.9" / "bin", "1.22.9")
    on_path = fake_go(empty_cache.parent / "own", "1.22.1")
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert toolchain.find("1.22") == on_path
    assert toolchain.find("1.22.9") == empty_cache / "go" / "1.22.9" / "bin" / "go"


def test_the_cache_is_enough_without_network(empty_cache: Path) -> None:
    for release in ("1.21.3", "1.21.13", "1.2.1"):
        fake_go(empty_cache / "go" / release / "bin", release)
    assert toolchain.find("1.21") == empty_cache / "go" / "1.21.13" / "bin" / "go"
    assert toolchain.find("1.21.3") == empty_cache / "go" / "1.21.3" / "bin" / "go"
    assert toolchain.find("1.2") == empty_cache / "go" / "1.2.1" / "bin" / "go"


@pytest.mark.parametrize("version", ["1.14", "1.17", "1.20.4", "1.15.3"])
def test_a_version_from_nowhere_is_refused_with_what_can_be_had(empty_cache: Path, version: str) -> None:
    with pytest.raises(TargetError) as refusal:
        toolchain.find(version)
    words = str(refusal.value)
    assert f"Go {version} cannot be had" in words
    for source in ("1.15.15 (bullseye)", "1.19.8 (bookworm)", "1.24.4 (trixie)", "PyPI for 1.21 and later"):
        assert source in words
    assert not list((empty_cache / "go").iterdir())


def test_failed_downloads_are_told_by_source_and_leave_nothing(empty_cache: Path) -> None:
    with pytest.raises(TargetError, match=r"no-pip-here.*apt-get is not on this machine"):
        toolchain.find("1.24")
    assert not list((empty_cache / "go").iterdir())


@pytest.mark.parametrize("version", ["", "1", "1.x", "go1.21", "1.21.1.1", "../1.21", "-1.2", "1.21\n", "1.\u0662"])
def test_what_is_no_version_is_refused(empty_cache: Path, version: str) -> None:
    with pytest.raises(TargetError, match="is no version of Go"):
        toolchain.find(version)


def test_links_out_of_debians_tree_become_the_real_folders(tmp_path: Path) -> None:
    root, share = tmp_path / "usr/lib/go-1.99", tmp_path / "usr/share/go-1.99"
    (share / "src" / "fmt").mkdir(parents=True)
    (share / "include").mkdir()
    (root / "pkg").mkdir(parents=True)
    (root / "src").symlink_to("../../share/go-1.99/src")
    (root / "pkg" / "include").symlink_to("/usr/share/go-1.99/include")
    (root / "doc").symlink_to("../../share/doc/absent")
    (root / "inside").symlink_to("pkg")
    toolchain._resolve_links(root, tmp_path)
    assert {path.name: stat.S_ISDIR(path.lstat().st_mode) for path in root.iterdir()} == {
        "src": True,
        "pkg": True,
        "inside": False,
    }
    assert (root / "src" / "fmt").is_dir()
    assert stat.S_ISDIR((root / "pkg" / "include").lstat().st_mode)


def test_debians_own_trouble_is_told(empty_cache: Path) -> None:
    with pytest.raises(TargetError, match="no Debian suite 'woody'"):
        debian.package("woody", ["golang-go"])
    with pytest.raises(TargetError, match="apt-get is not on this machine"):
        debian.package("bullseye", ["etcd-server"])


def test_a_cached_package_needs_no_apt(empty_cache: Path) -> None:
    place = empty_cache / "debian" / "bullseye" / "a+b"
    place.mkdir(parents=True)
    assert debian.package("bullseye", ["b", "a"]) == place


def _make_slowly(cache: str, times: Path) -> None:
    os.environ["WHYRSS_CACHE"] = cache

    def make(folder: Path) -> None:
        with times.open("a") as made:
            made.write("x")
        (folder / "whole").touch()

    place = debian.cached(debian.cache_folder() / "things" / "one", make)
    assert (place / "whole").exists()


def test_processes_at_once_make_a_thing_once(empty_cache: Path) -> None:
    times = empty_cache.parent / "times"
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_make_slowly, args=(str(empty_cache), times)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert times.read_text() == "x"


def test_what_could_not_be_made_is_not_there(empty_cache: Path) -> None:
    place = debian.cache_folder() / "things" / "one"

    def fail(folder: Path) -> None:
        (folder / "half").touch()
        raise TargetError("no network")

    with pytest.raises(TargetError, match="no network"):
        debian.cached(place, fail)
    assert not list(place.parent.iterdir())


def test_a_lab_program_is_built_anew_when_what_it_shares_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_linux()
    for name in ("ballast.go", "common.go"):
        (tmp_path / name).write_text((PROGRAMS / name).read_text())
    monkeypatch.setattr(toolchain, "COMMON", tmp_path / "common.go")
    go, source = toolchain.find("1.27"), tmp_path / "ballast.go"
    before = toolchain.build(go, source)
    with toolchain.COMMON.open("a") as common:
        common.write('\nfunc init() { fail(7, "%s", "another") }\n')
    after = toolchain.build(go, source)
    ended = subprocess.run([after, "1"], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (7, "ballast: another\n")
    with running([before, "1"]) as program:
        assert program.ask("check") == f"OK {4 << 20} bytes"


def test_only_lab_programs_are_built_with_what_they_share(tmp_path: Path) -> None:
    assert toolchain.files(PROGRAMS / "ballast.go") == [PROGRAMS / "ballast.go", PROGRAMS / "common.go"]
    assert toolchain.files(PROGRAMS / "scenario.go") == [PROGRAMS / "scenario.go"]
    assert toolchain.files(tmp_path / "ballast.go") == [tmp_path / "ballast.go"]


@pytest.mark.parametrize("source", sorted(PROGRAMS.glob("*.go")), ids=lambda source: str(source.stem))
def test_every_lab_program_has_a_header_that_says_what_it_shows_and_what_it_is_compiled_with(source: Path) -> None:
    header = source.read_text().partition("\npackage main\n")[0]
    assert re.match(rf"// {source.stem.capitalize()} (shows|prepares|is|has) ", header)
    assert header.endswith(
        "Compiles with Go 1.12 to 1.27" + ("." if source in ALONE else ", together with common.go.")
    )


@pytest.mark.parametrize("word", ["much", "0", "-1", ""])
@pytest.mark.parametrize("name", ["ballast", "scavenger-pending"])
def test_a_lab_program_refuses_what_is_no_size(name: str, word: str) -> None:
    ended = subprocess.run([go_program("1.27", name), word], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f'{name}: "{word}" is no number of MiB\n'


def test_a_lab_program_says_which_line_it_does_not_know() -> None:
    with running([go_program("1.27", "past-spike"), "8"]) as program:
        assert program.ask('a "line"') == 'UNKNOWN "a \\"line\\""'
        assert program.ask("again") == 'UNKNOWN "again"'
        assert program.ask("check") == "OK 1 blocks"
