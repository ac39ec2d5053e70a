"""locked at its thresholds, by release, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, locked
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Build, Snapshot, Status

GATE = next(entry.gate for entry in CAUSES if entry.name == "locked")
LINE = "heap/released/locked"
IN_VAIN = "the memory is locked"


def build(go_version: str) -> Build:
    made = Build("amd64", False)
    made.is_go = True
    made.go_version = go_version
    return made


def vma(at: int, rss_mib: int, flags: str) -> str:
    lines = [f"{at:x}-{at + (256 << 20):x} rw-p 00000000 00:00 0 ", "Size: 262144 kB", f"Rss: {rss_mib << 10} kB"]
    return "\n".join([*lines, f"VmFlags: rd wr mr mw me ac {flags}", ""])


# VmFlags has "lo" for locked (Documentation/filesystems/proc.rst); "nl" and others are none.
SMAPS = vma(0xC000000000, 190, "lo sd") + vma(0x7F0000000000, 30, "lo") + vma(0x7F1000000000, 50, "nl")


def snapshot(go_version: str = "go1.24.11", vm_lck: str | None = "820 kB") -> Snapshot:
    fields = {"Name": "prog"} if vm_lck is None else {"VmLck": vm_lck}
    sections = (build(go_version), parse_smaps(SMAPS.encode()), Status(fields, {}))
    return snapshot_of({"HeapReleased": 190 * MIB}, *sections)


def look(size_bytes: int, *, rss_bytes: int = 0, found: Snapshot | None = None) -> Finding | None:
    return locked.look(found or snapshot(), account_of({LINE: size_bytes}, rss_bytes))


@pytest.mark.parametrize(
    ("size_bytes", "rss_bytes", "weight"),
    [
        (4 * MIB - 1, 10 * MIB, None),
        (4 * MIB, 80 * MIB, NOTE),
        (4 * MIB, 80 * MIB + 1, None),
        (32 * MIB - 1, 64 * MIB, NOTE),
        (32 * MIB, 128 * MIB, PROBLEM),
        (32 * MIB, 128 * MIB + 1, NOTE),
    ],
)
def test_thresholds(size_bytes: int, rss_bytes: int, weight: str | None) -> None:
    finding = look(size_bytes, rss_bytes=rss_bytes)
    assert (finding.weight if finding else None) == weight
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes, finding.line) == (size_bytes, size_bytes, LINE)
        assert IN_VAIN in finding.summary and "limit" in finding.affects
        assert finding.confidence == "certain"


def test_what_is_locked_and_used_is_not_its() -> None:
    lines = {"heap/live": 190 * MIB, "heap/retained": 64 * MIB, "heap/released/other": 64 * MIB}
    assert locked.look(snapshot(), account_of(lines)) is None
    assert not GATE(snapshot(), account_of(lines))
    assert not GATE(snapshot(), account_of({LINE: 4 * MIB - 1}))
    assert GATE(snapshot(), account_of({LINE: 4 * MIB}))


@pytest.mark.parametrize(
    ("go_version", "kind"),
    [
        # from 1.21 on a range that madvise refuses is mapped anew (commit 5ffdc1f15c)
        ("go1.15.15", "upgrade"),
        ("go1.20.14", "upgrade"),
        ("go1.21.0", "code"),
        ("go1.27.3", "code"),
        # not known: the release is named
        ("devel go1.25-0f3cb58", "upgrade"),
    ],
)
def test_locking_on_fault_needs_a_release(go_version: str, kind: str) -> None:
    finding = look(64 * MIB, found=snapshot(go_version))
    assert finding and [fix.kind for fix in finding.fixes] == ["code", kind]
    assert "mlock" in finding.fixes[0].text and "MCL_ONFAULT" in finding.fixes[1].text
    assert ("Go 1.21" in finding.fixes[1].text) == (kind == "upgrade")
    assert {fix.safety for fix in finding.fixes} == {"costs"}


def test_evidence() -> None:
    finding = look(64 * MIB)
    assert finding
    values = [each.value for each in finding.evidence]
    assert values == [64 * MIB, (190 + 30) * MIB, 190 * MIB, 820 << 10]


@pytest.mark.parametrize("vm_lck", [None, "", "many"])
def test_without_what_status_says(vm_lck: str | None) -> None:
    finding = look(64 * MIB, found=snapshot(vm_lck=vm_lck))
    assert finding and not any("VmLck" in each.what for each in finding.evidence)


def test_a_status_that_cannot_be_read_is_no_evidence() -> None:
    found = snapshot_of({}, build("go1.24.11"), parse_smaps(SMAPS.encode()), missing={"Status": Missing("denied")})
    finding = look(64 * MIB, found=found)
    assert finding and finding.weight == PROBLEM and [each.value for each in finding.evidence][1:] == [220 * MIB]


def test_without_mappings() -> None:
    with pytest.raises(Missing, match="Vmas"):
        look(64 * MIB, found=snapshot_of({}, build("go1.24.11")))


def test_figures_that_contradict_each_other_are_no_evidence() -> None:
    figures = {"HeapReleased": 190 * MIB, "HeapIdle": 20 * MIB}
    finding = look(64 * MIB, found=snapshot_of(figures, build("go1.24.11"), parse_smaps(SMAPS.encode())))
    assert finding and not any("HeapReleased" in each.what for each in finding.evidence)
