"""The account by page: every resident page in exactly one line, whatever lies where."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrss.account import Account
from whyrss.bypage import _disjoint, _labelled, account_by_page
from whyrss.errors import Missing
from whyrss.goheap.bits import IDLE, IN_USE, RELEASED, STACK, TRANSITION, UNMAPPED, WORKBUF
from whyrss.goheap.heap import Heap, PageRuns
from whyrss.goheap.spans import Spans
from whyrss.read.buildinfo import Build
from whyrss.read.pagemap import ANON, HUGE, Pages
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Outside, Process, Snapshot
from whyrss.verdict import account_for

KIB = 1 << 10
PAGE = 8 * KIB
ARENA = 0xC000000000
META = 0x7F0000000000
EXE = 0x400000


def vma(
    start: int, end: int, rss: int, path: str = "", perms: str = "rw-p", lazyfree: int = 0, flags: str = ""
) -> bytes:
    return (
        f"{start:x}-{end:x} {perms} 00000000 00:00 0 {path}\nSize:           {(end - start) >> 10:8} kB\n"
        f"Rss:            {rss >> 10:8} kB\nLazyFree:       {lazyfree >> 10:8} kB\nVmFlags: rd {flags}\n"
    ).encode()


def pages(*runs: tuple[int, int, int]) -> Pages:
    return Pages(array("Q", [number for run in runs for number in run]), 4 * KIB, 0, "PAGEMAP_SCAN")


def heap(runs: list[tuple[int, int, int]], spans: Sequence[tuple[int, ...]] = ()) -> Heap:
    """`spans`: (start, pages, state, class, elem_bytes, elems, allocated, live, sweepgen)."""
    return Heap("go1.24.11 amd64", [(ARENA, ARENA + (64 << 20))], Spans.of(spans), PageRuns.of(runs))


def snapshot(
    found: Heap | Missing, resident: Pages, *maps: bytes, labels: Sequence[tuple[int, int, tuple[str, ...]]] = ()
) -> Snapshot:
    build = Build("amd64", False)
    build.is_go, build.go_version = True, "go1.24.11"
    sections: dict[str, object] = {
        "Vmas": parse_smaps(b"".join(maps)),
        "Process": Process(7, "prog", "/bin/prog", 1, "S", Missing("not read")),
        "Build": build,
        "Heap": found,
        "Pages": resident,
        "Outside": Outside(list(labels)),
    }
    return Snapshot("2026-01-01T00:00:00Z", "7", "cat /proc/7/{}", sections)


def lines(account: Account) -> dict[str, int]:
    """The lines without children that hold anything, by path."""
    found: dict[str, int] = {}
    path: list[str] = []
    for depth, line in account.root.walk():
        path[depth:] = [line.name]
        if line.bytes and not line.children:
            found["/".join(path[1:])] = line.bytes
    return found


def test_each_kind_of_page_has_its_line() -> None:
    kinds = [IN_USE, STACK, WORKBUF, IDLE, RELEASED, TRANSITION, UNMAPPED]
    runs = [(ARENA + number * PAGE, ARENA + (number + 1) * PAGE, kind) for number, kind in enumerate(kinds)]
    end = runs[-1][1]
    span = (ARENA, 1, 1, 0, 1024, 8, 3, 3, 2)
    account = account_by_page(
        snapshot(heap(runs, [span]), pages((ARENA, end, ANON)), vma(ARENA, ARENA + (4 << 20), end - ARENA))
    )
    assert lines(account) == {
        "heap/live": 3 * KIB,
        "heap/slack": 5 * KIB,
        "heap/stacks": PAGE,
        "runtime/workbufs": PAGE,
        "heap/retained": PAGE,
        "heap/released/other": PAGE,
        "heap/transition": PAGE,
        "unattributed": PAGE,
    }
    assert (account.basis, account.rss_bytes, account.residue_bytes) == ("page", end - ARENA, 0)


def test_only_what_is_resident_of_a_span_counts_and_live_goes_first() -> None:
    """Slots are handed out from the first one on, so what is absent was never used."""
    span = (ARENA, 4, 1, 0, 32 * KIB, 1, 1, 1, 2)
    half = account_by_page(
        snapshot(
            heap([(ARENA, ARENA + 4 * PAGE, IN_USE)], [span]),
            pages((ARENA + PAGE, ARENA + 2 * PAGE, ANON), (ARENA + 3 * PAGE, ARENA + 3 * PAGE + 4 * KIB, ANON)),
            vma(ARENA, ARENA + (4 << 20), 12 * KIB),
        )
    )
    assert lines(half) == {"heap/live": 12 * KIB}


@pytest.mark.parametrize(
    ("flag", "lazy", "locked", "line"),
    [
        (ANON, True, "", "lazyfree"),
        (ANON | HUGE, False, "", "hugepage"),
        (ANON, False, "lo", "locked"),
        (ANON | HUGE, False, "lo", "locked"),
        (ANON | HUGE, True, "", "lazyfree"),
        (ANON, False, "", "other"),
    ],
)
def test_why_released_pages_are_there(flag: int, lazy: bool, locked: str, line: str) -> None:
    resident = pages((ARENA, ARENA + 2 * PAGE, flag))
    resident.lazy = [(ARENA, ARENA + 2 * PAGE)] if lazy else []
    found = heap([(ARENA, ARENA + 4 * PAGE, RELEASED)])
    account = account_by_page(snapshot(found, resident, vma(ARENA, ARENA + (4 << 20), 2 * PAGE, flags=locked)))
    assert lines(account) == {f"heap/released/{line}": 2 * PAGE}


@pytest.mark.parametrize("flag", [ANON, ANON | HUGE])
def test_what_was_never_used_is_locked_too(flag: int) -> None:
    """mlockall makes the whole arena resident (mlock(2)); the part behind the last page in use belongs to nobody."""
    resident = pages((ARENA, ARENA + 4 * PAGE, flag))
    found = heap([(ARENA, ARENA + PAGE, RELEASED), (ARENA + PAGE, ARENA + 4 * PAGE, UNMAPPED)])
    account = account_by_page(snapshot(found, resident, vma(ARENA, ARENA + (4 << 20), 4 * PAGE, flags="lo")))
    assert lines(account) == {"heap/released/locked": 4 * PAGE}


def test_only_the_locked_mapping_of_what_was_never_used() -> None:
    """Two mappings side by side, the second of which is locked."""
    resident = pages((ARENA, ARENA + 4 * PAGE, ANON))
    maps = [vma(ARENA, ARENA + 3 * PAGE, 3 * PAGE), vma(ARENA + 3 * PAGE, ARENA + (4 << 20), PAGE, flags="lo")]
    account = account_by_page(snapshot(heap([(ARENA, ARENA + 4 * PAGE, UNMAPPED)]), resident, *maps))
    assert lines(account) == {"heap/released/locked": PAGE, "unattributed": 3 * PAGE}


@pytest.mark.parametrize(("kind", "line"), [(IDLE, "heap/retained"), (STACK, "heap/stacks")])
def test_what_go_has_not_released_is_locked_but_not_in_vain(kind: int, line: str) -> None:
    resident = pages((ARENA, ARENA + PAGE, ANON))
    found = heap([(ARENA, ARENA + PAGE, kind)])
    account = account_by_page(snapshot(found, resident, vma(ARENA, ARENA + (4 << 20), PAGE, flags="lo")))
    assert lines(account) == {line: PAGE}


def test_outside_of_the_arenas_structures_go_before_labels_and_labels_before_names() -> None:
    found = heap([])
    found.metadata = [(META + 0x1010, META + 0x2FF0, "spans")]
    account = account_by_page(
        snapshot(
            found,
            pages((EXE, EXE + 0x1000, ANON), (META, META + 0x5000, ANON)),
            vma(EXE, EXE + 0x2000, 0x1000, "/bin/prog", "r-xp"),
            vma(META, META + 0x8000, 0x5000),
            labels=[(META + 0x1000, META + 0x4000, ("c", "mmapped"))],
        )
    )
    assert lines(account) == {
        "image/program/text": 0x1000,
        "runtime/spans": 0x2000,  # the pages in which it lies, not its bytes
        "c/mmapped": 0x1000,
        "runtime/guessed": 0x2000,  # unknown, but between the runtime's own structures
    }


def test_what_nothing_identifies_is_unattributed() -> None:
    account = account_by_page(
        snapshot(heap([]), pages((META, META + 0x3000, ANON)), vma(META, META + 0x8000, 0x3000))
    )
    assert lines(account) == {"unattributed": 0x3000}


def test_lazily_freed_memory_of_another_allocator() -> None:
    account = account_by_page(
        snapshot(
            heap([]),
            pages((META, META + 0x8000, ANON)),
            vma(META, META + 0x8000, 0x8000, lazyfree=0x5000),
            labels=[(META, META + 0x8000, ("c", "other"))],
        )
    )
    assert lines(account) == {"c/lazyfree": 0x5000, "c/other": 0x3000}


def test_what_moved_meanwhile_is_stated() -> None:
    found = heap([(ARENA, ARENA + PAGE, IDLE)])
    found.residue_bytes = PAGE
    account = account_by_page(snapshot(found, pages((ARENA, ARENA + PAGE, ANON)), vma(ARENA, ARENA + PAGE, 3 * PAGE)))
    assert account.rss_bytes == PAGE
    assert account.residue_bytes == PAGE + 2 * PAGE


def test_zero_pages_that_cannot_be_told_leave_it_to_the_mappings() -> None:
    resident = pages((ARENA, ARENA + PAGE, ANON))
    resident.excess = [(ARENA, ARENA + PAGE, 4 * KIB)]
    resident.reasons["zero pages"] = "needs CAP_SYS_ADMIN"
    account = account_for(snapshot(heap([]), resident, vma(ARENA, ARENA + PAGE, PAGE)))
    assert (account.basis, account.basis_reason) == ("vma", "needs CAP_SYS_ADMIN")


def test_a_heap_that_could_not_be_read_leaves_it_to_the_mappings() -> None:
    account = account_for(snapshot(Missing("no layout"), pages(), vma(ARENA, ARENA + PAGE, PAGE)))
    assert (account.basis, account.basis_reason, account.rss_bytes) == ("vma", "no layout", PAGE)


labels = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12)), max_size=8)


@given(st.lists(labels, min_size=1, max_size=3), st.integers(0, 50), st.integers(1, 30))
def test_labels_never_overlap_and_the_earlier_list_wins(
    ranked: list[list[tuple[int, int]]], low: int, length: int
) -> None:
    named: list[list[tuple[int, int, tuple[str, ...]]]] = [
        [(start, start + size, (str(rank),)) for start, size in ranges] for rank, ranges in enumerate(ranked)
    ]
    merged = _disjoint(named)
    covered: dict[int, str] = {}
    for start, end, path in merged:
        assert start < end
        for at in range(start, end):
            assert at not in covered
            covered[at] = path[0]
    for at in range(80):
        first = next(
            (str(rank) for rank, ranges in enumerate(ranked) if any(s <= at < s + n for s, n in ranges)), None
        )
        assert covered.get(at) == first
    parts = list(_labelled(merged, low, low + length))
    assert sum(size for _, size in parts) == length
    at = low
    for path, size in parts:
        assert all(covered.get(each, "unattributed") == path[0] for each in range(at, at + size))
        at += size
