"""Packages of the npm registry, unpacked into the cache; nothing is installed and no script of a package runs.

Go's old releases have real programs there that no Debian suite has: esbuild is one static, stripped executable, built
by each minor version of Go from 1.14 to 1.23.  `npm pack` downloads and verifies; which registry it asks is the
machine's own configuration (npm-config(1), "registry").
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from whyrss.errors import TargetError
from whyrss.lab.debian import Say, cache_folder, cached, quiet

NPM_TIMEOUT_SECONDS = 600

# An exact version: a range or a tag such as "latest" would mean another package tomorrow, and the cache is for good.
_NAME = re.compile(r"(@[a-z0-9][\w.-]*/)?[a-z0-9][\w.-]*", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+(-[\w.-]+)?", re.ASCII)


def package(name: str, version: str, *, say: Say = quiet) -> Path:
    """The root of a cached folder that holds what the package packs ("bin/esbuild").

    A folder once made is never refreshed.  Raises TargetError: no npm, no such package or version, no network.
    """
    _check(name, version)
    place = cache_folder() / "npm" / f"{name.replace('/', '+')}@{version}"
    return cached(place, lambda fresh: _unpack(name, version, fresh, say))


def _check(name: str, version: str) -> None:
    if not _NAME.fullmatch(name):
        raise TargetError(f"{name!r} is no name of an npm package", "write it as esbuild or @esbuild/linux-x64")
    if not _VERSION.fullmatch(version):
        raise TargetError(f"{version!r} is no exact version of an npm package", "write it as 0.25.0")


def _unpack(name: str, version: str, into: Path, say: Say) -> None:
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=".npm-") as folder:
        say(f"downloading {name} {version} from the npm registry")
        _pack(f"{name}@{version}", folder)
        archives = list(Path(folder).glob("*.tgz"))
        if len(archives) != 1:
            raise TargetError(f"npm pack {name}@{version} left {len(archives)} archives, not one")
        _extract(archives[0], into)


def _extract(archive: Path, into: Path) -> None:
    """The files below the archive's one folder, "package"; what would land elsewhere is refused."""
    try:
        with tarfile.open(archive) as packed:
            packed.extractall(into, filter="data")
        (content,) = into.iterdir()
        for path in list(content.iterdir()):
            os.rename(path, into / path.name)
        content.rmdir()
    except (OSError, ValueError, tarfile.TarError) as error:
        raise TargetError(f"{archive.name} cannot be unpacked: {error}") from error


def _pack(spec: str, folder: str) -> None:
    npm = shutil.which("npm")
    if not npm:
        raise TargetError(
            f"{spec} cannot be had: npm is not on this machine", "install npm (Debian: apt install npm)"
        )
    argv = [npm, "pack", "--ignore-scripts", "--loglevel=error", "--pack-destination", folder, spec]
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=NPM_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"npm pack {spec} could not run: {error}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "complete log" not in line]
        words = " / ".join(said[:3]) or f"exit code {done.returncode}"
        raise TargetError(f"npm pack {spec} failed: {words}", "is the registry within reach?")
