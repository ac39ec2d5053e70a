"""The server before its real readers: go tool pprof, Prometheus, and clients that behave badly."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.lab.served import MIB, RECORDS, VERSIONS, made_up
from whyrss.errors import UsageError
from whyrss.lab import serve, toolchain
from whyrss.lab.debian import cache_folder
from whyrss.lab.formats import RATE_BYTES, pprof
from whyrss.lab.serve import Server, State
from whyrss.policy import GoVersion

GO = GoVersion.parse("go1.15.15")
STATE = State(made_up(), RECORDS, GO, rss_bytes=77 * MIB, start_s=1_795_566_268.25)


def get(url: str, target: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body; no proxy between."""
    address = urllib.parse.urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)) as client:
        client.request(method, target)
        answer = client.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()


def go_pprof(version: str, *arguments: str) -> str:
    """What `go tool pprof` of that Go prints. A Go from 1.25 on builds the tool first, hence its cache."""
    support.needs_linux()
    go = toolchain.find(version)
    with tempfile.TemporaryDirectory() as folder:
        cache = str(cache_folder() / "gocache" / f"pprof-{version}")
        env = {
            "HOME": folder,
            "PPROF_TMPDIR": folder,
            "GOCACHE": cache,
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "",
        }
        env |= {"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "TZ": "UTC"}
        argv = [str(go), "tool", "pprof", *arguments]
        done = subprocess.run(argv, env=env, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def url() -> Iterator[str]:
    with Server(lambda: STATE) as server:
        yield server.url


@pytest.mark.parametrize("version", VERSIONS)
def test_pprof_prints_our_functions_and_bytes(url: str, version: str) -> None:
    top = go_pprof(version, "-top", "-unit=kb", "-nodefraction=0", f"{url}/debug/pprof/heap")
    assert "Type: inuse_space\n" in top
    found = {line.split()[-1]: line.split()[0] for line in top.splitlines() if "%" in line and " of " not in line}
    assert found == {
        "cum%": "flat",
        "model.allocate(1MiB)": "16384kB",
        "model.allocate(64KiB)": "2048kB",
        **dict.fromkeys(("model.phase1", "model.phase2", "main.main"), "0"),
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_pprof_reads_every_value(url: str, version: str) -> None:
    raw = go_pprof(version, "-raw", f"{url}/debug/pprof/heap")
    assert f"PeriodType: space bytes\nPeriod: {RATE_BYTES}\n" in raw
    assert "alloc_objects/count alloc_space/bytes inuse_objects/count inuse_space/bytes" in raw
    assert samples(raw) == [
        [record.alloc_objects, record.alloc_bytes, record.inuse_objects, record.inuse_bytes] for record in RECORDS
    ]
    names = re.findall(r"^ +\d+: 0x[0-9a-f]+ M=1 (\S+)", raw, re.MULTILINE)
    assert names == list(dict.fromkeys(name for record in RECORDS for name in record.frames))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("rate_bytes", [1, RATE_BYTES])
def test_pprof_reads_the_text_too(version: str, rate_bytes: int) -> None:
    """Exactly with a rate of 1; else off by the half object of sampling, scaled up, and by pprof's rounding down."""
    with Server(lambda: STATE._replace(rate_bytes=rate_bytes)) as server:
        text = get(server.url, "/debug/pprof/heap?debug=1")[2]
    with tempfile.NamedTemporaryFile() as file:
        file.write(text)
        file.flush()
        raw = go_pprof(version, "-raw", file.name)
    for record, (alloc_objects, alloc_bytes, inuse_objects, inuse_bytes) in zip(RECORDS, samples(raw), strict=True):
        found = pprof.sampled(record, rate_bytes)
        half = record.alloc_objects / found.alloc_objects / 2 + 1 if rate_bytes > 1 else 0
        assert abs(alloc_objects - record.alloc_objects) <= half
        assert abs(inuse_objects - record.inuse_objects) <= half
        assert abs(alloc_bytes - record.alloc_bytes) <= half * record.object_bytes
        assert abs(inuse_bytes - record.inuse_bytes) <= half * record.object_bytes


def samples(raw: str) -> list[list[int]]:
    lines = re.findall(r"^ *((?:\d+ +){3}\d+): [\d ]+$", raw, re.MULTILINE)
    return [[int(value) for value in line.split()] for line in lines]


def test_prometheus_scrapes_the_server(url: str) -> None:
    with scraping(url) as server:
        for metric, value in (
            ("go_memstats_heap_released_bytes", STATE.stats["HeapReleased"]),
            ("go_memstats_next_gc_bytes", STATE.stats["NextGC"]),
            ("process_resident_memory_bytes", STATE.rss_bytes),
            ("go_gc_duration_seconds_count", STATE.stats["NumGC"]),
        ):
            assert [sample["value"][1] for sample in asked(server, metric)] == [str(value)]
        assert [sample["metric"]["version"] for sample in asked(server, "go_info")] == ["go1.15.15"]
        server_says_the_same_types(server, url)


def server_says_the_same_types(server: support.Prometheus, url: str) -> None:
    """Names and types as in the Go collector of the client_golang that Prometheus itself contains."""
    typed = re.compile(r"^# TYPE ((?:go|process)_\S+) (\w+)$", re.MULTILINE)
    theirs = dict(typed.findall(server.get("/metrics")[1].decode()))
    ours = dict(typed.findall(get(url, "/metrics")[2].decode()))
    assert len(ours) == 26
    assert ours.items() <= theirs.items()
    missing = {name for name in theirs.keys() - ours.keys() if name.startswith("go_memstats_")}
    assert missing == {"go_memstats_lookups_total", "go_memstats_gc_cpu_fraction"}


@contextlib.contextmanager
def scraping(url: str) -> Iterator[support.Prometheus]:
    """A real Prometheus that has scraped the server."""
    (port,) = support.free_ports(1)
    address = f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        config, log = Path(folder, "prometheus.yml"), Path(folder, "log")
        job = {"job_name": "model", "static_configs": [{"targets": [urllib.parse.urlsplit(url).netloc]}]}
        # JSON is YAML.
        config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}))
        argv = [str(support.debian_program("prometheus")), f"--config.file={config}"]
        argv += [f"--web.listen-address={address}", f"--storage.tsdb.path={folder}/data"]
        with log.open("wb") as output, support._spawned(argv, output, None) as process:
            server = support.Prometheus(process, f"http://{address}", log)
            server._await(lambda: server.answers("/-/ready") and bool(asked(server, "go_info")))
            yield server


