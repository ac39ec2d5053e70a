"""Packages of Debian's suites, unpacked into a cache of our own; the system's apt and dpkg stay as they are.

Real Go programs of old releases are only to be had from old suites: bullseye ships etcd 3.3.25 and Prometheus
2.24 built by Go 1.15, which frees with MADV_FREE.  Nothing is installed: apt-get verifies and downloads with
private folders (apt.conf(5), "Directories"), dpkg-deb unpacks.  No root is needed; dependencies are left out.

The cache is the folder WHYRSS_CACHE, else $XDG_CACHE_HOME/whyrss, else ~/.cache/whyrss.  The mirror is
WHYRSS_DEBIAN_MIRROR, else the one that this machine's own apt uses for Debian.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from whyrss.errors import TargetError

SUITES = ("bullseye", "bookworm", "trixie", "sid")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
LISTS_LAST_SECONDS = 24 * 3600
APT_TIMEOUT_SECONDS = 900

Say = Callable[[str], None]


def quiet(_: str) -> None:
    """The default listener of progress: says nothing."""


def package(suite: str, names: Sequence[str], *, say: Say = quiet) -> Path:
    """The root of a cached folder in which the packages `names` of `suite` lie unpacked, as in "/".

    A folder once made is never refreshed.  Raises TargetError: not Linux, no apt-get, no such suite or
    package, no network.
    """
    place = cache_folder() / "debian" / suite / "+".join(sorted(names))
    return cached(place, lambda fresh: unpack(suite, names, fresh, say=say))


def unpack(suite: str, names: Sequence[str], into: Path, *, say: Say = quiet) -> None:
    """Download the packages `names` of `suite` and unpack them over each other into the folder `into`."""
    options = _options(suite)
    with locked(f"apt-{suite}"), tempfile.TemporaryDirectory(dir=into.parent, prefix=".deb-") as folder:
        _refresh(suite, options, say)
        say(f"downloading {', '.join(names)} from Debian {suite}")
        _run(["apt-get", "-q", *options, "download", *names], cwd=Path(folder))
        for archive in sorted(Path(folder).glob("*.deb")):
            _run(["dpkg-deb", "-x", str(archive), str(into)])


def cache_folder() -> Path:
    """The folder (made if absent) below which everything downloaded or built is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(os.environ.get("WHYRSS_CACHE") or os.path.join(base, "whyrss")).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "set WHYRSS_CACHE to a folder that can be written"
        raise TargetError(f"the cache cannot be made: {error}", hint) from error
    return folder


def cached(place: Path, make: Callable[[Path], None]) -> Path:
    """`place`, filled by `make(empty folder)` if absent; it appears whole or not at all, and is made once."""
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(str(place.relative_to(cache_folder()))), fresh_folder(place.parent) as fresh:
            if not place.exists():
                make(fresh)
                os.rename(fresh, place)
    return place


@contextlib.contextmanager
def fresh_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in `parent`, gone at the end unless it was renamed."""
    folder = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock `name` against other processes; the kernel drops it if this one dies."""
    folder = cache_folder() / "locks"
    folder.mkdir(exist_ok=True)
    with open(folder / name.replace(os.sep, "_"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def mirror() -> str:
    """The URL of a Debian archive, without a slash at the end."""
    named = os.environ.get("WHYRSS_DEBIAN_MIRROR")
    if named:
        return named.rstrip("/")
    # --print-uris prints what an update would fetch and fetches nothing.
    uris = _run(["apt-get", "--print-uris", "update"])
    found = re.search(r"^'(\S+/debian)/dists/", uris, re.MULTILINE)
    if not found:
        raise TargetError(
            "this machine's apt names no mirror of Debian", "set WHYRSS_DEBIAN_MIRROR to the URL of one"
        )
    return found[1]


def _options(suite: str) -> list[str]:
    """The apt-get options that keep `suite` apart from the system's own configuration."""
    _check(suite)
    folder = cache_folder() / "apt" / suite
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    settings = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder,
        "APT::Default-Release": "",
        # As root, apt would download as the user _apt, who may not enter this cache.
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Acquire::http::Timeout": "60",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _check(suite: str) -> None:
    if suite not in SUITES:
        raise TargetError(f"no Debian suite {suite!r} is known here", f"known: {', '.join(SUITES)}")
    if platform.system() != "Linux":
        raise TargetError(f"Debian's programs do not run on {platform.system()}", "use a Linux machine")
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise TargetError(f"{tool} is not on this machine", "use Debian or one of its derivatives")
    if not os.path.exists(KEYRING):
        raise TargetError(f"{KEYRING} is missing", "install the package debian-archive-keyring")


def _refresh(suite: str, options: Sequence[str], say: Say) -> None:
    """Fetch the suite's list of packages (about 8 MB), unless that was done within a day."""
    folder = cache_folder() / "apt" / suite
    stamp = folder / "updated"
    if stamp.exists() and time.time() - stamp.stat().st_mtime < LISTS_LAST_SECONDS:
        return
    say(f"fetching the package list of Debian {suite}")
    source = f"deb [signed-by={KEYRING} target=Packages] {mirror()} {suite} main\n"
    (folder / "sources.list").write_text(source)
    # Without Error-Mode apt-get exits 0 with a mere warning when the network is down.
    _run(["apt-get", "-q", *options, "-o", "APT::Update::Error-Mode=any", "update"])
    stamp.touch()


def _run(argv: Sequence[str], cwd: Path | None = None) -> str:
    """What the command printed; TargetError with its own words if it failed."""
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=APT_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"{argv[0]} could not run: {error}") from error
    if done.returncode:
        said = f"{done.stderr}{done.stdout}".splitlines()
        complaints = [line for line in said if line.startswith(("E:", "Err:", "dpkg"))]
        words = " / ".join(complaints[:3]) or f"exit code {done.returncode}"
        raise TargetError(f"{argv[0]} {argv[-1]} failed: {words}", "is the mirror within reach?")
    return done.stdout
