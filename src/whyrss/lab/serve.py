"""The model's figures over HTTP, at the paths and in the formats of a Go program.

For this machine only: nothing but loopback addresses is listened on.
"""

from __future__ import annotations

import ipaddress
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs

from whyrss.errors import UsageError
from whyrss.lab.formats import RATE_BYTES, Record, expvar, pprof, profile, prometheus
from whyrss.lab.memstats import MemStats
from whyrss.policy import GoVersion
from whyrss.version import __version__

# What one request may cost: a client that says nothing for so long is dropped, and so is a longer target.
IDLE_SECONDS = 10
TARGET_MAX_BYTES = 2048
QUERY_MAX_FIELDS = 16
POLL_SECONDS = 0.05

TEXT = "text/plain; charset=utf-8"


class State(NamedTuple):
    """What is served, of one moment. `start_s`: seconds since the Unix epoch. `rate_bytes`: the sampling rate of
    the profile; with 1 its text counts every object."""

    stats: MemStats
    records: Sequence[Record]
    go: GoVersion
    rss_bytes: int
    start_s: float
    max_rss_bytes: int = 0
    cmdline: Sequence[str] = ("whyrss", "lab")
    rate_bytes: int = RATE_BYTES


class Answer(NamedTuple):
    content_type: str
    body: bytes
    attachment: str = ""


def heap(state: State, debug: int) -> Answer:
    if not debug:
        body = profile.profile(state.records, time.time_ns(), state.rate_bytes)
        return Answer("application/octet-stream", body, "heap")
    most_bytes = max(state.max_rss_bytes, state.rss_bytes)
    return Answer(TEXT, pprof.text(state.stats, state.records, state.go, most_bytes, state.rate_bytes))


def variables(state: State, debug: int) -> Answer:
    return Answer("application/json; charset=utf-8", expvar.document(state.stats, state.cmdline))


def metrics(state: State, debug: int) -> Answer:
    body = prometheus.exposition(state.stats, state.go, state.rss_bytes, state.start_s)
    return Answer("text/plain; version=0.0.4; charset=utf-8", body)


HEAP = "/debug/pprof/heap"
PATHS = {HEAP: heap, "/debug/vars": variables, "/metrics": metrics}


class Server:
    """Serves what `read` gives; a context manager, `url` while it is entered. `read`, and `collect` for
    /debug/pprof/heap?gc=1, are called from threads of the server, never two at once.

    Raises UsageError for an address that is none, is not loopback's, or cannot be listened on.
    """

    def __init__(
        self, read: Callable[[], State], address: str = "127.0.0.1:0", collect: Callable[[], object] | None = None
    ) -> None:
        self.url = ""
        self._read = read
        self._collect = collect
        self._address = address
        self._host, self._port = _loopback(address)

    def __enter__(self) -> Server:
        try:
            self._http = _Http((self._host, self._port), self._read, self._collect)
        except OSError as error:
            hint = "choose another port, or 0 for any free one"
            raise UsageError(f"cannot listen on {self._address}: {error.strerror}", hint) from error
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{host}:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(POLL_SECONDS,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        self.url = ""


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(
        self, address: tuple[str, int], read: Callable[[], State], collect: Callable[[], object] | None
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.read = read
        self.collect = collect
        self.lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """HTTPServer's own asks the resolver for the host's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""

    def state(self, collect: bool) -> State:
        with self.lock:
            if collect and self.collect:
                self.collect()
            return self.read()


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    timeout = IDLE_SECONDS
    server_version = f"whyrss/{__version__}"

    def do_GET(self) -> None:
        path, _, asked = self.path.partition("?")
        if len(self.path) > TARGET_MAX_BYTES:
            self.send_error(414, f"the request is longer than {TARGET_MAX_BYTES} bytes")
        elif path not in PATHS:
            self.send_error(404, f"no such path; there are {', '.join(PATHS)}")
        else:
            self._answer(path, asked)

    def _answer(self, path: str, asked: str) -> None:
        try:
            query = parse_qs(asked, max_num_fields=QUERY_MAX_FIELDS)
        except ValueError:
            self.send_error(400, f"a query has at most {QUERY_MAX_FIELDS} fields")
            return
        try:
            state = self.server.state(path == HEAP and _number(query, "gc") > 0)
            answer = PATHS[path](state, _number(query, "debug"))
        except Exception as error:
            self.send_error(500, f"the figures cannot be read: {error}")
            return
        self._send(200, answer)

    def _send(self, status: int, answer: Answer) -> None:
        self.send_response(status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Length", str(len(answer.body)))
        if answer.attachment:
            self.send_header("Content-Disposition", f'attachment; filename="{answer.attachment}"')
        if status == 405:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """One line of text, not a page. What has no method here is not allowed, rather than not implemented."""
        code, line = (405, "only GET is served") if code == 501 else (code, message or self.responses[code][0])
        self.close_connection = True
        self._send(code, Answer(TEXT, f"{' '.join(line.split())}\n".encode(errors="backslashreplace")))

    def log_message(self, format: str, *args: object) -> None:
        """Standard error belongs to whoever runs the server."""


def _number(query: dict[str, list[str]], name: str) -> int:
    """The first value of a form field as strconv.Atoi reads it; 0 where it is none (net/http/pprof)."""
    text = query.get(name, [""])[0]
    digits = text[1:] if text[:1] in ("-", "+") else text
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0


def _loopback(address: str) -> tuple[str, int]:
    """Host and port of "127.0.0.1:0", "localhost:8080", "[::1]:0"."""
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        loopback = ipaddress.ip_address(inner).is_loopback and (":" in inner) == (inner != host)
    except ValueError:
        loopback = False
    if not loopback:
        raise UsageError(f"{address!r} is no address of this machine alone", "write it as 127.0.0.1:8080")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise UsageError(f"{address!r} has no port", "write it as 127.0.0.1:8080, or with 0 for any free port")
    return inner, int(port)
