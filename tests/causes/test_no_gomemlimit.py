"""no-gomemlimit at its thresholds, beside its neighbours, without a container and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.account import Account
from whyrss.causes import no_gomemlimit
from whyrss.environment import NO_LIMIT_BYTES
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Finding
from whyrss.read.cgroup import Cgroup
from whyrss.read.hierarchy import folder_of, parse_paths

LIMIT_BYTES = 1000 * MIB
HOST_BYTES = 8000 * MIB


def cgroup(limit_bytes: int | None = LIMIT_BYTES, anon_bytes: int = 0, version: int = 2, path: str = "/x") -> Cgroup:
    found = Cgroup(version, path, {"anon": anon_bytes})
    found.limit_bytes, found.host_bytes = limit_bytes, HOST_BYTES
    return found


def figures(alive_bytes: int, goal_bytes: int, **others: int) -> dict[str, int]:
    """10 MiB of Go's own besides objects."""
    return {
        "HeapAlloc": alive_bytes,
        "heap_marked_bytes": alive_bytes,
        "NextGC": goal_bytes,
        "gc_percent": 100,
        "memory_limit_bytes": NO_LIMIT_BYTES,
        "mapped_ready_bytes": alive_bytes + 10 * MIB,
        "HeapIdle": 5 * MIB,
        "HeapReleased": 5 * MIB,
        **others,
    }


def account(live_bytes: int, **others: int) -> Account:
    lines = {name.replace("_", "/"): size_bytes for name, size_bytes in others.items()}
    return account_of({"heap/live": live_bytes, **lines})


def look(found: dict[str, int], lines: Account, group: Cgroup | None = None, *, go_minor: int = 27) -> Finding | None:
    return no_gomemlimit.look(snapshot_of(found, group or cgroup(), go_minor=go_minor), lines)


@pytest.mark.parametrize(
    ("goal_bytes", "weight"),
    [(900 * MIB, None), (900 * MIB + 1, PROBLEM)],
)
def test_danger_begins_at_nine_tenths(goal_bytes: int, weight: str | None) -> None:
    finding = look(figures(450 * MIB, goal_bytes), account(450 * MIB))
    assert (finding.weight if finding else None) == weight
    if finding:
        assert (finding.bytes, finding.reclaimable_bytes, finding.affects) == (0, 0, ("limit",))
        assert "OOM" in finding.summary


@pytest.mark.parametrize(
    ("lines", "danger"),
    [
        # other memory of the process stays beside the heap
        ({"c": 10 * MIB}, True),
        # the kernel takes these before it kills
        ({"files": 100 * MIB}, False),
        ({"image": 100 * MIB}, False),
        ({"heap_released_lazyfree": 100 * MIB, "c_lazyfree": 100 * MIB}, False),
        # free pages are used before RSS grows, and are counted once
        ({"heap_retained": 100 * MIB}, False),
        ({"heap_retained": 500 * MIB}, True),
    ],
)
def test_what_counts(lines: dict[str, int], danger: bool) -> None:
    """Without more than these lines the heap goes to 895 MiB of 900."""
    assert (look(figures(450 * MIB, 895 * MIB), account(450 * MIB, **lines)) is not None) == danger


def test_others_in_the_container() -> None:
    """300 MiB of other processes: 600 + 300 MiB are the border; of the process itself nothing is counted twice."""
    lines = account(300 * MIB)
    assert look(figures(300 * MIB, 600 * MIB), lines, cgroup(anon_bytes=600 * MIB)) is None
    finding = look(figures(300 * MIB, 600 * MIB), lines, cgroup(anon_bytes=600 * MIB + 1))
    assert finding and finding.weight == PROBLEM


@pytest.mark.parametrize(("alive_bytes", "weight"), [(100 * MIB, PROBLEM), (100 * MIB - 1, NOTE)])
def test_far_from_the_limit_is_a_note(alive_bytes: int, weight: str) -> None:
    off = figures(alive_bytes, 1 << 63, gc_percent=-1)
    finding = look(off, account(alive_bytes))
    assert finding and finding.weight == weight
    assert "GOGC=off" in finding.summary
    assert not [found for found in finding.evidence if "NextGC" in found.what]


