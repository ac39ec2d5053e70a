"""goroutine-stacks at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from tests.causes.goroutine_builders import SYSTEM, by_hand, goroutines_of, site_of
from whyrss.causes import goroutine_stacks
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Entry, Finding
from whyrss.gates import line
from whyrss.goroutines import Goroutines, Site
from whyrss.verdict import diagnose

KIB = 1 << 10


def look(
    *sites: Site,
    stack_bytes: int | None = None,
    rss_bytes: int = 0,
    dead_stack_bytes: int = 0,
    environ: dict[str, str] | Missing | None = None,
) -> Finding | None:
    """What is said of these goroutines; the line holds their stacks, where it is not given."""
    line_bytes = sum(site.stack_bytes for site in sites) if stack_bytes is None else stack_bytes
    found = goroutines_of(*sites, dead_stack_bytes=dead_stack_bytes)
    return goroutine_stacks.look(
        snapshot_of({}, found, environ=environ), account_of({"heap/stacks": line_bytes}, rss_bytes)
    )


def deep(count: int, each_bytes: int = 64 * KIB, maker: str = "main.parse") -> Site:
    return site_of(maker, count, each_bytes)


@pytest.mark.parametrize(
    ("stack_bytes", "rss_bytes", "mentioned"),
    [
        (4 * MIB, 0, True),
        (4 * MIB - 1, 0, False),
        (4 * MIB, 80 * MIB, True),
        (4 * MIB, 80 * MIB + 1, False),  # a twentieth of RSS
    ],
)
def test_mentioned_from(stack_bytes: int, rss_bytes: int, mentioned: bool) -> None:
    finding = look(site_of("main.work", 2000, 2 * KIB, "sleep"), stack_bytes=stack_bytes, rss_bytes=rss_bytes)
    assert (finding is not None) == mentioned
    if finding:
        assert (finding.weight, finding.bytes, finding.reclaimable_bytes) == (NOTE, stack_bytes, 0)
        assert finding.line == "heap/stacks"


@pytest.mark.parametrize(
    ("count", "each_bytes", "rss_bytes", "weight"),
    [
        (512, 64 * KIB, 128 * MIB, PROBLEM),
        (511, 64 * KIB, 100 * MIB, NOTE),  # 32 MiB
        (512, 64 * KIB, 128 * MIB + 4, NOTE),  # a quarter of RSS
        (100_000, 32 * KIB, 0, NOTE),  # many, but not deep
    ],
)
def test_deep_ones_are_a_problem_from(count: int, each_bytes: int, rss_bytes: int, weight: str) -> None:
    finding = look(deep(count, each_bytes), rss_bytes=rss_bytes)
    assert finding and finding.weight == weight
    assert finding.reclaimable_bytes == (finding.bytes if weight == PROBLEM else 0)


def test_deep_on_the_average_of_a_maker() -> None:
    """A single deep one among many does not make all of them deep."""
    site = site_of("main.work", 10_000, 8 * KIB, "select")
    site.add(1, 64 * MIB, "running", 0)
    finding = look(site)
    assert finding and finding.weight == NOTE and "10001 goroutines" in finding.summary


def test_deep_beside_many() -> None:
    """What is deep is a problem also where others have more, and only that can be got back."""
    finding = look(deep(640), site_of("main.work", 10_000, 8 * KIB, "select"))
    assert finding and (finding.weight, finding.reclaimable_bytes) == (PROBLEM, 40 * MIB)
    assert "640 goroutines have deep ones, above all those made by main.parse" in finding.summary
    assert [fix.kind for fix in finding.fixes] == ["code"] and "main.parse" in finding.fixes[0].text


def test_not_more_than_the_line() -> None:
    """Of a stack the part that nobody has come to is not resident."""
    finding = look(deep(1024), stack_bytes=40 * MIB)
    assert finding and (finding.bytes, finding.reclaimable_bytes) == (40 * MIB, 40 * MIB)


@pytest.mark.parametrize(("stack_bytes", "kept"), [(20 * MIB, True), (20 * MIB - 2, False)])
def test_what_goroutines_have_left_behind(stack_bytes: int, kept: bool) -> None:
    """Half of the line is of none that lives."""
    working = site_of("main.work", (10 * MIB - SYSTEM * 2 * KIB) // (4 * KIB), 4 * KIB, "sleep")
    finding = look(working, stack_bytes=stack_bytes, dead_stack_bytes=8 * MIB)
    assert finding and finding.weight == NOTE
    assert ("have ended" in finding.summary) == kept
    assert ("FreeOSMemory" in finding.fixes[0].text) == kept


@pytest.mark.parametrize(
    ("environ", "removed"),
    [
        ({"GODEBUG": "gctrace=1,gcshrinkstackoff=1"}, True),
        ({"GODEBUG": "gcshrinkstackoff=0"}, False),
        ({"GODEBUG": "gcshrinkstackoff=10"}, False),
        ({}, False),
        (Missing("/proc/7/environ: permission denied"), False),
    ],
)
def test_shrinking_that_was_forbidden(environ: dict[str, str] | Missing, removed: bool) -> None:
    finding = look(site_of("main.work", 2000, 8 * KIB, "sleep"), environ=environ)
    assert finding and ([fix.kind for fix in finding.fixes] == ["env", "code"]) == removed


def test_a_name_that_is_meant_to_harm() -> None:
    finding = look(deep(640, maker="main.\x1b[2J{0.__class__}"))
    assert finding and "\x1b" not in finding.summary.format(bytes=1, rss=2)


def both_causes(found: Goroutines, line_bytes: int) -> dict[str, tuple[str, int]]:
    entries = [
        Entry(name, line(4 * MIB, "heap/stacks"), section="Goroutines")
        for name in ("goroutine-leak", "goroutine-stacks")
    ]
    diagnosis = diagnose(snapshot_of({}, found), account_of({"heap/stacks": line_bytes}), entries)
    assert not diagnosis.not_checked
    return {each.cause: (each.weight, each.bytes) for each in diagnosis.findings}


def test_a_leak_claims_its_stacks_first() -> None:
    stuck = site_of("main.serve", 10_000, 8 * KIB)
    found = both_causes(goroutines_of(stuck), stuck.stack_bytes + MIB // 2)
    assert found == {"goroutine-leak": (PROBLEM, stuck.stack_bytes)}


def test_what_a_leak_leaves() -> None:
    stuck, parsers = site_of("main.serve", 10_000, 8 * KIB), deep(800)
    found = both_causes(goroutines_of(stuck, parsers), stuck.stack_bytes + parsers.stack_bytes)
    assert found == {
        "goroutine-leak": (PROBLEM, stuck.stack_bytes),
        "goroutine-stacks": (PROBLEM, parsers.stack_bytes),
    }


def test_busy_goroutines_are_no_leak() -> None:
    found = both_causes(goroutines_of(site_of("main.work", 20_000, 8 * KIB, "sleep")), 160 * MIB)
    assert found == {"goroutine-stacks": (NOTE, 160 * MIB)}


def test_evidence_can_be_checked_by_hand() -> None:
    """The deep ones first, and of the rest what has a tenth of the stacks."""
    sites = site_of("main.work", 5000, 8 * KIB, "sleep"), site_of("main.few", 1000, 4 * KIB), deep(320)
    found = goroutines_of(*sites, dead_stack_bytes=3 * MIB)
    seen, lines = snapshot_of({}, found), account_of({"heap/stacks": 66 * MIB})
    finding = goroutine_stacks.look(seen, lines)
    assert finding
    values = [each.value for each in finding.evidence]
    all_bytes = 5000 * 8 * KIB + 1000 * 4 * KIB + 20 * MIB + SYSTEM * 2 * KIB
    assert values == [66 * MIB, 6320 + SYSTEM, all_bytes, 3 * MIB, 20 * MIB, 5000 * 8 * KIB]
    assert [by_hand(each, seen, lines) for each in finding.evidence] == [str(value) for value in values]


def test_the_goroutines_are_not_read_where_the_line_is_small() -> None:
    without = snapshot_of({})
    assert goroutine_stacks.look(without, account_of({"heap/stacks": 4 * MIB - 1})) is None
    assert goroutine_stacks.look(without, account_of({"heap/stacks": 8 * MIB}, 161 * MIB)) is None


def test_missing_goroutines() -> None:
    with pytest.raises(Missing, match="Goroutines"):
        goroutine_stacks.look(snapshot_of({}), account_of({"heap/stacks": 8 * MIB}))
    gone = snapshot_of({}, missing={"Goroutines": Missing("none of 7 goroutines could be read")})
    with pytest.raises(Missing, match="could be read"):
        goroutine_stacks.look(gone, account_of({"heap/stacks": 8 * MIB}))
