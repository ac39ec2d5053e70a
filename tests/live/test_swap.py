"""Reclaim on a machine with swap: what is not lazily freed must never be swapped out by it.

Adds a swap file to the whole machine for as long as the tests run, so only with WHYRSS_TEST_SWAP=1, as root, and
with temporary files on a disk (`pytest --basetemp`).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from tests.live.cli import whyrss, whyrss_json
from tests.live.measured import (
    BATCHES_BYTES,
    KEPT_BACK_BYTES,
    PAGE_BYTES,
    assert_untouched,
    has_swap,
    rss_and_lazyfree,
    smaps_bytes,
)
from tests.live.patterned import DIRTY, FREED, WRITTEN_AGAIN, pages_of

KIB, MIB = 1 << 10, 1 << 20
SWAP_BYTES = 64 * MIB
FREED_BYTES = 64 * MIB - KEPT_BACK_BYTES - BATCHES_BYTES

pytestmark = pytest.mark.skipif(os.environ.get("WHYRSS_TEST_SWAP") != "1", reason="only with WHYRSS_TEST_SWAP=1")


@pytest.fixture(scope="module", autouse=True)
def swap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A swap file that is in use while the tests of this module run."""
    file = tmp_path_factory.mktemp("swap") / "file"
    file.touch(0o600)
    file.write_bytes(bytes(SWAP_BYTES))
    subprocess.run(["mkswap", file], check=True, capture_output=True)
    subprocess.run(["swapon", file], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["swapoff", file], check=True, capture_output=True)


def test_pages_that_are_not_lazily_freed_would_be_swapped_out() -> None:
    """That the tests below can fail: MADV_PAGEOUT (21) on dirty pages does move them to this swap."""
    assert has_swap()
    child = "import mmap, sys; m = mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS); "
    child += "m[:] = bytes([1]) * len(m); m.madvise(21); print('READY', flush=True); sys.stdin.read()"
    with support.running([sys.executable, "-c", child]) as running:
        assert smaps_bytes(running.pid, "Swap", "smaps_rollup") >= MIB // 2


@pytest.mark.parametrize("name", ["1.15", "1.27", "python"])
def test_nothing_is_swapped_out(name: str) -> None:
    python = [sys.executable, "-m", "whyrss.lab.programs.lazyfree"]
    argv: list[str | Path] = [*python] if name == "python" else [support.go_program(name)]
    with support.running([*argv, "64", "8"], {"GODEBUG": "madvdontneed=0"}) as running:
        pid = running.pid
        assert smaps_bytes(pid, "LazyFree") >= FREED_BYTES
        document = whyrss_json("reclaim", pid)
        assert smaps_bytes(pid, "Swap", "smaps_rollup") == 0
        assert smaps_bytes(pid, "LazyFree") < 256 * KIB
        assert document["reclaimed_bytes"] >= FREED_BYTES - 256 * KIB
        assert running.ask("check") == "OK 128 blocks"
        assert smaps_bytes(pid, "Swap", "smaps_rollup") == 0


def test_memory_in_use_again_is_kept() -> None:
    """Pages that were written again bear the mark of freed ones until the kernel looks; it must keep them."""
    pattern = (FREED + WRITTEN_AGAIN + DIRTY) * 400
    with pages_of(pattern) as running:
        assert smaps_bytes(running.pid, "LazyFree") >= 400 * PAGE_BYTES
        whyrss_json("reclaim", running.pid)
        assert smaps_bytes(running.pid, "LazyFree") < 256 * KIB
        assert smaps_bytes(running.pid, "Swap", "smaps_rollup") == 0
        assert running.ask("check") == "OK"


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
def test_without_the_flags_of_page_frames_it_is_refused(flags: list[str]) -> None:
    under = ["setpriv", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-sys_admin", "--"]
    with support.running([support.go_program("1.15"), "64", "8"]) as running:
        before = rss_and_lazyfree(running.pid)
        code, out, err = whyrss("reclaim", running.pid, *flags, under=under)
        assert_untouched(running.pid, before)
        assert smaps_bytes(running.pid, "Swap") == 0
    assert (code, out) == (4, "")
    assert "swap" in err
    assert "CAP_SYS_ADMIN" in err
