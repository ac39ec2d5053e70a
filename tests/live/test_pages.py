"""Which pages are lazily freed, on a process whose pages were freed, kept and written again one by one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.measured import CAP_SYS_ADMIN, PAGE_BYTES, may, smaps_bytes
from tests.live.patterned import DIRTY, FREED, UNTOUCHED, WRITTEN_AGAIN, pages_of
from whyrss.errors import GoneError
from whyrss.live.pages import PageMap

PATTERNS = {
    "in blocks": FREED * 100 + DIRTY * 100 + WRITTEN_AGAIN * 100,
    "freed at both ends": FREED * 40 + DIRTY * 40 + FREED * 40,
    "one by one": (FREED + DIRTY) * 100,
    "with holes": (FREED + UNTOUCHED + DIRTY + WRITTEN_AGAIN + FREED) * 40,
    "none": DIRTY * 64 + UNTOUCHED * 64,
}


def hit(ranges: Iterator[tuple[int, int]], start: int) -> list[int]:
    """The numbers of the pages in ascending, disjoint, maximal ranges."""
    found: list[int] = []
    for low, high in ranges:
        assert low < high
        assert low % PAGE_BYTES == high % PAGE_BYTES == 0
        numbers = range((low - start) // PAGE_BYTES, (high - start) // PAGE_BYTES)
        assert not found or numbers[0] > found[-1] + 1
        found += numbers
    return found


def numbers(pattern: str, letters: str) -> set[int]:
    return {number for number, what in enumerate(pattern) if what in letters}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS.keys())
def test_freed_pages_are_found_and_dirty_ones_never(pattern: str) -> None:
    needs_page_flags()
    with pages_of(pattern) as running, PageMap(running.pid, PAGE_BYTES) as pages:
        start = running.ready["start"]
        end = start + len(pattern) * PAGE_BYTES
        found = set(hit(pages.lazily_freed(start, end), start))
        present = set(hit(pages.present(start, end), start))
        counted = smaps_bytes(running.pid, "LazyFree")
    # Pages that were written again may still bear the mark; the kernel looks once more before it takes them.
    assert numbers(pattern, FREED) <= found <= numbers(pattern, FREED + WRITTEN_AGAIN)
    assert present == numbers(pattern, FREED + DIRTY + WRITTEN_AGAIN)
    # smaps leaves out what was written again: the kernel agrees that this child did what its pattern says.  The
    # one page more is that of the other mapping.
    assert counted // PAGE_BYTES - len(numbers(pattern, FREED)) in (0, 1)


def test_a_range_across_two_reads_of_pagemap_stays_one() -> None:
    needs_page_flags()
    pattern = DIRTY * 10 + FREED * 60 + DIRTY * 10
    with pages_of(pattern) as running, PageMap(running.pid, PAGE_BYTES) as pages:
        start = running.ready["start"]
        # One read covers 65536 pages; the first ends 40 pages into the pattern.
        found = hit(pages.lazily_freed(start - (65536 - 40) * PAGE_BYTES, start + 80 * PAGE_BYTES), start)
    assert [number for number in found if number >= 0] == list(range(10, 70))


def test_a_huge_page_is_lazily_freed_in_all_its_parts() -> None:
    needs_page_flags()
    per_huge_page = (2 << 20) // PAGE_BYTES
    pattern = FREED * per_huge_page + DIRTY * per_huge_page
    with pages_of(pattern, "huge") as running, PageMap(running.pid, PAGE_BYTES) as pages:
        start = running.ready["start"]
        if smaps_bytes(running.pid, "AnonHugePages") < 4 << 20:
            pytest.skip("this kernel gave no huge pages of 2 MiB")
        found = hit(pages.lazily_freed(start, start + len(pattern) * PAGE_BYTES), start)
    assert found == list(range(per_huge_page))


def test_a_process_that_does_not_exist_is_gone() -> None:
    with pages_of(DIRTY) as running:
        pass
    with pytest.raises(GoneError, match=str(running.pid)):
        PageMap(running.pid, PAGE_BYTES)


def test_of_a_process_that_ends_meanwhile_no_page_is_found() -> None:
    with pages_of(DIRTY * 8) as running:
        start = running.ready["start"]
        pages = PageMap(running.pid, PAGE_BYTES)
    with pages:
        assert list(pages.present(start, start + 8 * PAGE_BYTES)) == []


def needs_page_flags() -> None:
    if not may(CAP_SYS_ADMIN):
        pytest.skip("needs CAP_SYS_ADMIN, which shows page frame numbers: run as root")
