"""Reading ahead gives what the files hold, once, and leaves to the caller what it cannot read."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from whyrss import ahead

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads a live process")


@pytest.fixture
def sleeper() -> Iterator[str]:
    """The PID of a process that sits still."""
    with subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            time.sleep(0.001)  # between the line and the sleep it still touches memory
        yield str(process.pid)
        process.kill()


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})


@pytest.mark.parametrize(("piece_bytes", "pieces"), [(ahead.PIECE_BYTES, ahead.PIECES), (64, 1), (4096, 3)])
def test_once_and_whole(sleeper: str, piece_bytes: int, pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PIECES", pieces)
    monkeypatch.setattr(ahead, "PIECE_BYTES", piece_bytes)
    path = f"/proc/{sleeper}/smaps"
    ahead.start(sleeper)
    taken = ahead.take(path)
    assert taken is not None
    kept = ("Size:", "VmFlags:", "Anonymous:")  # what nobody else's mappings change
    lines = [line for line in taken.decode().splitlines() if line.startswith(kept) or "-" in line.split(" ")[0]]
    expected = Path(path).read_text().splitlines()
    assert lines == [line for line in expected if line.startswith(kept) or "-" in line.split(" ")[0]]
    assert ahead.take(path) is None
    assert ahead.take(f"/proc/{sleeper}/statm") is not None
    assert ahead.take(f"/proc/{sleeper}/statm") is None
    assert ahead.take(f"/proc/{sleeper}/stat") is not None


def test_nothing_of_another_file(sleeper: str) -> None:
    ahead.start(sleeper)
    assert ahead.take("/proc/self/statm") is None
    assert ahead.take(f"/proc/{sleeper}/smaps") is not None


def test_no_process() -> None:
    ahead.start("4194305")  # more than PID_MAX_LIMIT
    assert ahead.take("/proc/4194305/smaps") is None


def test_too_large_is_left_to_the_caller(sleeper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LIMIT_BYTES", 100)
    ahead.start(sleeper)
    assert ahead.take(f"/proc/{sleeper}/smaps") is None


def test_not_on_one_processor(sleeper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
    ahead.start(sleeper)
    assert ahead.take(f"/proc/{sleeper}/smaps") is None


def test_a_long_walk_is_left_to_the_caller(sleeper: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PAGES_MAX", 1)
    ahead.start(sleeper)
    assert ahead.take(f"/proc/{sleeper}/smaps") is None
