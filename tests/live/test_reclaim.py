"""`whyrss reclaim`: the kernel takes what was freed, and nothing else; and who may not have it do so."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import support
from tests.live.cli import HUNG_SECONDS, whyrss, whyrss_json
from tests.live.measured import (
    BATCHES_BYTES,
    IDLE_BYTES,
    KEPT_BACK_BYTES,
    PAGE_BYTES,
    assert_untouched,
    has_swap,
    needs_reclaim,
    rss_and_lazyfree,
    smaps_bytes,
    was_stopped,
)
from tests.live.patterned import DIRTY, FREED, WRITTEN_AGAIN, pages_of
from whyrss.errors import GoneError
from whyrss.live.reclaim import batches, measure, reclaim
from whyrss.snapshot import Process
from whyrss.sources import open_source

KIB, MIB = 1 << 10, 1 << 20
MADV_FREE = {"GODEBUG": "madvdontneed=0"}

# What may stay lazily freed: a few pages, in batches of the CPUs or in use by the kernel at that moment.
LEFT_BYTES = 256 * KIB

# RSS falls by the lazily freed pages that went.  Beside them go those that waited in the CPUs' batches and were
# not counted before, and the program may touch some pages of its own.
FALL_TOLERANCE_BYTES = BATCHES_BYTES + IDLE_BYTES

# "go1.15", "go1.27" with madvdontneed=0, and the page heap in Python.
PROGRAMS = ("1.15", "1.27", "python")


@contextlib.contextmanager
def program(name: str, drop_mib: int = 64) -> Iterator[support.Program]:
    python = [sys.executable, "-m", "whyrss.lab.programs.lazyfree"]
    argv: list[str | Path] = [*python] if name == "python" else [support.go_program(name)]
    with support.running([*argv, str(drop_mib), "8"], MADV_FREE) as running:
        assert smaps_bytes(running.pid, "LazyFree") >= drop_mib * MIB - KEPT_BACK_BYTES - BATCHES_BYTES
        yield running


@pytest.mark.parametrize("name", PROGRAMS)
def test_lazily_freed_memory_goes_and_live_memory_stays(name: str) -> None:
    needs_reclaim()
    with program(name) as running:
        pid = running.pid
        before = rss_and_lazyfree(pid)
        document = whyrss_json("reclaim", pid)
        after = rss_and_lazyfree(pid)
        assert not was_stopped(pid)
        assert smaps_bytes(pid, "Swap") == 0
        assert running.ask("check") == "OK 128 blocks"
    assert document.keys() == {"pid", "before", "after", "reclaimed_bytes"}
    assert document["pid"] == pid
    assert document["before"].keys() == document["after"].keys() == {"rss_bytes", "lazyfree_bytes"}
    for said, (rss_bytes, lazyfree_bytes) in ((document["before"], before), (document["after"], after)):
        assert abs(said["rss_bytes"] - rss_bytes) <= FALL_TOLERANCE_BYTES
        assert abs(said["lazyfree_bytes"] - lazyfree_bytes) <= FALL_TOLERANCE_BYTES
    assert after[1] < LEFT_BYTES
    assert document["after"]["lazyfree_bytes"] < LEFT_BYTES
    assert abs((before[0] - after[0]) - (before[1] - after[1])) <= FALL_TOLERANCE_BYTES
    assert document["reclaimed_bytes"] == document["before"]["rss_bytes"] - document["after"]["rss_bytes"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_second_run_has_nothing_to_do(name: str) -> None:
    needs_reclaim()
    with program(name) as running:
        assert whyrss("reclaim", running.pid)[0] == 0
        code, out, err = whyrss("reclaim", running.pid)
    assert (code, err) == (0, "")
    assert out.startswith("Nothing to reclaim")


def test_a_reclaimed_program_can_free_and_be_reclaimed_again() -> None:
    """The memory is used again as before: what is written is there, and is freed and found once more."""
    needs_reclaim()
    freed_bytes = 64 * MIB - KEPT_BACK_BYTES
    with program("1.15") as running:
        for _ in range(2):
            assert whyrss_json("reclaim", running.pid)["reclaimed_bytes"] >= freed_bytes - FALL_TOLERANCE_BYTES
            assert running.ask("again") == "DONE"
            assert running.ask("check") == "OK 128 blocks"
            assert smaps_bytes(running.pid, "LazyFree") >= freed_bytes - BATCHES_BYTES


@pytest.mark.parametrize("size", ["small", "huge"])
def test_pages_between_freed_ones_keep_what_they_hold(size: str) -> None:
    """Freed, written again after that, and never freed, one beside the other; also within huge pages."""
    needs_reclaim()
    with pages_of((FREED + WRITTEN_AGAIN + DIRTY) * 400, size) as running:
        assert smaps_bytes(running.pid, "LazyFree") >= 400 * PAGE_BYTES
        whyrss_json("reclaim", running.pid)
        assert smaps_bytes(running.pid, "LazyFree") < LEFT_BYTES
        assert running.ask("check") == "OK"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_dry_run_changes_nothing(name: str) -> None:
    with program(name) as running:
        before = rss_and_lazyfree(running.pid)
        code, out, _ = whyrss("reclaim", running.pid, "--dry-run")
        document = whyrss_json("reclaim", running.pid, "--dry-run")
        assert_untouched(running.pid, before)
    assert code == 0
    assert "nothing was done" in out
    assert document["planned_bytes"] >= before[1]
    assert document.keys() == {"pid", "before", "planned_bytes", "ranges"}
    assert document["ranges"] > 0


def test_a_process_without_lazily_freed_pages_has_nothing_to_reclaim() -> None:
    needs_reclaim()
    with support.running([support.go_program("1.27"), "8", "1"]) as running:
        before = rss_and_lazyfree(running.pid)
        code, out, err = whyrss("reclaim", running.pid)
        assert (code, err) == (0, "")
        assert out.startswith("Nothing to reclaim")
        assert_untouched(running.pid, before)


def test_the_probe_for_stopped_processes_sees_one() -> None:
    with support.running([sys.executable, "-m", "whyrss.lab.programs.lazyfree", "1", "1"]) as running:
        assert not was_stopped(running.pid)
        os.kill(running.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, running.pid, os.WSTOPPED | os.WNOWAIT)
        os.kill(running.pid, signal.SIGCONT)
        assert was_stopped(running.pid)


def test_a_recording_cannot_give_memory_back(tmp_path: Path) -> None:
    with program("python", 8) as running:
        assert whyrss("record", running.pid, "-o", str(tmp_path / "kept"))[0] == 0
    code, out, err = whyrss("reclaim", str(tmp_path / "kept"))
    assert (code, out) == (2, "")
    assert "recording" in err


def test_who_does_not_exist_cannot_be_reclaimed() -> None:
    with support.running([sys.executable, "-m", "whyrss.lab.programs.lazyfree", "1", "1"]) as running:
        gone = running.pid
    code, out, err = whyrss("reclaim", "--pid", gone)
    assert (code, out) == (3, "")
    assert f"no process {gone}" in err


def test_another_process_with_the_same_pid_is_left_alone() -> None:
    """PIDs are used again; the process is known by its start time (field 22 of /proc/PID/stat)."""
    with program("python") as running:
        before = rss_and_lazyfree(running.pid)
        snapshot = open_source(str(running.pid)).collect()
        snapshot[Process].start_ticks -= 1
        with pytest.raises(GoneError, match="not touched"):
            reclaim(snapshot, running.pid)
        assert_untouched(running.pid, before)


def test_a_process_that_ended_did_not_give_all_of_its_memory_back() -> None:
    """A zombie's smaps is empty, which is not an RSS of 0."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(GoneError, match=str(process.pid)):
        measure(process.pid)
    process.wait()
    with pytest.raises(GoneError, match=str(process.pid)):
        measure(process.pid)


