"""Runs from regions and from entries, against the same told page by page."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrss.errors import FormatError
from whyrss.read import pagemap
from whyrss.read.pagemap import ANON, FILE_OR_SHARED, HUGE, LAZY, Pages

PAGE = 4096
BASE = 0x7F0000000000
PRESENT, SWAPPED, FILE, ALONE = 1 << 63, 1 << 62, 1 << 61, 1 << 56
ENTRIES = st.lists(
    st.builds(
        lambda bits, frame: sum(bits) | frame,
        st.sets(st.sampled_from([PRESENT, FILE, ALONE, 1 << 55, 1 << 57, 1 << 58]), max_size=6),
        st.integers(0, (1 << 55) - 1),
    )
    | st.integers(0, (1 << 50) - 1).map(lambda offset: SWAPPED | offset),
    max_size=60,
)


def runs(*triples: tuple[int, int, int]) -> array[int]:
    return array("Q", [word for triple in triples for word in triple])


def pages_of(found: array[int]) -> dict[int, int]:
    """Page number -> flags; ascending, disjoint and maximal, or it fails."""
    told: dict[int, int] = {}
    before, flags_before = -1, -1
    for start, end, flags in zip(found[0::3], found[1::3], found[2::3], strict=True):
        assert before <= start < end
        assert start != before or flags != flags_before
        for address in range(start, end, PAGE):
            told[(address - BASE) // PAGE] = flags
        before, flags_before = end, flags
    return told


@given(ENTRIES, st.booleans())
def test_entries_become_runs(entries: list[int], anonymous: bool) -> None:
    found = pagemap.runs_of_entries(array("Q", entries).tobytes(), BASE, PAGE, anonymous)
    expected = {}
    for number, entry in enumerate(entries):
        if entry & PRESENT and anonymous:
            expected[number] = ANON if entry & ALONE and not entry & FILE else 0
        elif entry & PRESENT:
            expected[number] = FILE_OR_SHARED if entry & FILE else ANON
    assert pages_of(found) == expected


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2), st.sampled_from([ANON, ANON | HUGE])), max_size=30))
def test_pieces_are_joined_where_they_touch_and_are_alike(parts: list[tuple[int, int, int]]) -> None:
    joined, at = array("Q"), BASE
    expected: dict[int, int] = {}
    for length, gap, flags in parts:
        at += gap * PAGE
        pagemap.append(joined, runs((at, at + length * PAGE, flags)))
        expected |= {(at - BASE) // PAGE + number: flags for number in range(length)}
        at += length * PAGE
    assert pages_of(joined) == expected
    assert pagemap.size_bytes(joined) == len(expected) * PAGE
    assert pagemap.size_bytes(joined, ANON) == sum(flags == ANON for flags in expected.values()) * PAGE


@given(st.sets(st.integers(0, 40)), st.integers(0, 42), st.integers(0, 42))
def test_within_cuts_at_both_ends(numbers: set[int], low: int, high: int) -> None:
    own = array("Q")
    for number in sorted(numbers):
        pagemap.append(own, runs((BASE + number * PAGE, BASE + (number + 1) * PAGE, ANON)))
    pages = Pages(own, PAGE, 0, "pagemap")
    found = runs(*pages.within(BASE + low * PAGE, BASE + high * PAGE))
    assert pages_of(found) == {number: ANON for number in numbers if low <= number < high}
    assert list(pages) == list(pages.within(0, 1 << 64))
    assert len(pages) == len(own) // 3


def test_resident_bytes_leave_out_the_excess() -> None:
    pages = Pages(runs((BASE, BASE + 8 * PAGE, ANON), (BASE + 9 * PAGE, BASE + 10 * PAGE, ANON)), PAGE, 0, "pagemap")
    assert pages.resident_bytes == 9 * PAGE
    pages.excess.append((BASE, BASE + 8 * PAGE, 2 * PAGE))
    assert pages.resident_bytes == 7 * PAGE


def test_doubtful_pages_are_dropped_or_kept() -> None:
    own = runs((BASE, BASE + PAGE, ANON), (BASE + PAGE, BASE + 2 * PAGE, 0), (BASE + 2 * PAGE, BASE + 3 * PAGE, ANON))
    assert pages_of(pagemap.without_zero(own, keep=True)) == {0: ANON, 1: ANON, 2: ANON}
    assert pages_of(pagemap.without_zero(own, keep=False)) == {0: ANON, 2: ANON}


def test_whole_blocks_are_huge_where_the_sum_agrees() -> None:
    size = 8 * PAGE
    own = runs((BASE + 3 * PAGE, BASE + 20 * PAGE, ANON), (BASE + 24 * PAGE, BASE + 30 * PAGE, ANON))
    marked = pagemap.mark_huge(own, size, size)
    assert marked is not None
    huge = dict.fromkeys(range(8, 16), ANON | HUGE)
    assert pages_of(marked) == dict.fromkeys([*range(3, 8), *range(16, 20), *range(24, 30)], ANON) | huge
    assert pagemap.mark_huge(own, 2 * size, size) is None


GOOD = (BASE, BASE + PAGE, ANON)


def test_good_runs_pass() -> None:
    pagemap.check_runs(runs(GOOD, (BASE + PAGE, BASE + 3 * PAGE, ANON | HUGE | LAZY)), PAGE)
    pagemap.check_runs(array("Q"), PAGE)


@pytest.mark.parametrize(
    "bad",
    [
        runs(GOOD)[:2],
        runs(GOOD, GOOD),
        runs((BASE, BASE, ANON)),
        runs((BASE + PAGE, BASE, ANON)),
        runs((BASE + 1, BASE + PAGE, ANON)),
        runs((BASE, BASE + PAGE + 1, ANON)),
        runs((BASE, BASE + PAGE, 1)),
    ],
)
def test_damaged_runs_are_refused(bad: array[int]) -> None:
    with pytest.raises(FormatError, match="pages: "):
        pagemap.check_runs(bad, PAGE)
