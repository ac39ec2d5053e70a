"""hugepage-refill at its thresholds, by release and machine, beside its neighbours and without its figures."""

from __future__ import annotations

from array import array

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, hugepage_refill
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.read.pagemap import Pages
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Build, Host, HugePages, Snapshot

GATE = next(entry.gate for entry in CAUSES if entry.name == "hugepage-refill")
LINE = "heap/released/hugepage"
OTHER = "heap/released/other"
UNTOLD = "which pages are huge can only be told by Linux 6.7 or later"


def build(go_version: str | None) -> Build:
    made = Build("amd64", False)
    made.is_go = True
    made.go_version = go_version
    return made


def smaps(huge_bytes: int) -> bytes:
    lines = ["c000000000-c010000000 rw-p 00000000 00:00 0 ", "Size: 262144 kB", "Rss: 200000 kB"]
    return "\n".join([*lines, f"AnonHugePages: {huge_bytes >> 10} kB", "VmFlags: rd wr mr mw me ac", ""]).encode()


def pages(untold: str = "") -> Pages:
    made = Pages(array("Q"), 4096, 0, "pagemap")
    if untold:
        made.reasons["huge pages"] = untold
    return made


def snapshot(
    go_version: str | None = "go1.24.11",
    *,
    thp: str | None = "always",
    none: int | None = 511,
    godebug: str = "",
    untold: str = "",
    huge_bytes: int = 128 * MIB,
) -> Snapshot:
    sections = [build(go_version), parse_smaps(smaps(huge_bytes)), pages(untold), Host("6.8.0", 4096, thp, 0)]
    sections += [HugePages(none)] if none is not None else []
    return snapshot_of({"HeapReleased": 127 * MIB}, *sections, environ={"GODEBUG": godebug})


def look(size_bytes: int, *, rss_bytes: int = 0, found: Snapshot | None = None) -> Finding | None:
    return hugepage_refill.look(found or snapshot(), account_of({LINE: size_bytes}, rss_bytes))


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
        assert "OOM kill" in finding.summary and "limit" in finding.affects


@pytest.mark.parametrize(
    ("go_version", "mentioned"),
    [
        ("go1.20.14", True),
        # runtime-hugepages
        ("go1.21.0", False),
        ("go1.21.3", False),
        ("go1.21.4", True),
        ("go1.27.3", True),
    ],
)
def test_by_release(go_version: str, mentioned: bool) -> None:
    assert (look(64 * MIB, found=snapshot(go_version)) is not None) == mentioned


def test_other_reasons_are_not_its() -> None:
    lines = {"heap/released/lazyfree": 64 * MIB, "heap/released/locked": 64 * MIB, OTHER: 64 * MIB}
    assert hugepage_refill.look(snapshot(), account_of({**lines, "heap/live": 64 * MIB})) is None


def test_the_gate_lets_through_what_may_be_huge() -> None:
    assert GATE(snapshot(), account_of({LINE: 4 * MIB}))
    assert GATE(snapshot(), account_of({OTHER: 4 * MIB}))
    assert not GATE(snapshot(), account_of({LINE: 4 * MIB - 1, OTHER: 4 * MIB - 1, "heap/live": 64 * MIB}))


@pytest.mark.parametrize(
    ("thp", "confidence"), [("always", "certain"), ("madvise", "likely"), ("never", "likely"), (None, "likely")]
)
def test_who_made_them_is_only_known_with_always(thp: str | None, confidence: str) -> None:
    finding = look(64 * MIB, found=snapshot(thp=thp))
    assert finding and finding.confidence == confidence


