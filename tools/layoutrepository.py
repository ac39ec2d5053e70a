"""The releases in a clone of Go's repository (https://go.googlesource.com/go), each by its tag."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.layoutfiles import Release
from whyrss.errors import TargetError

TAG = "go"  # go1.19.3; a release of its own, where go1.19rc1 is a candidate
PARTS = ("src/runtime", "src/internal")  # what package runtime is made of
WORDS = 400  # characters kept of what git says when it fails


def releases(repository: Path) -> list[str]:
    """The releases that have a tag, in the order of time: "1.19", "1.19.1". Raises TargetError with git's words."""
    names = _git(repository, "tag", "--list", f"{TAG}1.*").decode().split()
    return sorted(filter(_is_release, (name.removeprefix(TAG) for name in names)), key=Release.parse)


@contextlib.contextmanager
def unpacked(repository: Path, release: str) -> Iterator[Path]:
    """A folder with the release's src/runtime and what that needs, as long as it is used. Raises TargetError."""
    with tempfile.TemporaryDirectory() as folder:
        archive = _git(repository, "archive", f"refs/tags/{TAG}{release}", *PARTS)
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        yield Path(folder)


def _is_release(text: str) -> bool:
    try:
        return not Release.parse(text).experiments
    except ValueError:
        return False


def _git(repository: Path, *arguments: str) -> bytes:
    argv = ["git", "-C", str(repository), *arguments]
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines() or [f"it ended with {done.returncode}"]
        raise TargetError(f"git {arguments[0]} in {repository}: {words[0][:WORDS]}")
    return done.stdout
