"""npm packages: fetched once, whole or not at all, and said clearly where that cannot be."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests import support
from whyrss.errors import TargetError
from whyrss.lab import npm

NAME, VERSION = "esbuild-linux-64", "0.9.0"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WHYRSS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `npm` of our own before all others on PATH: what a registry does wrong cannot be had on demand."""
    folder.mkdir(exist_ok=True)
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def archive(path: Path, *names: str) -> Path:
    with tarfile.open(path, "w:gz") as packed:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 1
            packed.addfile(entry, io.BytesIO(b"x"))
    return path


def test_a_real_package_is_an_executable_that_runs() -> None:
    support.needs_linux()
    program = npm.package(NAME, VERSION) / "bin" / "esbuild"
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == VERSION


def test_what_is_cached_is_not_fetched_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive(cache.parent / "p.tgz", "package/bin/tool", "package/package.json")
    stand_in(cache.parent / "good", f'cp {packed} "$5/"', monkeypatch)
    place = npm.package("tool", "1.2.3")
    assert sorted(str(path.relative_to(place)) for path in place.rglob("*")) == ["bin", "bin/tool", "package.json"]
    stand_in(cache.parent / "bad", "exit 1", monkeypatch)
    assert npm.package("tool", "1.2.3") == place


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'npm error code E404' >&2; exit 1", "npm error code E404"),
        ("exit 7", "exit code 7"),
        ("exit 0", "left 0 archives"),
        ('echo no archive > "$5/p.tgz"', "cannot be unpacked"),
    ],
)
def test_a_failure_is_said_and_leaves_nothing(
    script: str, words: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(cache.parent / "bad", script, monkeypatch)
    with pytest.raises(TargetError, match=words):
        npm.package("tool", "1.2.3")
    assert not list((cache / "npm").iterdir())


def test_an_archive_that_would_leave_the_folder_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = archive(cache.parent / "p.tgz", "package/../../../outside")
    stand_in(cache.parent / "bad", f'cp {packed} "$5/"', monkeypatch)
    with pytest.raises(TargetError, match="cannot be unpacked"):
        npm.package("tool", "1.2.3")
    assert not list(cache.parent.rglob("outside"))


def test_without_npm_it_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(cache.parent / "empty"))
    with pytest.raises(TargetError, match="npm is not on this machine; install npm"):
        npm.package("tool", "1.2.3")


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "@a/b/c", "https://example.org/x.tgz"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(TargetError, match="no name of an npm package"):
        npm.package(name, "1.2.3")


@pytest.mark.parametrize("version", ["", "latest", "^1.0.0", "1.2", "1.2.3 --x"])
def test_what_is_no_exact_version_is_refused(version: str) -> None:
    with pytest.raises(TargetError, match="no exact version"):
        npm.package("tool", version)
