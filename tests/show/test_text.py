"""The page says what it had to do without."""

from __future__ import annotations

from tests.test_account import HEAP_115
from whyrss.errors import Missing
from whyrss.mappings import account_by_vma
from whyrss.read.buildinfo import Build
from whyrss.read.smaps import parse_smaps
from whyrss.show import text
from whyrss.snapshot import Process, Snapshot
from whyrss.verdict import Verdict, diagnose

DENIED = Missing("/proc/7/environ: permission denied; needs CAP_DAC_READ_SEARCH")


def page(environ: dict[str, str] | Missing, is_go: bool = True) -> str:
    build = Build("amd64", False)
    build.is_go, build.go_version = is_go, "go1.15.15" if is_go else None
    sections: dict[str, object] = {
        "Vmas": parse_smaps(HEAP_115),
        "Process": Process(7, "prog", "/bin/prog", 1, "S", environ),
        "Build": build,
    }
    snapshot = Snapshot("2026-01-01T00:00:00Z", "7", "cat /proc/7/{}", sections)
    account = account_by_vma(snapshot)
    return text.show(Verdict(snapshot, account, diagnose(snapshot, account, ())))


def test_an_environment_that_could_not_be_read() -> None:
    assert DENIED.reason in " ".join(page(DENIED).split())
    assert "Not read" not in page({})


def test_nobody_misses_the_environment_of_a_program_without_go() -> None:
    assert "Not read" not in page(DENIED, is_go=False)
