"""goroutine-leak at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from tests.causes.goroutine_builders import by_hand, goroutines_of, site_of
from whyrss.account import Account
from whyrss.causes import goroutine_leak
from whyrss.errors import Missing
from whyrss.facts.waitreasons import STATES, WAIT_REASONS
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.goroutines import Site
from whyrss.show.sentence import summary
from whyrss.snapshot import Snapshot

KIB = 1 << 10
STUCK = "main.serve"


def account(stack_bytes: int, rss_bytes: int = 0) -> Account:
    return account_of({"heap/stacks": stack_bytes}, rss_bytes)


def snapshot(*sites: Site, go_minor: int = 27) -> Snapshot:
    return snapshot_of({}, goroutines_of(*sites), go_minor=go_minor)


def look(*sites: Site, rss_bytes: int = 0, stack_bytes: int | None = None, go_minor: int = 27) -> Finding | None:
    """What is said of these goroutines; the line holds their stacks, where it is not given."""
    line_bytes = sum(site.stack_bytes for site in sites) if stack_bytes is None else stack_bytes
    return goroutine_leak.look(snapshot(*sites, go_minor=go_minor), account(line_bytes, rss_bytes))


@pytest.mark.parametrize(
    ("count", "each_bytes", "rss_bytes", "mentioned"),
    [
        # 1000 of one maker
        (1000, 16 * KIB, 0, True),
        (999, 16 * KIB, 0, False),
        # 8 MiB of stacks
        (4096, 2 * KIB, 0, True),
        (4095, 2 * KIB, 0, False),
        # a twentieth of RSS
        (4096, 4 * KIB, 320 * MIB, True),
        (4096, 4 * KIB, 320 * MIB + 1, False),
    ],
)
def test_mentioned_from(count: int, each_bytes: int, rss_bytes: int, mentioned: bool) -> None:
    assert (look(site_of(STUCK, count, each_bytes), rss_bytes=rss_bytes) is not None) == mentioned


@pytest.mark.parametrize(
    ("count", "rss_bytes", "weight"),
    [
        (8192, 128 * MIB, PROBLEM),
        (8191, 100 * MIB, NOTE),  # 32 MiB of stacks of 4 KiB
        (8192, 128 * MIB + 4, NOTE),  # a quarter of RSS
    ],
)
def test_a_problem_from(count: int, rss_bytes: int, weight: str) -> None:
    finding = look(site_of(STUCK, count, 4 * KIB), rss_bytes=rss_bytes)
    assert finding and (finding.weight, finding.bytes) == (weight, count * 4 * KIB)
    assert finding.reclaimable_bytes == (finding.bytes if weight == PROBLEM else 0)
    assert (finding.line, finding.confidence) == ("heap/stacks", "likely")


@pytest.mark.parametrize(("stuck", "working", "mentioned"), [(9000, 1000, True), (8999, 1001, False)])
def test_nine_tenths_of_what_one_maker_made(stuck: int, working: int, mentioned: bool) -> None:
    site = site_of(STUCK, stuck, 4 * KIB)
    site.add(working, working * 4 * KIB, "running", 0)
    assert (look(site) is not None) == mentioned


@pytest.mark.parametrize(("others", "mentioned"), [(1000, True), (1001, False)])
def test_nine_tenths_of_all(others: int, mentioned: bool) -> None:
    assert (look(site_of(STUCK, 9000, 4 * KIB), site_of("main.work", others, KIB, "sleep")) is not None) == mentioned


def test_since_before_the_last_collection() -> None:
    assert look(site_of(STUCK, 9000, 4 * KIB, since=9000)) is not None
    assert look(site_of(STUCK, 9000, 4 * KIB, since=8100)) is not None
    assert look(site_of(STUCK, 9000, 4 * KIB, since=8099)) is None
    assert look(site_of(STUCK, 9000, 4 * KIB, since=0)) is None


def test_idle_connections_are_another_thing() -> None:
    """Of each connection one goroutine reads, and two wait for something to write or for its end."""
    reader = site_of("net/http.(*Server).Serve", 5000, 8 * KIB, "IO wait")
    writer, closer = site_of("main.accept", 5000, 8 * KIB, "select"), site_of("main.open", 5000, 8 * KIB, "select")
    assert look(reader) is None
    assert look(reader, writer) is None
    assert look(reader, writer, closer) is None
    assert look(writer, closer) is not None  # two makers, each with half of them


@pytest.mark.parametrize("state", ["IO wait", "sleep", "syscall", "running", "runnable", "finalizer wait", "waiting"])
def test_what_ends_by_itself(state: str) -> None:
    assert look(site_of(STUCK, 9000, 4 * KIB, state)) is None


@pytest.mark.parametrize("state", [*goroutine_leak.BLOCKED, "select (no cases)", "chan send (nil chan)"])
def test_what_another_has_to_end(state: str) -> None:
    """Each is a text of some release, by the runtime's own table."""
    assert state in {text for _, _, texts in WAIT_REASONS for text in texts}
    assert look(site_of(STUCK, 9000, 4 * KIB, state)) is not None