@pytest.mark.parametrize(("live_bytes", "seen"), [(16 * MIB, True), (16 * MIB - 1, False)])
def test_small_heaps_are_not_looked_at(live_bytes: int, seen: bool) -> None:
    finding = look(figures(live_bytes, 2 * live_bytes), account(live_bytes), cgroup(30 * MIB))
    assert (finding is not None) == seen


def test_fix_with_its_number() -> None:
    """1000 MiB less a tenth, less 40 MiB of C and 60 MiB of others: 800 MiB."""
    lines = account(450 * MIB, runtime=10 * MIB, c=40 * MIB)
    finding = look(figures(450 * MIB, 900 * MIB), lines, cgroup(anon_bytes=560 * MIB))
    assert finding and [fix.variable for fix in finding.fixes] == ["GOMEMLIMIT=800MiB"]
    assert finding.fixes[0].kind == "env"


def test_no_room_for_what_is_alive() -> None:
    """(750 * 1.2 + 10) / 0.9 = 1011.1 MiB."""
    finding = look(figures(750 * MIB, 1500 * MIB), account(750 * MIB))
    assert finding and [fix.kind for fix in finding.fixes] == ["limit"]
    assert "at least 1012 MiB" in finding.fixes[0].text


def test_go_before_the_setting() -> None:
    """It can only be a note; GOGC by which the heap stays below 900 MiB: (900 - 10 - 450) / 450 = 97 %."""
    found = figures(450 * MIB, 1200 * MIB, Sys=465 * MIB, HeapReleased=5 * MIB)
    for name in ("memory_limit_bytes", "mapped_ready_bytes", "gc_percent"):
        del found[name]
    finding = look({**found, "goal_bytes": 1200 * MIB}, account(450 * MIB), go_minor=18)
    assert finding and finding.weight == NOTE and "1.19" in finding.summary
    assert [(fix.kind, fix.variable) for fix in finding.fixes] == [("env", "GOGC=97"), ("upgrade", "")]


def test_a_limit_in_force() -> None:
    found = figures(450 * MIB, 1200 * MIB, memory_limit_bytes=NO_LIMIT_BYTES - 1)
    assert look(found, account(450 * MIB)) is None


@pytest.mark.parametrize("limit_bytes", [None, HOST_BYTES, HOST_BYTES + 1])
def test_without_a_limit_of_a_container(limit_bytes: int | None) -> None:
    found = figures(7000 * MIB, 14000 * MIB)
    assert look(found, account(7000 * MIB), cgroup(limit_bytes)) is None


def test_a_limit_below_the_machine() -> None:
    assert look(figures(7000 * MIB, 14000 * MIB), account(7000 * MIB), cgroup(HOST_BYTES - 1)) is not None


def test_in_no_memory_cgroup() -> None:
    """In the words that the reader of cgroups has for it."""
    with pytest.raises(Missing) as none:
        folder_of({}, parse_paths(b"1:cpu:/x\n"))
    snapshot = snapshot_of(figures(450 * MIB, 1200 * MIB), missing={"Cgroup": none.value})
    assert no_gomemlimit.look(snapshot, account(450 * MIB)) is None


def test_a_cgroup_that_cannot_be_read() -> None:
    missing = {"Cgroup": Missing("cgroup v2 /x: memory.stat: permission denied")}
    with pytest.raises(Missing, match="permission denied"):
        no_gomemlimit.look(snapshot_of(figures(450 * MIB, 1200 * MIB), missing=missing), account(450 * MIB))


@pytest.mark.parametrize(("path", "silent"), [("/", True), ("/x", False)])
def test_a_limit_that_cannot_be_read(path: str, silent: bool) -> None:
    """The root of v2 has no such file."""
    group = cgroup(None, path=path)
    group.unread["memory.max"] = "no such file"
    found = figures(450 * MIB, 1200 * MIB)
    if silent:
        assert look(found, account(450 * MIB), group) is None
    else:
        with pytest.raises(Missing, match=r"/x: memory\.max"):
            look(found, account(450 * MIB), group)


@pytest.mark.parametrize("name", ["HeapAlloc", "NextGC", "memory_limit_bytes"])
def test_missing_figures(name: str) -> None:
    found = figures(450 * MIB, 1200 * MIB)
    del found[name]
    with pytest.raises(Missing, match=name):
        look(found, account(450 * MIB))


def test_contradiction() -> None:
    with pytest.raises(Missing, match="which contains it"):
        look(figures(450 * MIB, 1200 * MIB, HeapInuse=MIB), account(450 * MIB))
