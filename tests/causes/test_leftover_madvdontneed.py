"""leftover-madvdontneed by setting, release and kernel, at its thresholds, and where the setting cannot be read."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, leftover_madvdontneed
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Entry, Finding
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Build, Host, Process, Snapshot
from whyrss.verdict import diagnose

ENTRIES = {entry.name: entry for entry in CAUSES}
GATE = ENTRIES["leftover-madvdontneed"].gate
LINE = "heap/released/lazyfree"
LINKED = "-X runtime.godebugDefault=madvdontneed=0"


def build(go_version: str | None, ldflags: str = "") -> Build:
    made = Build("amd64", False)
    made.is_go = True
    made.go_version = go_version
    made.settings = {"-ldflags": ldflags} if ldflags else {}
    return made


def snapshot(
    go_version: str | None = "go1.24.11",
    godebug: str | Missing = "madvdontneed=0",
    ldflags: str = "",
    kernel: str | None = "6.8.0",
) -> Snapshot:
    environ = godebug if isinstance(godebug, Missing) else {"GODEBUG": godebug}
    return snapshot_of({}, build(go_version, ldflags), Host(kernel, 4096, "madvise", 0), environ=environ)


def look(found: Snapshot, lazy_bytes: int = 128 * MIB, rss_bytes: int = 140 * MIB) -> Finding | None:
    return leftover_madvdontneed.look(found, account_of({LINE: lazy_bytes}, rss_bytes))


@pytest.mark.parametrize(
    ("lazy_bytes", "rss_bytes", "weight"),
    [
        (0, 100 * MIB, NOTE),
        (16 * MIB - 1, 100 * MIB, NOTE),
        (16 * MIB, 320 * MIB, PROBLEM),
        (16 * MIB, 320 * MIB + 1, NOTE),
    ],
)
def test_thresholds_are_those_of_lazyfree(lazy_bytes: int, rss_bytes: int, weight: str) -> None:
    finding = look(snapshot(), lazy_bytes, rss_bytes)
    assert finding and finding.weight == weight
    assert (finding.bytes, finding.reclaimable_bytes, finding.confidence) == (0, 0, "certain")
    assert "No danger" in finding.summary


@pytest.mark.parametrize(
    ("go_version", "mentioned"),
    [
        # go.dev/doc/go1.12 and go.dev/doc/go1.16: MADV_FREE is the default of 1.12 to 1.15
        ("go1.11.13", False),
        ("go1.12", False),
        ("go1.15.15", False),
        ("go1.16", True),
        ("go1.21.0", True),
        ("go1.27.3", True),
    ],
)
def test_by_release(go_version: str, mentioned: bool) -> None:
    finding = look(snapshot(go_version))
    assert (finding is not None) == mentioned
    if finding:
        assert go_version in finding.summary and "GODEBUG=madvdontneed=0" in finding.summary


@pytest.mark.parametrize(
    ("godebug", "mentioned"),
    [
        ("madvdontneed=0", True),
        ("gctrace=1,madvdontneed=0", True),
        ("madvdontneed=1,madvdontneed=0", True),
        ("madvdontneed=0,madvdontneed=1", False),
        ("madvdontneed=0,madvdontneed=off", True),  # what is no number is ignored (runtime/runtime1.go, atoi32)
        ("madvdontneed=1", False),
        ("madvdontneed=off", False),
        ("madvdontneed", False),
        (" madvdontneed=0", False),
        ("", False),
    ],
)
def test_what_counts_in_godebug(godebug: str, mentioned: bool) -> None:
    assert (look(snapshot(godebug=godebug)) is not None) == mentioned


@pytest.mark.parametrize(
    ("go_version", "ldflags", "godebug", "mentioned"),
    [
        ("go1.20", LINKED, "", True),
        ("go1.24.11", f"-s -w {LINKED}", "gctrace=1", True),
        ("go1.24.11", LINKED, "madvdontneed=1", False),  # the environment goes first
        ("go1.19.8", LINKED, "", False),  # it does not know the variable
        ("go1.24.11", "-X main.version=madvdontneed=0", "", False),
    ],
)
def test_what_was_linked_in(go_version: str, ldflags: str, godebug: str, mentioned: bool) -> None:
    finding = look(snapshot(go_version, godebug, ldflags))
    assert (finding is not None) == mentioned
    if finding:
        (evidence,) = finding.evidence
        assert (evidence.value, "whyrss policy" in evidence.check) == ("MADV_FREE", True)
        assert "runtime.godebugDefault" in finding.summary and "runtime.godebugDefault" in finding.fixes[0].text


@pytest.mark.parametrize(("kernel", "mentioned"), [("4.4.0", False), ("4.5.0", True), ("6.18.1", True)])
def test_a_kernel_without_madv_free_gives_it_back_all_the_same(kernel: str, mentioned: bool) -> None:
    """madvise(2): MADV_FREE since Linux 4.5."""
    assert (look(snapshot(kernel=kernel)) is not None) == mentioned


def test_fix_and_evidence_of_the_environment() -> None:
    finding = look(snapshot())
    assert finding
    assert [(fix.kind, fix.safety, fix.variable) for fix in finding.fixes] == [
        ("env", "costs", "GODEBUG=madvdontneed=1")
    ]
    (evidence,) = finding.evidence
    assert evidence.value == "madvdontneed=0" and "/environ" in evidence.check


def test_it_stands_beside_lazyfree_and_claims_nothing() -> None:
    smaps = (
        "c000000000-c010000000 rw-p 00000000 00:00 0 \nSize: 262144 kB\nRss: 143360 kB\n"
        "LazyFree: 131072 kB\nVmFlags: rd wr\n"
    )
    sections = (build("go1.24.11"), Host("6.8.0", 4096, "madvise", 0), parse_smaps(smaps.encode()))
    found = snapshot_of({}, *sections, environ={"GODEBUG": "madvdontneed=0"})
    entries: list[Entry] = [ENTRIES["lazyfree"], ENTRIES["leftover-madvdontneed"]]
    for order in (entries, entries[::-1]):
        diagnosis = diagnose(found, account_of({LINE: 128 * MIB}, 140 * MIB), order)
        told = [(each.cause, each.weight, each.bytes) for each in diagnosis.findings]
        assert told == [("lazyfree", PROBLEM, 128 * MIB), ("leftover-madvdontneed", PROBLEM, 0)]


def test_the_gate_wants_the_word() -> None:
    account = account_of({LINE: 128 * MIB})
    assert GATE(snapshot(godebug="gctrace=1,madvdontneed=1"), account)
    assert GATE(snapshot(godebug="", ldflags=LINKED), account)
    assert GATE(snapshot(godebug=Missing("permission denied")), account)
    assert not GATE(snapshot(godebug="gctrace=1"), account)


def test_an_environment_that_cannot_be_read() -> None:
    with pytest.raises(Missing, match="permission denied"):
        look(snapshot(godebug=Missing("permission denied")))


@pytest.mark.parametrize("go_version", [None, "devel go1.25-0f3cb58", "go1.99.1"])
def test_a_release_without_a_table(go_version: str | None) -> None:
    with pytest.raises(Missing):
        look(snapshot(go_version))


@pytest.mark.parametrize("kernel", [None, "", "unknown"])
def test_a_kernel_without_a_number(kernel: str | None) -> None:
    with pytest.raises(Missing, match="no kernel release"):
        look(snapshot(kernel=kernel))


@pytest.mark.parametrize("name", ["Build", "Host", "Process"])
def test_missing_sections(name: str) -> None:
    sections = {
        "Build": build("go1.24.11"),
        "Host": Host("6.8.0", 4096, "madvise", 0),
        "Process": Process(7, "prog", "/bin/prog", 1, "S", {"GODEBUG": "madvdontneed=0"}),
    }
    del sections[name]
    found = snapshot_of({}, *sections.values(), missing={name: Missing(f"no {name} here")})
    with pytest.raises(Missing, match=f"no {name} here"):
        look(found)