def test_without_cap_sys_nice_the_kernel_refuses_and_whyrss_says_what_is_missing() -> None:
    with program("python") as running:
        before = rss_and_lazyfree(running.pid)
        code, out, err = whyrss("reclaim", running.pid, under=_without("sys_nice"))
        assert_untouched(running.pid, before)
    assert (code, out) == (4, "")
    assert "needs CAP_SYS_NICE\n" in err
    assert err.count("\n") == 1


@pytest.mark.skipif(has_swap(), reason="with swap it is refused, see the test of that")
def test_without_swap_the_flags_of_page_frames_are_not_needed() -> None:
    needs_reclaim()
    with program("1.15") as running:
        code, _, err = whyrss("reclaim", running.pid, under=_without("sys_admin"))
        assert (code, err) == (0, "")
        assert smaps_bytes(running.pid, "LazyFree") < LEFT_BYTES
        assert running.ask("check") == "OK 128 blocks"


# The interpreter may lie where only root may read, so a run that fails alike (4194304 is above every PID) imports
# what is needed before the rights go.
AS_NOBODY = """
import contextlib, io, os, sys
from whyrss.__main__ import run
with contextlib.redirect_stderr(io.StringIO()):
    assert run(["reclaim", "4194304"]) == 3
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize("flags", [[], ["--dry-run"], ["--json"]])
def test_a_stranger_may_not_even_read(flags: list[str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    with program("python", 8) as running:
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, "reclaim", str(running.pid), *flags],
            capture_output=True,
            text=True,
            timeout=HUNG_SECONDS,
            check=False,
        )
    assert (done.returncode, done.stdout) == (3, "")
    assert f"/proc/{running.pid}/smaps: permission denied" in done.stderr
    assert "CAP_SYS_PTRACE" in done.stderr
    assert done.stderr.count("\n") == 1


def _without(capability: str) -> list[str]:
    """The command that runs another without that capability, from which it cannot be had again."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("needs setpriv (util-linux)")
    return ["setpriv", "--inh-caps=-all", "--ambient-caps=-all", f"--bounding-set=-{capability}", "--"]


# Batches: gaps and lengths in pages, from one page to three batches.
PAGE = 4096
STEPS = st.lists(st.tuples(st.integers(1, 50), st.one_of(st.integers(1, 9), st.integers(1, 6200))), max_size=60)
MANY = st.integers(1000, 3100).map(lambda count: [(1, 1)] * count)


@settings(deadline=None)
@given(st.one_of(STEPS, MANY))
def test_batches_cover_every_byte_once_and_stay_small(steps: list[tuple[int, int]]) -> None:
    ranges, at = [], 0x7F00_0000_0000
    for gap, pages in steps:
        start = at + gap * PAGE
        at = start + pages * PAGE
        ranges.append((start, at))
    made = list(batches(ranges))
    for batch in made:
        assert 1 <= len(batch) <= 1024  # IOV_MAX, include/uapi/linux/uio.h
        assert all(start < end and start % PAGE == end % PAGE == 0 for start, end in batch)
        assert sum(end - start for start, end in batch) <= 8 * MIB
    assert _joined([one for batch in made for one in batch]) == ranges


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges with those that touch made one; gaps of the input are never empty, so it comes back whole."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
