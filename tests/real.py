"""More real Go programs than support.py has: esbuild by each Go of 1.14 to 1.23, and caddy; all stripped."""

from __future__ import annotations

import contextlib
import json
import platform
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests import support
from whyrss.lab import npm

# The release of Go, and the npm package and version that it built (`go version FILE` says so).
ESBUILD: Mapping[str, tuple[str, str]] = {
    "1.14.2": ("esbuild-linux-64", "0.5.3"),
    "1.15.5": ("esbuild-linux-64", "0.8.30"),
    "1.16.3": ("esbuild-linux-64", "0.12.0"),
    "1.17.6": ("esbuild-linux-64", "0.14.20"),
    "1.18.2": ("esbuild-linux-64", "0.14.40"),
    "1.19": ("esbuild-linux-64", "0.15.0"),
    "1.19.4": ("@esbuild/linux-x64", "0.17.0"),
    "1.20.7": ("@esbuild/linux-x64", "0.19.0"),
    "1.20.12": ("@esbuild/linux-x64", "0.19.12"),
    "1.22.4": ("@esbuild/linux-x64", "0.23.0"),
    "1.23.5": ("@esbuild/linux-x64", "0.25.0"),
}
# The first with --serve; those before read their input to its end and wait for that.
FIRST_THAT_SERVES = (0, 9, 0)

FUNCTIONS = 40_000
REQUESTS = 2
INPUT_BYTES = 24 << 20
SETTLED_SECONDS = 0.5


@contextlib.contextmanager
def esbuild(go: str) -> Iterator[int]:
    """The PID of the esbuild that this release of Go (see ESBUILD) built, with some 50 to 300 MiB of heap.

    It has bundled a source of 3.6 MB twice and serves on; one that cannot serve has read 24 MiB of its input.
    """
    support.needs_linux()
    if platform.machine() != "x86_64":
        pytest.skip("these packages hold programs for x86_64")
    name, version = ESBUILD[go]
    program = npm.package(name, version) / "bin" / "esbuild"
    start = _serving if tuple(map(int, version.split("."))) >= FIRST_THAT_SERVES else _reading
    with tempfile.TemporaryDirectory() as folder, start(program, Path(folder)) as pid:
        yield pid


@contextlib.contextmanager
def caddy(suite: str) -> Iterator[support.Server]:
    """Debian's caddy (trixie or sid), which has served a file of 8 MiB; `get` asks its admin's address."""
    admin, serving = support.free_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "file").write_bytes(b"x" * (8 << 20))
        config = place / "caddy.json"
        config.write_text(json.dumps(_caddyfile(admin, serving, folder)))
        # Its certificates and saved configurations belong below HOME.
        env = {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        argv: list[str | Path] = [support.debian_program("caddy", suite), "run", "--config", config]
        log = place / "log"
        with log.open("wb") as output, support._spawned(argv, output, env) as process:
            server = support.Server(process, f"http://127.0.0.1:{admin}", log)
            server._await(lambda: server.answers("/config/"))
            served = support.Server(process, f"http://127.0.0.1:{serving}", log)
            for _ in range(REQUESTS):
                assert served.answers("/file"), support.tail(log)
            yield server


def _caddyfile(admin: int, serving: int, root: str) -> dict[str, object]:
    route = {"handle": [{"handler": "file_server", "root": root}]}
    server = {"listen": [f"127.0.0.1:{serving}"], "routes": [route]}
    return {
        "admin": {"listen": f"127.0.0.1:{admin}", "config": {"persist": False}},
        "apps": {"http": {"servers": {"only": server}}},
    }


@contextlib.contextmanager
def _serving(program: Path, folder: Path) -> Iterator[int]:
    (port,) = support.free_ports(1)
    (folder / "big.js").write_text("".join(map(_function, range(FUNCTIONS))))
    argv: list[str | Path] = [
        program,
        f"--serve=127.0.0.1:{port}",
        "--bundle",
        str(folder / "big.js"),
        f"--outdir={folder / 'out'}",
    ]
    log = folder / "log"
    # It ends with its standard input.
    with log.open("wb") as output, support._spawned(argv, output, None, subprocess.PIPE) as process:
        server = support.Server(process, f"http://127.0.0.1:{port}", log)
        server._await(lambda: server.answers("/big.js"))
        for _ in range(REQUESTS - 1):
            assert server.answers("/big.js"), support.tail(log)
        time.sleep(SETTLED_SECONDS)
        yield process.pid


@contextlib.contextmanager
def _reading(program: Path, folder: Path) -> Iterator[int]:
    log = folder / "log"
    argv: list[str | Path] = [program, "--loader=js"]
    with log.open("wb") as output, support._spawned(argv, output, None, subprocess.PIPE) as process:
        assert process.stdin
        written = 0
        for number in range(1 << 30):
            written += process.stdin.write(_function(number))
            if written >= INPUT_BYTES:
                break
        process.stdin.flush()
        time.sleep(SETTLED_SECONDS)
        yield process.pid


def _function(number: int) -> str:
    return (
        f'export function f{number}(a, b) {{ return [a + {number}, b * {number}, "text {number}"].map(x => x); }}\n'
    )