def asked(server: support.Prometheus, query: str) -> list[dict[str, Any]]:
    body = server.get(f"/api/v1/query?{urllib.parse.urlencode({'query': query})}")[1]
    result: list[dict[str, Any]] = json.loads(body)["data"]["result"]
    return result


def test_the_paths_have_the_content_types_of_go(url: str) -> None:
    found = {target: get(url, target)[1]["Content-Type"] for target in (*serve.PATHS, "/debug/pprof/heap?debug=1")}
    assert found == {
        "/debug/pprof/heap": "application/octet-stream",
        "/debug/pprof/heap?debug=1": "text/plain; charset=utf-8",
        "/debug/vars": "application/json; charset=utf-8",
        "/metrics": "text/plain; version=0.0.4; charset=utf-8",
    }
    assert json.loads(get(url, "/debug/vars")[2])["memstats"] == STATE.stats
    assert b"# MaxRSS = %d\n" % STATE.rss_bytes in get(url, "/debug/pprof/heap?debug=1")[2]


@pytest.mark.parametrize("target", ["/", "/debug/pprof/", "/metrics/", "//[x", "/debug/pprof/../vars", "/%00", "*"])
def test_other_paths_are_not_found(url: str, target: str) -> None:
    status, headers, body = get(url, target)
    assert status == 404
    assert body == b"no such path; there are /debug/pprof/heap, /debug/vars, /metrics\n"
    assert headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "PATCH"])
