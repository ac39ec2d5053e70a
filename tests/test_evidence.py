"""The command beside a figure prints the figure: on a real process, and on a recording of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from whyrss import evidence
from whyrss.finding import Evidence
from whyrss.snapshot import Build, Host, HugePages, Snapshot, Status, Vmas
from whyrss.sources import open_source
from whyrss.sources.recording import record

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc of Linux")

# 8 MiB that want no huge pages and 4 MiB that do, all written; by a program that then stands still.
CHILD = """
import mmap, os, sys
def mapping(size_bytes, advice):
    memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(advice)
    for at in range(0, size_bytes, mmap.PAGESIZE):
        memory[at] = 1
    return memory
kept = mapping(8 << 20, mmap.MADV_NOHUGEPAGE), mapping(4 << 20, mmap.MADV_HUGEPAGE)
print("READY {}", flush=True)
sys.stdin.read()
"""


def printed(found: Evidence) -> str:
    """What the command prints."""
    done = subprocess.run(["sh", "-c", found.check], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module", params=["live", "recorded"])
def still(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    with support.running([sys.executable, "-c", CHILD]) as running:
        if request.param == "live":
            yield open_source(str(running.pid)).collect()
        else:
            folder = tmp_path_factory.mktemp("recordings") / "a still one"
            record(running.pid, str(folder))
            yield open_source(str(folder)).collect()


def test_state(still: Snapshot) -> None:
    threads = int(still[Status].fields["Threads"])
    found = evidence.state(still, "Threads", threads, "its threads")
    assert (printed(found), found.unit) == ("1", "")
    assert found.value == 1


@pytest.mark.parametrize(("flag", "least_mib"), [("nh", 8), ("hg", 4), ("(nh|hg)", 12), ("wr", 12), ("zz", 0)])
def test_flagged(still: Snapshot, flag: str, least_mib: int) -> None:
    """What the child advised, and no more than a libc may have advised besides."""
    flags = flag.strip("()").split("|")
    value = sum(vma.get_bytes("Rss") for vma in still[Vmas] if any(map(vma.has_flag, flags)))
    assert printed(evidence.flagged(still, flag, value, "Rss of these")) == str(value)
    assert value >= least_mib << 20
    if flag == "zz":
        assert value == 0


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage/enabled").exists(), reason="a kernel without THP")
def test_huge_pages(still: Snapshot) -> None:
    enabled, none = evidence.huge_pages(still)
    folder = Path("/sys/kernel/mm/transparent_hugepage")
    assert f"[{enabled.value}]" in (folder / "enabled").read_text()
    assert none.value == int((folder / "khugepaged/max_ptes_none").read_text())
    assert (printed(enabled), printed(none)) == (enabled.value, str(none.value))


def test_huge_pages_that_nothing_was_read_of() -> None:
    found: dict[str, object] = {"Host": Host("6.8.0", 4096, None, 0)}
    assert evidence.huge_pages(Snapshot("2026-01-01T00:00:00Z", "7", "cat /proc/7/{}", found)) == []
    found["HugePages"] = HugePages(64)
    (none,) = evidence.huge_pages(Snapshot("2026-01-01T00:00:00Z", "7", "cat /proc/7/{}", found))
    assert (none.value, none.check) == (64, "cat /sys/kernel/mm/transparent_hugepage/khugepaged/max_ptes_none")


def test_go_version() -> None:
    """Of a program that says itself what built it."""
    with support.running([support.go_program("1.24"), "8"]) as running:
        snapshot = open_source(str(running.pid)).collect()
        version = snapshot[Build].go_version or ""
        assert version == running.ready["go"]
        assert printed(evidence.go_version(snapshot, version)) == version
