"""lazyfree at its thresholds and without its figures."""

from __future__ import annotations

import pytest

from tests.test_account import HEAP_115, MIB, account, vma
from whyrss.causes import lazyfree
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.mappings import account_by_vma
from whyrss.policy import fact_of
from whyrss.read.buildinfo import Build
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Process, Snapshot

LIVE = vma(0x400000, 400 * MIB, path="/bin/prog", rss=300 * MIB)


def look(
    *maps: bytes, go: bool = True, environ: dict[str, str] | Missing | None = None, target: str = "7"
) -> Finding | None:
    sections: dict[str, object] = {
        "Vmas": parse_smaps(b"".join(maps)),
        "Process": Process(7, "prog", "/bin/prog", 1, "S", environ if environ is not None else {}),
    }
    if go:
        build = Build("amd64", False)
        build.is_go, build.go_version = True, "go1.15.15"
        sections["Build"] = build
    snapshot = Snapshot("2026-01-01T00:00:00Z", target, "cat /proc/7/{}", sections)
    return lazyfree.look(snapshot, account_by_vma(snapshot))


def heap(lazyfree_bytes: int) -> bytes:
    return vma(0xC000000000, 64 * MIB, rss=64 * MIB, lazyfree=lazyfree_bytes)


@pytest.mark.parametrize(
    ("freed", "beside", "weight"),
    [
        (MIB - 4096, b"", None),
        (MIB, b"", NOTE),
        (16 * MIB - 4096, b"", NOTE),
        (16 * MIB, b"", PROBLEM),
        # 16 MiB of 364 MiB is less than a twentieth
        (16 * MIB, LIVE, NOTE),
        (20 * MIB, LIVE, PROBLEM),
    ],
)
def test_thresholds(freed: int, beside: bytes, weight: str | None) -> None:
    finding = look(*(part for part in (beside, heap(freed)) if part))
    assert (finding.weight if finding else None) == weight
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes) == (freed, freed)


def test_by_whom() -> None:
    by_go = look(heap(32 * MIB))
    assert by_go and by_go.line == "heap/released/lazyfree" and "by Go" in by_go.summary
    by_other = look(heap(32 * MIB), go=False)
    assert by_other and by_other.line == "c/lazyfree" and "Go" not in by_other.summary
    assert not [fix for fix in by_other.fixes if fix.kind in ("env", "upgrade")]


def test_the_larger_line_is_claimed() -> None:
    """jemalloc beside Go's heap frees more than Go: the finding is about that line and no more than it."""
    other = vma(0x7F0000000000, 100 * MIB, rss=90 * MIB, lazyfree=90 * MIB)
    finding = look(heap(20 * MIB), other)
    assert finding and (finding.line, finding.bytes) == ("c/lazyfree", 90 * MIB)


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({}, "GODEBUG=madvdontneed=1"),
        ({"GODEBUG": "gctrace=1,madvdontneed=0"}, "remove madvdontneed=0 from GODEBUG"),
        (Missing("environ: permission denied"), "GODEBUG=madvdontneed=1"),
    ],
)
def test_fix_by_environment(environ: dict[str, str] | Missing, text: str) -> None:
    finding = look(heap(32 * MIB), environ=environ)
    assert finding and [fix.text for fix in finding.fixes if fix.kind == "env"] == [text]


def test_releases_that_free_lazily_unasked_are_those_of_the_table() -> None:
    table = [f"go1.{minor}" for minor in range(9, 28) if fact_of(minor, "default_advice")[0] == "MADV_FREE"]
    assert table == list(lazyfree.FREE_BY_DEFAULT)


@pytest.mark.parametrize(
    ("version", "ldflags", "kinds", "text"),
    [
        ("go1.15.15", "", ["env", "upgrade"], "GODEBUG=madvdontneed=1"),
        ("go1.27.3", "", ["env"], "GODEBUG=madvdontneed=1"),
        ("go1.27.3", "-X=runtime.godebugDefault=madvdontneed=0", ["env"], "build without -X runtime.godebugDefault"),
        (None, "", ["env"], "GODEBUG=madvdontneed=1"),
    ],
)
def test_fix_by_build(version: str | None, ldflags: str, kinds: list[str], text: str) -> None:
    build = Build("amd64", False)
    build.is_go, build.go_version, build.settings = True, version, {"-ldflags": ldflags}
    sections: dict[str, object] = {"Vmas": parse_smaps(heap(32 * MIB)), "Build": build}
    snapshot = Snapshot("2026-01-01T00:00:00Z", "7", "cat /proc/7/{}", sections)
    finding = lazyfree.look(snapshot, account_by_vma(snapshot))
    assert finding
    fixes = [fix for fix in finding.fixes if fix.kind != "live"]
    assert [fix.kind for fix in fixes] == kinds
    assert text in fixes[0].text


def test_a_recording_cannot_be_reclaimed() -> None:
    live, recorded = look(heap(32 * MIB)), look(heap(32 * MIB), target="some/recording")
    assert live and [fix.text for fix in live.fixes if fix.kind == "live"] == ["whyrss reclaim 7"]
    assert recorded and not [fix for fix in recorded.fixes if fix.kind == "live"]


def test_a_kernel_without_the_figure() -> None:
    old = HEAP_115.replace(b"LazyFree:           4096 kB\n", b"")
    with pytest.raises(Missing, match=r"no LazyFree \(Linux 4\.12"):
        look(old)


def test_account_of_the_same_map() -> None:
    assert account(HEAP_115).root.bytes_of("heap/released/lazyfree") == 4 * MIB