@pytest.mark.parametrize(
    ("go_version", "godebug", "thp", "none", "kinds"),
    [
        ("go1.24.11", "", "always", 511, ["env", "kernel max_ptes_none", "kernel enabled"]),
        # nothing else is known of khugepaged, which is at 511 unless somebody changed it
        ("go1.24.11", "", "always", None, ["env", "kernel max_ptes_none", "kernel enabled"]),
        ("go1.24.11", "", "always", 0, ["env", "kernel enabled"]),
        ("go1.24.11", "", "madvise", 511, ["env"]),
        ("go1.24.11", "disablethp=1", "always", 511, ["kernel max_ptes_none", "kernel enabled"]),
        ("go1.24.11", "disablethp=0", "madvise", 511, ["env"]),
        # the first with the setting is 1.21.6
        ("go1.21.5", "", "madvise", 511, ["upgrade"]),
        ("go1.21.5", "disablethp=1", "madvise", 511, ["upgrade"]),
        ("go1.21.6", "", "madvise", 511, ["env"]),
    ],
)
def test_fixes(go_version: str, godebug: str, thp: str, none: int | None, kinds: list[str]) -> None:
    finding = look(64 * MIB, found=snapshot(go_version, thp=thp, none=none, godebug=godebug))
    assert finding
    files = [fix.text.rpartition("/")[2] if fix.kind == "kernel" else "" for fix in finding.fixes]
    assert [f"{fix.kind} {file}".strip() for fix, file in zip(finding.fixes, files, strict=True)] == kinds
    assert all(fix.safety == "costs" and "TLB" in fix.cost for fix in finding.fixes)
    variables = [fix.variable for fix in finding.fixes if fix.kind == "env"]
    assert variables in ([], ["GODEBUG=disablethp=1"])


def test_an_environment_that_cannot_be_read_is_taken_for_unset() -> None:
    sections = [build("go1.24.11"), parse_smaps(smaps(0)), pages()]
    found = snapshot_of({"HeapReleased": 127 * MIB}, *sections, environ=Missing("permission denied"))
    finding = look(64 * MIB, found=found)
    assert finding and [fix.kind for fix in finding.fixes] == ["env"]


def test_evidence() -> None:
    finding = look(64 * MIB)
    assert finding
    values = {each.what: each.value for each in finding.evidence}
    assert values["AnonHugePages in smaps, all mappings"] == 128 * MIB
    assert values["khugepaged/max_ptes_none"] == 511
    assert values["transparent_hugepage/enabled"] == "always"
    assert 64 * MIB in values.values() and 127 * MIB in values.values() and "go1.24.11" in values.values()


@pytest.mark.parametrize(
    ("other_bytes", "huge_bytes", "rss_bytes", "told"),
    [
        (4 * MIB, 4 * MIB, 80 * MIB, False),
        (4 * MIB - 1, 4 * MIB, 80 * MIB, True),
        # no more than there are huge pages
        (64 * MIB, 4 * MIB - 1024, 80 * MIB, True),
        (64 * MIB, 0, 80 * MIB, True),
        # less than would be mentioned
        (4 * MIB, 4 * MIB, 80 * MIB + 1, True),
    ],
)
def test_a_kernel_that_cannot_tell_huge_pages(other_bytes: int, huge_bytes: int, rss_bytes: int, told: bool) -> None:
    account = account_of({OTHER: other_bytes}, rss_bytes)
    found = snapshot(untold=UNTOLD, huge_bytes=huge_bytes)
    if told:
        assert hugepage_refill.look(found, account) is None
    else:
        with pytest.raises(Missing, match=r"Linux 6\.7"):
            hugepage_refill.look(found, account)
    assert hugepage_refill.look(snapshot(huge_bytes=huge_bytes), account) is None


@pytest.mark.parametrize("go_version", [None, "devel go1.25-0f3cb58", "go1.99.1"])
def test_a_release_without_a_table(go_version: str | None) -> None:
    with pytest.raises(Missing):
        look(64 * MIB, found=snapshot(go_version))


@pytest.mark.parametrize("name", ["Build", "Vmas"])
def test_missing_sections(name: str) -> None:
    sections = {"Build": build("go1.24.11"), "Vmas": parse_smaps(smaps(0))}
    del sections[name]
    found = snapshot_of({}, *sections.values(), missing={name: Missing(f"no {name} here")})
    with pytest.raises(Missing, match=f"no {name} here"):
        look(64 * MIB, found=found)


def test_figures_that_contradict_each_other_are_no_evidence() -> None:
    figures = {"HeapReleased": 127 * MIB, "HeapIdle": 20 * MIB}
    finding = look(64 * MIB, found=snapshot_of(figures, build("go1.24.11"), parse_smaps(smaps(0))))
    assert finding and not any("HeapReleased" in each.what for each in finding.evidence)
