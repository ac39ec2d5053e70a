"""Several causes at once: who may claim what, and who comes first."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.account import Account
from whyrss.errors import Missing
from whyrss.finding import NOTE, PROBLEM, Cause, Entry, Evidence, Finding
from whyrss.gates import always
from whyrss.snapshot import Snapshot
from whyrss.verdict import Claims, Diagnosis, diagnose

LINES = {"heap/live": 100 * MIB, "heap/released/lazyfree": 40 * MIB, "heap/released/other": 10 * MIB}


class Fake(Entry):
    """An entry whose cause says what it is told."""

    def __init__(self, name: str, line: str, size_bytes: int, **said: object) -> None:
        super().__init__(name, always, section="Process", any_program=True)
        self.said = {"weight": PROBLEM, "reclaimable_bytes": size_bytes, "confidence": "certain", **said}
        self.line, self.size_bytes = line, size_bytes

    def load(self) -> Cause:
        return Cause(self.name, "a fake", self.look)

    def look(self, snapshot: Snapshot, account: Account) -> Finding | None:
        return Finding(
            cause=self.name,
            weight=str(self.said["weight"]),
            line=self.line,
            size_bytes=self.size_bytes,
            reclaimable_bytes=int(str(self.said["reclaimable_bytes"])),
            affects=("rss",),
            confidence=str(self.said["confidence"]),
            summary="{bytes} of {rss}",
            evidence=[Evidence("it", 1, "", "echo 1")],
            fixes=[],
        )


class Broken(Fake):
    def look(self, snapshot: Snapshot, account: Account) -> Finding | None:
        raise Missing("no figures")


def diagnosed(*entries: Entry, lines: Mapping[str, int] = LINES) -> Diagnosis:
    return diagnose(snapshot_of({}), account_of(lines), entries)


def sizes(diagnosis: Diagnosis) -> dict[str, tuple[int, str]]:
    return {found.cause: (found.bytes // MIB, found.weight) for found in diagnosis.findings}


def test_the_earlier_has_the_bytes_and_the_later_what_is_left() -> None:
    found = diagnosed(Fake("first", "heap/live", 30 * MIB), Fake("second", "heap/live", 100 * MIB))
    assert sizes(found) == {"first": (30, PROBLEM), "second": (70, PROBLEM)}
    assert {finding.cause: finding.reclaimable_bytes // MIB for finding in found.findings} == {
        "first": 30,
        "second": 70,
    }


@pytest.mark.parametrize(
    ("taken", "second"),
    [
        (62, (38, PROBLEM)),  # a quarter of 150 MiB is 37.5
        (63, (37, NOTE)),
        (92, (8, NOTE)),  # a twentieth is 7.5
        (93, None),
    ],
)
def test_what_is_left_is_less_than_was_asked_for(taken: int, second: tuple[int, str] | None) -> None:
    found = diagnosed(Fake("first", "heap/live", taken * MIB), Fake("second", "heap/live", 100 * MIB))
    assert sizes(found).get("second") == second
    assert found.silent == ([] if second else ["second"])


def test_a_small_finding_that_nobody_cuts_stays() -> None:
    assert sizes(diagnosed(Fake("small", "heap/live", 1 * MIB))) == {"small": (1, PROBLEM)}


def test_a_line_and_the_line_above_it() -> None:
    whole = Fake("whole", "heap/released", 50 * MIB)
    part = Fake("part", "heap/released/lazyfree", 40 * MIB)
    assert sizes(diagnosed(part, whole)) == {"part": (40, PROBLEM), "whole": (10, NOTE)}
    assert sizes(diagnosed(whole, part)) == {"whole": (50, PROBLEM)}


def test_a_finding_without_bytes_stands_beside_the_one_that_has_them() -> None:
    found = diagnosed(Fake("has", "heap/live", 100 * MIB), Fake("setting", "heap/live", 0))
    assert sizes(found) == {"has": (100, PROBLEM), "setting": (0, PROBLEM)}


def test_order() -> None:
    """Problems first, then by what can be got back, then by how sure they are."""
    found = diagnosed(
        Fake("note", "heap/live", 90 * MIB, weight=NOTE),
        Fake("possible", "heap/released/other", 5 * MIB, confidence="possible"),
        Fake("likely", "heap/released/other", 5 * MIB, confidence="likely"),
        Fake("most", "heap/released/lazyfree", 40 * MIB),
    )
    assert [finding.cause for finding in found.findings] == ["most", "likely", "possible", "note"]


def test_a_cause_that_cannot_be_judged_takes_nothing() -> None:
    found = diagnosed(Broken("broken", "heap/live", 100 * MIB), Fake("next", "heap/live", 100 * MIB))
    assert found.not_checked == [("broken", "no figures")]
    assert sizes(found) == {"next": (100, PROBLEM)}


PATHS = ("heap", "heap/live", "heap/released", "heap/released/lazyfree", "heap/released/other", "runtime")


@given(st.lists(st.tuples(st.sampled_from(PATHS), st.integers(0, 400)), max_size=12))
def test_no_byte_is_claimed_twice(wanted: list[tuple[str, int]]) -> None:
    account = account_of(LINES)
    found = diagnosed(*(Fake(f"c{number}", path, size * MIB) for number, (path, size) in enumerate(wanted)))
    assert len(found.findings) + len(found.silent) == len(wanted)
    for path in PATHS:
        within = [each for each in found.findings if f"{each.line}/".startswith(f"{path}/")]
        assert sum(each.bytes for each in within) <= account.root.bytes_of(path)


def test_claims_of_a_line_that_is_not_there() -> None:
    assert Claims(account_of(LINES).root).left_bytes("heap/none") == 0