def test_only_get_is_served(url: str, method: str) -> None:
    status, headers, body = get(url, "/metrics", method)
    assert (status, headers["Allow"]) == (405, "GET")
    assert body == (b"" if method == "HEAD" else b"only GET is served\n")


@pytest.mark.parametrize(
    ("request_bytes", "start"),
    [
        (b"GET /metrics?" + b"a" * 4096 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 500 + b"\r\n", b"431"),
        (b"GET /metrics?" + b"&".join([b"a=1"] * 20) + b" HTTP/1.1\r\n\r\n", b"400"),
        (b"\xff\xfe\x00 \r\n\r\n", b"Bad request syntax"),
        (b"GET / x y HTTP/1.1\r\n\r\n", b"400"),
    ],
)
def test_a_request_is_bounded(
    url: str, request_bytes: bytes, start: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    address = urllib.parse.urlsplit(url)
    with socket.create_connection((address.hostname, address.port or 0), timeout=60) as client:
        client.sendall(request_bytes)
        with contextlib.suppress(ConnectionResetError):
            answer = client.recv(4096)
            assert start in answer.split(b"\r\n")[0]
    assert get(url, "/metrics")[0] == 200
    assert capfd.readouterr().err == ""


def test_a_client_that_goes_away_is_no_news(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    address = urllib.parse.urlsplit(url)
    for request in (b"", b"GET /met", b"GET /debug/vars HTTP/1.1\r\n\r\n"):
        with socket.create_connection((address.hostname, address.port or 0), timeout=60) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
            client.sendall(request)
    assert get(url, "/metrics")[0] == 200
    assert capfd.readouterr().err == ""


def test_gc_is_called_before_the_figures_are_read() -> None:
    calls: list[str] = []

    def read() -> State:
        calls.append("read")
        return STATE

    with Server(read, collect=lambda: calls.append("gc")) as server:
        for target in (
            "/debug/pprof/heap?gc=1&debug=1",
            "/debug/pprof/heap?gc=0",
            "/debug/pprof/heap?gc=x",
            "/metrics?gc=1",
        ):
            assert get(server.url, target)[0] == 200
    assert calls == ["gc", "read", "read", "read", "read"]


def test_figures_that_cannot_be_read_are_said_in_one_line() -> None:
    def read() -> State:
        raise RuntimeError("the model\r\nhas ended")

    with Server(read) as server:
        status, _, body = get(server.url, "/metrics")
        assert (status, body) == (500, b"the figures cannot be read: the model has ended\n")


def test_each_request_reads_anew() -> None:
    states = iter([STATE, STATE._replace(rss_bytes=5)])
    with Server(lambda: next(states)) as server:
        first, second = get(server.url, "/metrics")[2], get(server.url, "/metrics")[2]
    assert b"process_resident_memory_bytes 5\n" not in first
    assert b"process_resident_memory_bytes 5\n" in second


def test_the_port_is_free_again() -> None:
    with Server(lambda: STATE) as server:
        address = server.url.removeprefix("http://")
        with (
            pytest.raises(UsageError, match=rf"cannot listen on {address}: .*; choose another port"),
            Server(lambda: STATE, address),
        ):
            pass
        assert get(server.url, "/metrics")[0] == 200
    with Server(lambda: STATE, address) as server:
        assert server.url == f"http://{address}"


@pytest.mark.parametrize("address", ["localhost:0", "127.0.0.2:0", "[::1]:0"])
def test_loopback_addresses(address: str) -> None:
    if "::1" in address and not has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    with Server(lambda: STATE, address) as server:
        assert get(server.url, "/metrics")[0] == 200


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0:80", ":80", "192.168.0.1:80", "[::]:80", "::1:80", "example.org:80", "[127.0.0.1]:80", "",
        "127.0.0.1", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:٣",
        "127.0.0.1.evil.org:80",
    ],
)  # fmt: skip
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(UsageError, match=r"is no address of this machine alone|has no port"):
        Server(lambda: STATE, address)
