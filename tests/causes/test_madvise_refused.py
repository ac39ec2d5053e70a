"""madvise-refused at its thresholds, by release and filter, beside its neighbours and without its figures."""

from __future__ import annotations

from array import array

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, madvise_refused
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.read.pagemap import Pages
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Build, Host, Snapshot, Status

GATE = next(entry.gate for entry in CAUSES if entry.name == "madvise-refused")
LINE = "heap/released/other"
FILTER, STRICT, NONE = "2", "1", "0"  # seccomp(2)


def build(go_version: str | None) -> Build:
    made = Build("amd64", False)
    made.is_go = True
    made.go_version = go_version
    return made


def vma(at: int, rss_bytes: int, flags: str, lazy_kib: int | None = 0, huge_kib: int = 0) -> str:
    lines = [f"{at:x}-{at + (256 << 20):x} rw-p 00000000 00:00 0 ", "Size: 262144 kB", f"Rss: {rss_bytes >> 10} kB"]
    lines += [] if lazy_kib is None else [f"LazyFree: {lazy_kib} kB"]
    lines += [f"AnonHugePages: {huge_kib} kB", "Locked: 0 kB", f"VmFlags: rd wr mr mw me ac {flags}", ""]
    return "\n".join(lines)


HEAP = vma(0xC000000000, 200 * MIB, "sd")


def snapshot(
    go_version: str | None = "go1.19.8",
    *,
    released_bytes: int = 190 * MIB,
    seccomp: str | None = FILTER,
    smaps: str = HEAP,
    page_bytes: int = 4096,
    reasons: dict[str, str] | None = None,
) -> Snapshot:
    pages = Pages(array("Q"), page_bytes, 0, "PAGEMAP_SCAN")
    pages.reasons.update(reasons or {})
    status = Status({"Name": "prog"} if seccomp is None else {"Seccomp": seccomp}, {})
    sections = (
        build(go_version),
        parse_smaps(smaps.encode()),
        pages,
        status,
        Host("6.8.0", page_bytes, "madvise", 0),
    )
    return snapshot_of({"HeapReleased": released_bytes, "HeapIdle": 500 * MIB}, *sections, go_minor=19)


def look(size_bytes: int, *, rss_bytes: int = 0, found: Snapshot | None = None) -> Finding | None:
    return madvise_refused.look(found or snapshot(), account_of({LINE: size_bytes}, rss_bytes))


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
    finding = look(size_bytes, rss_bytes=rss_bytes, found=snapshot(released_bytes=64 * MIB))
    assert (finding.weight if finding else None) == weight
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes, finding.line) == (size_bytes, size_bytes, LINE)
        assert (finding.confidence, "seccomp filter" in finding.summary) == ("likely", True)


@pytest.mark.parametrize(
    ("released_bytes", "mentioned"),
    [
        # half of what is released, but for an arena of 64 MiB
        (64 * MIB, True),
        (64 * MIB + 80 * MIB, True),
        (64 * MIB + 80 * MIB + 1, False),
        (500 * MIB, False),
    ],
)
def test_most_of_what_was_released_has_to_be_there(released_bytes: int, mentioned: bool) -> None:
    assert (look(40 * MIB, found=snapshot(released_bytes=released_bytes)) is not None) == mentioned


@pytest.mark.parametrize(
    ("go_version", "mentioned"),
    [
        # from 1.21 on memory is mapped anew where madvise fails (runtime/mem_linux.go, commit 5ffdc1f15c)
        ("go1.9", True),
        ("go1.15.15", True),
        ("go1.20.14", True),
        ("go1.21.0", False),
        ("go1.27.3", False),
    ],
)
def test_by_release(go_version: str, mentioned: bool) -> None:
    assert (look(128 * MIB, found=snapshot(go_version)) is not None) == mentioned


@pytest.mark.parametrize(("page_bytes", "mentioned"), [(4096, True), (8192, True), (16384, False), (65536, False)])
def test_pages_larger_than_those_of_go(page_bytes: int, mentioned: bool) -> None:
    assert (look(128 * MIB, found=snapshot(page_bytes=page_bytes)) is not None) == mentioned


