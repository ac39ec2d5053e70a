"""Real Go programs for the tests: built by a chosen Go, or Debian's own; started, loaded, always reaped."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import platform
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest

import whyrss.lab
from whyrss.lab import debian, toolchain

MACHINES = ("x86_64", "aarch64")
PROGRAMS = Path(whyrss.lab.__path__[0]) / "programs"
PACKAGES = {"etcd": "etcd-server", "prometheus": "prometheus", "caddy": "caddy"}
# Where etcd's JSON gateway is (api-reference of etcd, "gRPC gateway"): 3.3 of bullseye, 3.4 and 3.5 of the others.
GATEWAYS = {"bullseye": "/v3beta", "bookworm": "/v3", "trixie": "/v3", "sid": "/v3"}

# How long a program may take to answer before it is taken for hung; generous, for it bounds no measurement.
HUNG_SECONDS = 120.0

OK, TOO_MANY_REQUESTS = 200, 429


def needs_linux() -> None:
    """Skip the test where Go's and Debian's old programs cannot run; nothing else is a reason to."""
    if platform.system() != "Linux" or platform.machine() not in MACHINES:
        here = f"{platform.system()} {platform.machine()}"
        pytest.skip(f"needs Linux on {' or '.join(MACHINES)}, this is {here}")


def go_program(version: str, name: str = "lazyfree", flags: Sequence[str] = (), env: Mapping[str, str] = {}) -> Path:
    """The lab program `name` built by that Go (downloaded at need); `flags` and `env` are `go build`'s."""
    needs_linux()
    return toolchain.build(toolchain.find(version), PROGRAMS / f"{name}.go", flags=flags, env=env)


def debian_program(name: str, suite: str = "bullseye") -> Path:
    """The executable of a suite, stripped; bullseye's etcd 3.3.25 and prometheus 2.24 are by Go 1.15, with cgo."""
    needs_linux()
    return debian.package(suite, [PACKAGES[name]]) / "usr" / "bin" / name


