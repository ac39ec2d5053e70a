"""The heap in a recording: what comes out is what went in, and damage is a Missing with words."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli import whyrss
from tests.support import go_program, needs_linux, running
from whyrss.errors import Missing
from whyrss.goheap.heap import Heap
from whyrss.read.pagemap import Pages
from whyrss.snapshot import Outside, Vmas
from whyrss.sources.kept import dump_heap, load_heap
from whyrss.sources.proc import ProcSource
from whyrss.verdict import account_for

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads a live process")


@pytest.fixture(scope="module")
def dumped() -> bytes:
    """Of a real process that has lazily freed pages."""
    needs_linux()
    with running([str(go_program("1.15")), "16", "2"]) as program:
        snapshot = ProcSource(program.pid, basis="page").collect()
    return dump_heap(snapshot[Heap], snapshot[Pages], snapshot[Outside])


def test_the_sections_come_back(dumped: bytes) -> None:
    sections = load_heap(dumped)
    heap, pages, outside = sections["Heap"], sections["Pages"], sections["Outside"]
    assert isinstance(heap, Heap) and isinstance(pages, Pages) and isinstance(outside, Outside)
    assert dump_heap(heap, pages, outside) == dumped
    assert heap.memstats["HeapReleased"] > 16 << 20
    assert pages.lazy and outside.labels and heap.metadata


@pytest.mark.parametrize("form", ["recording", "recording.tar.gz"])
def test_a_recording_gives_the_same_document(form: str, tmp_path: Path) -> None:
    to = tmp_path / form
    with running([str(go_program("1.24")), "16", "2"], env={"SECRET": "hunter2"}) as program:
        assert whyrss("record", str(program.pid), "-o", str(to))[0] == 0
        code, live, _ = whyrss(str(program.pid), "--json")
    assert code == 0
    code, kept, _ = whyrss(str(to), "--json")
    assert code == 0
    first, second = json.loads(live), json.loads(kept)
    assert second["basis"] == "page"
    assert second["memstats"]["HeapReleased"] > 0
    for document in (first, second):
        del document["taken_at"]
    assert first == second
    files = [path for path in (tmp_path / form).rglob("*") if path.is_file()] if form == "recording" else [to]
    assert sum(path.stat().st_size for path in files) < 200_000
    assert b"hunter2" not in b"".join(path.read_bytes() for path in files)


@given(at=st.integers(0, 20_000), byte=st.integers(0, 255), cut=st.integers(0, 20_000))
@settings(max_examples=200, deadline=None)
def test_damage_is_said(dumped: bytes, at: int, byte: int, cut: int) -> None:
    broken = bytearray(dumped)
    broken[at % len(broken)] = byte
    for data in (bytes(broken), dumped[: cut % len(dumped)]):
        try:
            sections = load_heap(data)
        except Missing as missing:
            assert "damaged" in missing.reason
            continue
        assert isinstance(sections["Heap"], Heap)


@pytest.mark.parametrize(
    "change",
    [
        {"arenas": [[5, 3]]},
        {"page_bytes": 12345},
        {"columns": [["pages", "Q", 1 << 40]]},
        {"columns": [["pages", "x", 1]]},
        {"outside": [[0, 4096, []]]},
        {"lazy": [[8192, 12288], [0, 4096]]},
        {"memstats": 7},
        {"schema": "whyrss-heap/9"},
    ],
)
def test_a_lying_head_is_damage(dumped: bytes, change: dict[str, object]) -> None:
    line, _, packed = dumped.partition(b"\n")
    head = json.loads(line) | change
    with pytest.raises(Missing, match="damaged"):
        load_heap(json.dumps(head).encode() + b"\n" + packed)


def test_a_recording_whose_heap_is_damaged_goes_by_vma(tmp_path: Path) -> None:
    to = tmp_path / "recording"
    with running([str(go_program("1.24")), "16", "2"]) as program:
        assert whyrss("record", str(program.pid), "-o", str(to))[0] == 0
    path = next(to.glob("proc/*/heap"))
    path.write_bytes(path.read_bytes()[:100])
    code, out, _ = whyrss(str(to))
    assert code == 0
    assert "by VMA" in out
    assert "the heap in the recording is damaged" in " ".join(out.split())
    assert whyrss(str(to), "--basis", "page")[0] == 3


def test_the_sum_is_that_of_the_recording(dumped: bytes) -> None:
    with running([str(go_program("1.27")), "16", "2"]) as program:
        snapshot = ProcSource(program.pid, basis="page").collect()
    account = account_for(snapshot)
    assert account.basis == "page"
    assert account.rss_bytes == snapshot[Vmas].total_bytes("Rss")
