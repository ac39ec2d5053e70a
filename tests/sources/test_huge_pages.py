"""What only the causes about huge pages need is read when they ask for it, and kept by a recording."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from whyrss.errors import Missing
from whyrss.snapshot import HugePages
from whyrss.sources import open_source
from whyrss.sources.files import LIMIT_BYTES, LiveFiles
from whyrss.sources.proc import ProcSource
from whyrss.sources.recording import record

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc of Linux")
FILE = "sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none"
STILL = "import sys; print('READY {}', flush=True); sys.stdin.read()"


class Machine(LiveFiles):
    """The files of this machine, with another content of that one; `read_files` are their names in order."""

    def __init__(self, content: bytes | None) -> None:
        super().__init__()
        self.content = content
        self.read_files: list[str] = []

    def read(self, path: str, limit_bytes: int = LIMIT_BYTES) -> bytes:
        self.read_files.append(path)
        if path != FILE:
            return super().read(path, limit_bytes)
        if self.content is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self.content


@pytest.fixture(scope="module")
def pid() -> Iterator[int]:
    with support.running([sys.executable, "-c", STILL]) as running:
        yield running.pid


def test_it_is_read_when_it_is_asked_for_and_once(pid: int) -> None:
    machine = Machine(b"64\n")
    snapshot = ProcSource(pid, machine).collect()
    assert FILE not in machine.read_files
    assert [snapshot[HugePages].max_ptes_none for _ in range(2)] == [64, 64]
    assert machine.read_files.count(FILE) == 1


@pytest.mark.parametrize("content", [None, b"", b"many\n"])
def test_a_machine_that_does_not_say_it(pid: int, content: bytes | None) -> None:
    snapshot = ProcSource(pid, Machine(content)).collect()
    assert snapshot.get(HugePages) is None
    with pytest.raises(Missing, match=f"/{FILE}"):
        snapshot[HugePages]


@pytest.mark.parametrize("name", ["folder", "archive.tar.gz"])
def test_a_recording_has_it(pid: int, name: str, tmp_path: Path) -> None:
    record(pid, str(tmp_path / name), Machine(b"64\n"))
    assert open_source(str(tmp_path / name)).collect()[HugePages].max_ptes_none == 64


def test_a_recording_of_a_machine_without_it(pid: int, tmp_path: Path) -> None:
    record(pid, str(tmp_path / "recording"), Machine(None))
    assert open_source(str(tmp_path / "recording")).collect().get(HugePages) is None