class Program:
    """A running program that obeys lines: `pid`, `ready` (the object of its first line), `ask`."""

    def __init__(self, process: subprocess.Popen[str], ready: str, log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.log = log
        self.ready: dict[str, Any] = json.loads(self._answer(ready) or "{}")

    def ask(self, line: str) -> str:
        """Send one line; its one line of answer."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer("")

    def _answer(self, start: str) -> str:
        """The rest of the next line that begins with `start`."""
        assert self.process.stdout
        watchdog = threading.Timer(HUNG_SECONDS, self.process.kill)
        watchdog.start()
        try:
            for line in self.process.stdout:
                if line.startswith(start):
                    return line[len(start) :].strip()
        finally:
            watchdog.cancel()
        code = self.process.wait()
        raise AssertionError(f"{self.process.args!r} ended with {code}, no {start!r}: {tail(self.log)}")


@contextlib.contextmanager
def running(
    argv: Sequence[str | Path], env: Mapping[str, str] | None = None, ready: str = "READY"
) -> Iterator[Program]:
    """Start `argv` with `env` added to the environment, wait for "READY {json}", kill it at the end."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "stderr")
        with log.open("wb") as errors, _spawned(argv, errors, env, subprocess.PIPE) as process:
            yield Program(process, ready, log)


class Server:
    """A running HTTP server: `pid`, `url`, `log` (a file)."""

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.url = url
        self.log = log

    def get(self, path: str, body: object = None) -> tuple[int, bytes]:
        """Status and body of the answer to GET, or to POST of `body` as JSON."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        # A proxy of the environment must not come between this process and 127.0.0.1.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=HUNG_SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def _await(self, healthy: Callable[[], bool]) -> None:
        deadline = time.monotonic() + HUNG_SECONDS
        while not healthy():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{self.process.args!r} does not serve: {tail(self.log)}")
            time.sleep(0.1)

    def answers(self, path: str, fragment: bytes = b"") -> bool:
        """Whether the path is served with status 200 and `fragment` in its body."""
        try:
            status, body = self.get(path)
        except (OSError, http.client.HTTPException):
            return False
        return status == OK and fragment in body


class Etcd(Server):
    """etcd, spoken to through its JSON gateway below the path `gateway`."""

    gateway = GATEWAYS["bullseye"]

    def healthy(self) -> bool:
        return self.answers("/health", b"true")

    def load(self, puts: int = 32, value_bytes: int = 1 << 20, ranges: int = 12, settle: int = 200) -> None:
        """Put that many values, read them all `ranges` times, four at once, then one of them `settle` times.

        Each range builds an answer of puts * value_bytes, hundreds of MiB of heap in all, and drops it.  The
        gateway answers 429 when that is over its 4 MiB, but only after etcd has built it.  The small reads at
        the end bring on collections that find the large answers gone; the runtime keeps 110 % of the heap
        goal of the last collection (runtime/mgcscavenge.go, retainExtraPercent) and gives back the rest.
        """
        value = _text(os.urandom(value_bytes))
        for number in range(puts):
            status, body = self.get(f"{self.gateway}/kv/put", {"key": _text(b"load/%06d" % number), "value": value})
            assert status == OK, body
        everything = {"key": _text(b"load/"), "range_end": _text(b"load0")}
        with ThreadPoolExecutor(4) as pool:
            for status, body in pool.map(lambda _: self.get(f"{self.gateway}/kv/range", everything), range(ranges)):
                assert status in (OK, TOO_MANY_REQUESTS), body
        for _ in range(settle):
            status, body = self.get(f"{self.gateway}/kv/range", {"key": _text(b"load/%06d" % 0)})
            assert status == OK, body


class Prometheus(Server):
    """Prometheus, scraping itself every second."""

    def healthy(self) -> bool:
        return self.answers("/-/ready") and self._series() > 0

    def load(self, queries: int = 8, points: int = 11_000, collections: int = 3) -> None:
        """Count all series at `points` instants, `queries` times, all at once; then have the heap collected.

        The engine first builds every series at every instant, 16 bytes each (promql/engine.go, Point): 370
        series of its own make 62 MiB a query; 11000 instants are the most that it grants.  The instants lie
        ahead, where the last sample of a series still stands for it (for 5 minutes), however short a time
        this server has run.  It takes two collections to empty the engine's sync.Pool of points.
        """
        start = time.time()
        window = {"start": start, "end": start + (points - 1) / 1000, "step": 0.001}
        asked = urllib.parse.urlencode({"query": 'count({__name__=~".+"})', **window})
        with ThreadPoolExecutor(queries) as pool:
            for status, body in pool.map(self.get, [f"/api/v1/query_range?{asked}"] * queries):
                assert status == OK, body
        for _ in range(collections):
            assert self.answers("/debug/pprof/heap?gc=1")

    def _series(self) -> int:
        asked = urllib.parse.urlencode({"query": 'count({__name__=~".+"})'})
        result = json.loads(self.get(f"/api/v1/query?{asked}")[1])["data"]["result"]
        return int(result[0]["value"][1]) if result else 0


@contextlib.contextmanager
def etcd(env: Mapping[str, str] | None = None, suite: str = "bullseye", flags: Sequence[str] = ()) -> Iterator[Etcd]:
    """A real etcd (bullseye's: 3.3.25 by Go 1.15) on a free port of 127.0.0.1, healthy, its data gone at the end."""
    clients, peers = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    # etcd refuses to run on arm64 unless told so.
    env = {"ETCD_UNSUPPORTED_ARCH": "arm64", **(env or {})}
    with tempfile.TemporaryDirectory() as folder:
        argv = [str(debian_program("etcd", suite)), *flags, "--name=test", f"--data-dir={folder}/data"]
        argv += [f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"]
        argv += [f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"]
        argv += [f"--initial-cluster=test={peers}"]
        log = Path(folder, "log")
        with log.open("wb") as output, _spawned(argv, output, env) as process:
            server = Etcd(process, clients, log)
            server.gateway = GATEWAYS[suite]
            server._await(server.healthy)
            yield server


@contextlib.contextmanager
def prometheus(env: Mapping[str, str] | None = None, suite: str = "bullseye") -> Iterator[Prometheus]:
    """A real Prometheus (bullseye's: 2.24 by Go 1.15) on a free port of 127.0.0.1 that has already scraped itself."""
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "prometheus.yml")
        job = {"job_name": "self", "static_configs": [{"targets": [address]}]}
        # JSON is YAML.
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}))
        argv = [str(debian_program("prometheus", suite)), f"--config.file={config}"]
        argv += [f"--web.listen-address={address}", f"--storage.tsdb.path={folder}/data"]
        log = Path(folder, "log")
        with log.open("wb") as output, _spawned(argv, output, env) as process:
            server = Prometheus(process, f"http://{address}", log)
            server._await(server.healthy)
            yield server


@contextlib.contextmanager
def _spawned(
    argv: Sequence[str | Path], log: IO[bytes], env: Mapping[str, str] | None, pipe: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The started process, killed and reaped at the end; its stderr, and stdout unless piped, go to `log`."""
    process = subprocess.Popen(
        [str(word) for word in argv],
        stdin=pipe if pipe is not None else subprocess.DEVNULL,
        stdout=pipe if pipe is not None else log,
        stderr=log,
        env={**os.environ, **(env or {})},
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                # A line that the killed program no longer read.
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now; all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def tail(log: Path, most_bytes: int = 2000) -> str:
    """The end of a log, for the message of a failure."""
    return log.read_bytes()[-most_bytes:].decode(errors="replace")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