def test_what_the_collector_found_is_certain() -> None:
    leaked = f"chan receive ({STATES[10]})"
    finding = look(site_of(STUCK, 9000, 4 * KIB, leaked))
    assert finding and finding.confidence == "certain"
    some = site_of(STUCK, 1000, 4 * KIB, leaked)
    some.add(9000, 9000 * 4 * KIB, "chan receive", 9000)
    finding = look(some)
    assert finding and finding.confidence == "likely"


def test_deep_stacks_of_a_few_are_another_cause() -> None:
    assert look(site_of("main.walk", 512, 256 * KIB)) is None


def test_not_more_than_the_line() -> None:
    finding = look(site_of(STUCK, 9000, 4 * KIB), stack_bytes=20 * MIB)
    assert finding and finding.bytes == 20 * MIB


def test_it_names_who_made_most_of_them() -> None:
    finding = look(site_of(STUCK, 6000, 4 * KIB), site_of("main.retry", 3000, 4 * KIB, "select"))
    assert finding
    assert "9000 goroutines, most of them made by main.serve, that wait (chan receive)" in finding.summary
    assert "those of main.serve" in finding.fixes[0].text


def test_a_name_that_is_meant_to_harm() -> None:
    finding = look(site_of("main.\x1b[2J{bytes!r}{0.__class__}'\"\n" + "x" * 10_000, 9000, 4 * KIB))
    assert finding
    shown = summary(finding, 100 * MIB)
    assert "\x1b" not in shown and "\n" not in shown and len(shown) < 600
    assert "__class__" in shown and "made by main.?[2J?bytes!r??" in shown
    assert all("main." not in found.check for found in finding.evidence)


def test_where_nobody_is_known_to_have_made_them() -> None:
    """Threads of C that called into Go."""
    finding = look(site_of("", 9000, 4 * KIB, start="main.callback"))
    assert finding and "made by main.callback" in finding.summary


@pytest.mark.parametrize(("go_minor", "profile"), [(26, "/pprof/goroutine?"), (27, "/pprof/goroutineleak?")])
def test_the_profile_by_release(go_minor: int, profile: str) -> None:
    finding = look(site_of(STUCK, 9000, 4 * KIB), go_minor=go_minor)
    assert finding and [fix.kind for fix in finding.fixes] == ["code"] and profile in finding.fixes[0].text


def test_evidence_can_be_checked_by_hand() -> None:
    """Also of a site that is not the first."""
    sites = (
        site_of("main.init", 12, 2 * KIB, "sleep"),
        site_of(STUCK, 5000, 4 * KIB),
        site_of("main.b", 4000, 8 * KIB),
    )
    seen, lines = snapshot(*sites), account(60 * MIB)
    finding = goroutine_leak.look(seen, lines)
    assert finding
    values = [found.value for found in finding.evidence]
    assert values == [60 * MIB, 9018, 5000, 5000 * 4 * KIB, 4000, 4000 * 8 * KIB]
    assert [by_hand(found, seen, lines) for found in finding.evidence] == [str(value) for value in values]


def test_the_goroutines_are_not_read_where_the_line_is_small() -> None:
    without = snapshot_of({})
    assert goroutine_leak.look(without, account(8 * MIB - 1)) is None
    assert goroutine_leak.look(without, account(8 * MIB, 161 * MIB)) is None


def test_missing_goroutines() -> None:
    with pytest.raises(Missing, match="Goroutines"):
        goroutine_leak.look(snapshot_of({}), account(8 * MIB))
    gone = snapshot_of({}, missing={"Goroutines": Missing("the recording has no goroutines")})
    with pytest.raises(Missing, match="the recording has no goroutines"):
        goroutine_leak.look(gone, account(8 * MIB))


def test_functions_without_names() -> None:
    """All are of one site then, whoever made them."""
    found = goroutines_of(site_of("", 9000, 4 * KIB))
    found.unnamed = "no table of functions"
    with pytest.raises(Missing, match="no table of functions"):
        goroutine_leak.look(snapshot_of({}, found), account(36 * MIB))
    few = goroutines_of(site_of("", 900, 4 * KIB))
    few.unnamed = "no table of functions"
    assert goroutine_leak.look(snapshot_of({}, few), account(36 * MIB)) is None


def test_no_figures_of_the_runtime_are_needed() -> None:
    seen = snapshot_of(Missing("no counters"), goroutines_of(site_of(STUCK, 9000, 4 * KIB)))
    finding = goroutine_leak.look(seen, account(36 * MIB))
    assert finding and "/pprof/goroutine?" in finding.fixes[0].text
