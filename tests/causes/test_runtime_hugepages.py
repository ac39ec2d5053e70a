"""runtime-hugepages at its thresholds, by release, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, runtime_hugepages
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Build, Host, HugePages, Snapshot

GATE = next(entry.gate for entry in CAUSES if entry.name == "runtime-hugepages")
LINE = "heap/released/hugepage"


def build(go_version: str | None) -> Build:
    made = Build("amd64", False)
    made.is_go = True
    made.go_version = go_version
    return made


def smaps(flags: str) -> bytes:
    """One heap mapping of 64 MiB, of which 40 MiB are huge pages."""
    lines = ["c000000000-c004000000 rw-p 00000000 00:00 0 ", "Size: 65536 kB", "Rss: 49152 kB"]
    return "\n".join([*lines, "AnonHugePages: 40960 kB", f"VmFlags: rd wr mr mw me ac {flags}", ""]).encode()


def snapshot(go_version: str | None = "go1.21.3", flags: str = "", thp: str | None = "always") -> Snapshot:
    vmas = parse_smaps(smaps(flags))
    sections = (build(go_version), vmas, Host("6.8.0", 4096, thp, 0), HugePages(511))
    return snapshot_of({"HeapReleased": 60 * MIB}, *sections, go_minor=21)


def look(huge_bytes: int, *, rss_bytes: int = 0, found: Snapshot | None = None) -> Finding | None:
    return runtime_hugepages.look(found or snapshot(), account_of({LINE: huge_bytes}, rss_bytes))


@pytest.mark.parametrize(
    ("huge_bytes", "rss_bytes", "weight"),
    [
        (4 * MIB - 1, 10 * MIB, None),
        (4 * MIB, 80 * MIB, NOTE),
        (4 * MIB, 80 * MIB + 1, None),
        (32 * MIB - 1, 64 * MIB, NOTE),
        (32 * MIB, 128 * MIB, PROBLEM),
        (32 * MIB, 128 * MIB + 1, NOTE),
    ],
)
def test_thresholds(huge_bytes: int, rss_bytes: int, weight: str | None) -> None:
    finding = look(huge_bytes, rss_bytes=rss_bytes)
    assert (finding.weight if finding else None) == weight
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes, finding.line) == (huge_bytes, huge_bytes, LINE)


@pytest.mark.parametrize(
    ("go_version", "advice"),
    [
        # go.dev/issue/61718 (1.21.0), 63334 (1.21.1 to 1.21.3, gone in 1.21.4)
        ("go1.20.14", ""),
        ("go1.21", "MADV_HUGEPAGE"),
        ("go1.21.0", "MADV_HUGEPAGE"),
        ("go1.21.1", "MADV_COLLAPSE"),
        ("go1.21.3", "MADV_COLLAPSE"),
        ("go1.21.4", ""),
        ("go1.21.13", ""),
        ("go1.27.3", ""),
    ],
)
def test_by_release(go_version: str, advice: str) -> None:
    finding = look(64 * MIB, found=snapshot(go_version))
    assert (finding is not None) == bool(advice)
    if finding:
        assert advice in finding.summary and go_version in finding.summary
        assert finding.confidence == {"MADV_HUGEPAGE": "certain", "MADV_COLLAPSE": "likely"}[advice]


def test_pages_of_others_are_not_its() -> None:
    lines = {"heap/released/other": 64 * MIB, "heap/released/locked": 64 * MIB, "heap/live": 64 * MIB}
    assert runtime_hugepages.look(snapshot(), account_of(lines)) is None
    assert not GATE(snapshot(), account_of(lines))
    assert GATE(snapshot(), account_of({LINE: 4 * MIB}))


@pytest.mark.parametrize(
    ("thp", "release", "safety"),
    [
        ("madvise", "1.21.4", "safe"),
        ("never", "1.21.4", "safe"),
        # khugepaged goes on by itself
        ("always", "1.21.6", "costs"),
        (None, "1.21.6", "costs"),
    ],
)
def test_the_release_that_helps(thp: str | None, release: str, safety: str) -> None:
    finding = look(64 * MIB, found=snapshot(thp=thp))
    assert finding and [(fix.kind, fix.safety) for fix in finding.fixes] == [("upgrade", safety)]
    assert f"Go {release} or later" in finding.fixes[0].text
    assert ("disablethp=1" in finding.fixes[0].text) == (release == "1.21.6")


def test_advised_mappings_are_evidence() -> None:
    advised, other = look(64 * MIB, found=snapshot("go1.21.0", "hg")), look(64 * MIB)
    assert advised and 49152 << 10 in [each.value for each in advised.evidence if "(hg)" in each.what]
    assert other and not any("(hg)" in each.what for each in other.evidence)
    assert 40960 << 10 in [each.value for each in other.evidence if "AnonHugePages" in each.what]


@pytest.mark.parametrize("go_version", [None, "devel go1.21-0f3cb58", "go1.99.1"])
def test_a_release_without_a_table(go_version: str | None) -> None:
    with pytest.raises(Missing):
        look(64 * MIB, found=snapshot(go_version))


@pytest.mark.parametrize("name", ["Build", "Vmas"])
def test_missing_sections(name: str) -> None:
    sections = {"Build": build("go1.21.3"), "Vmas": parse_smaps(smaps(""))}
    del sections[name]
    found = snapshot_of({}, *sections.values(), missing={name: Missing(f"no {name} here")})
    with pytest.raises(Missing, match=f"no {name} here"):
        look(64 * MIB, found=found)


def test_figures_that_contradict_each_other_are_no_evidence() -> None:
    found = snapshot_of(
        {"HeapReleased": 60 * MIB, "HeapIdle": 20 * MIB}, build("go1.21.3"), parse_smaps(smaps("")), go_minor=21
    )
    finding = look(64 * MIB, found=found)
    assert finding and not any("HeapReleased" in each.what for each in finding.evidence)