@pytest.mark.parametrize(
    ("seccomp", "advised_bytes", "flag", "expected"),
    [
        (FILTER, 0, "", (PROBLEM, "likely")),
        (FILTER, 4 * MIB - 1024, "nh", (PROBLEM, "likely")),
        (FILTER, 4 * MIB, "nh", (NOTE, "possible")),  # it worked, at least before the filter
        (FILTER, 4 * MIB, "hg", (NOTE, "possible")),
        (FILTER, 4 * MIB, "sd", (PROBLEM, "likely")),
        (NONE, 0, "", (NOTE, "possible")),
        (STRICT, 0, "", (NOTE, "possible")),
        (None, 0, "", (NOTE, "possible")),
        (NONE, 4 * MIB, "nh", None),
        (None, 4 * MIB, "nh", None),
    ],
)
def test_what_speaks_for_a_refusal(
    seccomp: str | None, advised_bytes: int, flag: str, expected: tuple[str, str] | None
) -> None:
    smaps = HEAP + vma(0xC010000000, advised_bytes, flag)
    finding = look(128 * MIB, found=snapshot(seccomp=seccomp, smaps=smaps))
    assert ((finding.weight, finding.confidence) if finding else None) == expected
    if finding:
        kinds = [fix.kind for fix in finding.fixes]
        assert kinds == (["kernel", "upgrade"] if seccomp == FILTER else ["upgrade", "kernel"])
        assert ("seccomp" in finding.summary) == (seccomp == FILTER)
        assert any("1.21" in fix.text for fix in finding.fixes)


def test_other_reasons_are_not_its() -> None:
    lines = dict.fromkeys(("heap/released/lazyfree", "heap/released/hugepage", "heap/released/locked"), 64 * MIB)
    assert madvise_refused.look(snapshot(), account_of({**lines, "heap/retained": 64 * MIB})) is None
    assert not GATE(snapshot(), account_of({**lines, LINE: 4 * MIB - 1}))
    assert GATE(snapshot(), account_of({LINE: 4 * MIB}))


def test_evidence_has_what_tells_it_from_the_others() -> None:
    finding = look(128 * MIB)
    assert finding
    values = {each.what: each.value for each in finding.evidence}
    assert values["Seccomp (2: a filter)"] == 2
    for name in ("LazyFree", "AnonHugePages", "Locked"):
        assert values[f"{name} in smaps, all mappings"] == 0
    assert 128 * MIB in values.values() and 190 * MIB in values.values() and "go1.19.8" in values.values()


@pytest.mark.parametrize("seccomp", [None, "", "on"])
def test_a_status_without_it(seccomp: str | None) -> None:
    finding = look(128 * MIB, found=snapshot(seccomp=seccomp))
    assert finding and not any("Seccomp" in each.what for each in finding.evidence)


@pytest.mark.parametrize(
    ("reason", "lazy_kib", "huge_kib", "told"),
    [
        ("lazy", 4096, 0, False),
        ("lazy", 4095, 0, True),
        ("lazy", 0, 4096, True),
        ("huge pages", 0, 4096, False),
        ("huge pages", 0, 4095, True),
        ("", 4096, 4096, True),
    ],
)
def test_pages_that_cannot_be_told_from_others(reason: str, lazy_kib: int, huge_kib: int, told: bool) -> None:
    smaps = vma(0xC000000000, 200 * MIB, "sd", lazy_kib, huge_kib)
    found = snapshot(smaps=smaps, reasons={reason: "cannot be told"} if reason else {})
    if told:
        assert look(128 * MIB, found=found)
    else:
        with pytest.raises(Missing, match="cannot be told"):
            look(128 * MIB, found=found)


def test_a_kernel_without_lazyfree() -> None:
    with pytest.raises(Missing, match=r"Linux 4\.12"):
        look(128 * MIB, found=snapshot(smaps=vma(0xC000000000, 200 * MIB, "sd", lazy_kib=None)))


@pytest.mark.parametrize("go_version", [None, "devel go1.20-0f3cb58", "go1.99.1"])
def test_a_release_without_a_table(go_version: str | None) -> None:
    with pytest.raises(Missing):
        look(128 * MIB, found=snapshot(go_version))


@pytest.mark.parametrize("name", ["Build", "Host", "Vmas", "Pages", "Status"])
def test_missing_sections(name: str) -> None:
    sections = {
        "Build": build("go1.19.8"),
        "Host": Host("6.8.0", 4096, "madvise", 0),
        "Vmas": parse_smaps(HEAP.encode()),
        "Pages": Pages(array("Q"), 4096, 0, "PAGEMAP_SCAN"),
        "Status": Status({"Seccomp": FILTER}, {}),
    }
    del sections[name]
    found = snapshot_of({"HeapReleased": 190 * MIB}, *sections.values(), missing={name: Missing(f"no {name} here")})
    with pytest.raises(Missing, match=f"no {name} here"):
        look(128 * MIB, found=found)


@pytest.mark.parametrize(
    ("figures", "reason"),
    [({}, "HeapReleased"), ({"HeapReleased": 190 * MIB, "HeapIdle": 20 * MIB}, "which contains it")],
)
def test_without_figures_or_with_ones_that_contradict(figures: dict[str, int], reason: str) -> None:
    sections = (build("go1.19.8"), Host("6.8.0", 4096, "madvise", 0), parse_smaps(HEAP.encode()))
    with pytest.raises(Missing, match=reason):
        look(128 * MIB, found=snapshot_of(figures, *sections, go_minor=19))
