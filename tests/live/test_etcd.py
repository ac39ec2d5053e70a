"""Real servers by Go 1.15 under load: Debian's etcd 3.3.25 and Prometheus 2.24, stripped, with cgo."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator

import pytest

from tests import support
from tests.live.cli import assert_evidence, assert_sums, finding_of, line_bytes, problems, whyrss_json
from tests.live.measured import needs_reclaim, settled_bytes, smaps_bytes, was_stopped

KIB, MIB = 1 << 10, 1 << 20

# What one of the large answers of the load leaves behind; several are built at once.
FREED_AT_LEAST_BYTES = 32 * MIB
KEY, VALUE = base64.b64encode(b"kept/key").decode(), base64.b64encode(b"a value\x00\xff" * 1000).decode()


@pytest.fixture(scope="module")
def etcd() -> Iterator[support.Etcd]:
    """An etcd that has answered large ranges, and has given back what they took."""
    with support.etcd() as server:
        status, body = server.get("/v3beta/kv/put", {"key": KEY, "value": VALUE})
        assert status == support.OK, body
        server.load()
        settled_bytes(server.pid, "LazyFree", FREED_AT_LEAST_BYTES)
        yield server


@pytest.fixture(scope="module")
def prometheus() -> Iterator[support.Prometheus]:
    with support.prometheus() as server:
        server.load()
        yield server


def test_etcd_is_explained(etcd: support.Etcd) -> None:
    before = smaps_bytes(etcd.pid, "LazyFree"), smaps_bytes(etcd.pid, "Rss")
    document = whyrss_json(etcd.pid)
    after = smaps_bytes(etcd.pid, "LazyFree"), smaps_bytes(etcd.pid, "Rss")
    assert_sums(document)
    assert_rss(document["rss_bytes"], before[1], after[1], document["residue_bytes"])
    assert problems(document) == ["lazyfree"]
    finding = finding_of(document, "lazyfree")
    assert finding["line"] == "heap/released/lazyfree"
    assert min(before[0], after[0]) * 98 <= finding["bytes"] * 100 <= max(before[0], after[0]) * 102
    assert finding["bytes"] == line_bytes(document, finding["line"])
    assert_evidence(finding)
    process = document["process"]
    assert (process["comm"], process["go_version"], process["stripped"]) == ("etcd", "go1.15.9", True)


def test_etcd_gives_it_back_and_serves_on(etcd: support.Etcd) -> None:
    needs_reclaim()
    lazyfree_bytes = settled_bytes(etcd.pid, "LazyFree", FREED_AT_LEAST_BYTES)
    rss_bytes = smaps_bytes(etcd.pid, "Rss")
    document = whyrss_json("reclaim", etcd.pid)
    # Its scavenger may free more at any time: then the next run finds that, until it has nothing left to free.
    deadline = time.monotonic() + support.HUNG_SECONDS
    while smaps_bytes(etcd.pid, "LazyFree") >= 256 * KIB:
        assert time.monotonic() < deadline
        whyrss_json("reclaim", etcd.pid)
    assert not was_stopped(etcd.pid)
    # A server at rest still collects and logs; it does not take a tenth of what was freed meanwhile.
    assert document["reclaimed_bytes"] >= lazyfree_bytes * 9 // 10
    assert rss_bytes - smaps_bytes(etcd.pid, "Rss") >= lazyfree_bytes * 9 // 10
    assert etcd.healthy()
    status, body = etcd.get("/v3beta/kv/range", {"key": KEY})
    assert status == support.OK
    (kept,) = json.loads(body)["kvs"]
    assert (kept["key"], kept["value"]) == (KEY, VALUE)
    assert problems(whyrss_json(etcd.pid)) == []


def test_prometheus_is_explained(prometheus: support.Prometheus) -> None:
    """While it still gives memory back: no figure stands still, and yet each document adds up."""
    before = smaps_bytes(prometheus.pid, "LazyFree"), smaps_bytes(prometheus.pid, "Rss")
    document = whyrss_json(prometheus.pid)
    after = smaps_bytes(prometheus.pid, "LazyFree"), smaps_bytes(prometheus.pid, "Rss")
    assert_sums(document)
    assert_rss(document["rss_bytes"], before[1], after[1], document["residue_bytes"])
    process = document["process"]
    assert (process["comm"], process["go_version"], process["stripped"]) == ("prometheus", "go1.15.9", True)
    heap_bytes = line_bytes(document, "heap")
    # Where the arenas of Go up to 1.25 are (runtime/malloc.go, mallocinit: 0x00c0<<32).
    arenas = smaps_bytes(prometheus.pid, "Rss", within=(0xC0_0000_0000, 0xC1_0000_0000))
    assert abs(heap_bytes - arenas) * 100 <= arenas * 2
    found = sum(finding["bytes"] for finding in document["findings"] if finding["cause"] == "lazyfree")
    assert min(before[0], after[0]) - MIB <= found <= max(before[0], after[0]) * 102 // 100


def test_prometheus_is_found_when_it_has_given_back(prometheus: support.Prometheus) -> None:
    settled_bytes(prometheus.pid, "LazyFree", FREED_AT_LEAST_BYTES)
    document = whyrss_json(prometheus.pid)
    assert problems(document) == ["lazyfree"]
    assert_evidence(finding_of(document, "lazyfree"))


def assert_rss(said_bytes: int, before_bytes: int, after_bytes: int, residue_bytes: int) -> None:
    """Between what RSS was before and after, give or take what moved while it was read and 1 % of a server
    that does not stand still."""
    tolerance_bytes = residue_bytes + max(before_bytes, after_bytes) // 100
    assert min(before_bytes, after_bytes) - tolerance_bytes <= said_bytes
    assert said_bytes <= max(before_bytes, after_bytes) + tolerance_bytes
