"""What is too large is refused before anything is allocated, and a limit holds for what runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from whyrss.errors import UsageError
from whyrss.lab.guard import GIB, KEPT_SHARE, available_bytes, refuse_too_large
from whyrss.sources.files import LiveFiles

MEMINFO = "MemTotal:       25165824 kB\nMemAvailable:   10485760 kB\n"


def machine(tmp_path: Path) -> LiveFiles:
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "meminfo").write_text(MEMINFO)
    return LiveFiles(str(proc))


def test_what_is_available_is_what_the_kernel_says(tmp_path: Path) -> None:
    assert available_bytes(machine(tmp_path)) == 10 * GIB


def test_a_machine_that_says_nothing_has_nothing_to_give(tmp_path: Path) -> None:
    assert available_bytes(LiveFiles(str(tmp_path))) == 0


def test_too_large_is_refused_with_both_figures(tmp_path: Path) -> None:
    files = machine(tmp_path)
    refuse_too_large(int(10 * GIB * (1 - KEPT_SHARE)), "it", files)
    with pytest.raises(UsageError, match=r"it needs up to 9\.0 GiB, and 8\.0 GiB may be taken here"):
        refuse_too_large(9 * GIB, "it", files)


def test_a_protected_process_dies_first_and_cannot_map_much_more() -> None:
    program = (
        "import mmap; from whyrss.lab.guard import protect; protect(1 << 20)\n"
        "print(open('/proc/self/oom_score_adj').read().strip())\n"
        "mmap.mmap(-1, 64 << 20)\n"
        "try: mmap.mmap(-1, 8 << 30)\n"
        "except OSError as error: print(error.strerror)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["1000", "Cannot allocate memory"]
