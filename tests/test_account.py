"""The account by VMA: synthetic maps for what is hard to make, real processes in tests/live."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrss.account import Account, Line
from whyrss.errors import Missing
from whyrss.mappings import account_by_vma
from whyrss.read.buildinfo import Build
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Process, Snapshot, Status

MIB = 1 << 20
ARENA = 64 * MIB


def vma(start: int, size: int, perms: str = "rw-p", path: str = "", rss: int = 0, lazyfree: int = 0) -> bytes:
    """The text of one mapping; sizes in bytes."""
    return (
        f"{start:x}-{start + size:x} {perms} 00000000 00:00 0 {path}\n"
        f"Size:           {size >> 10:8} kB\nRss:            {rss >> 10:8} kB\n"
        f"LazyFree:       {lazyfree >> 10:8} kB\nVmFlags: rd \n"
    ).encode()


def account(*maps: bytes, go: str | None = "go1.24.4", stack_bytes: int = 8 * MIB) -> Account:
    sections: dict[str, object] = {
        "Vmas": parse_smaps(b"".join(maps)),
        "Process": Process(7, "prog", "/bin/prog", 1, "S", Missing("not read")),
        "Status": Status({}, {"Max stack size": (stack_bytes, None, "bytes")}),
    }
    if go is not None:
        build = Build("amd64", False)
        build.is_go, build.go_version = True, go
        sections["Build"] = build
    return account_by_vma(Snapshot("2026-01-01T00:00:00Z", "7", "cat /proc/7/{}", sections))


def check_sums(line: Line) -> None:
    if line.children:
        assert line.bytes == sum(child.bytes for child in line.children)
    names = [child.name for child in line.children]
    assert len(names) == len(set(names))
    for child in line.children:
        check_sums(child)


HEAP_115 = vma(0xC000000000, ARENA, rss=10 * MIB, lazyfree=4 * MIB)
HEAP_117 = vma(0xC000000000, 12 * MIB, rss=10 * MIB) + vma(0xC000C00000, ARENA - 12 * MIB, "---p")
HEAP_126 = (
    vma(0x3A84E0000000, 60 * MIB, "---p") + vma(0x3A84E3C00000, 4 * MIB, rss=3 * MIB)
)  # fmt: skip


@pytest.mark.parametrize(
    ("heap", "rss", "lazyfree"),
    [(HEAP_115, 10 * MIB, 4 * MIB), (HEAP_117, 10 * MIB, 0), (HEAP_126, 3 * MIB, 0)],
    ids=["whole arena", "4 MiB steps", "random base"],
)
def test_go_arenas_by_their_shape(heap: bytes, rss: int, lazyfree: int) -> None:
    root = account(heap).root
    assert root.bytes_of("heap") == rss == root.bytes
    assert root.bytes_of("heap/released/lazyfree") == lazyfree
    assert root.bytes_of("heap/undivided") == rss - lazyfree
    check_sums(root)


def test_heap_split_by_huge_page_advice_is_still_the_heap() -> None:
    split = vma(0xC000000000, 2 * MIB, rss=MIB) + vma(0xC000200000, 62 * MIB, rss=2 * MIB)
    assert account(split).root.bytes_of("heap") == 3 * MIB


def test_glibc_arena_is_c_not_heap() -> None:
    low = 0x7F0000000000
    glibc = vma(low, 0x21000, rss=0x21000) + vma(low + 0x21000, ARENA - 0x21000, "---p")
    for go in ("go1.24.4", None):
        root = account(glibc, go=go).root
        assert root.bytes_of("c/arenas") == 0x21000
    # The same shape where Go puts its heap is no heap either: its steps are too small.
    moved = vma(0xC000000000, 0x21000, rss=0x21000) + vma(0xC000021000, ARENA - 0x21000, "---p")
    assert account(moved).root.bytes_of("heap") == 0


def test_names_of_go_125() -> None:
    maps = (
        vma(0xC000000000, 4 * MIB, path="[anon: Go: heap]", rss=2 * MIB),
        vma(0xC000400000, 60 * MIB, "---p", path="[anon: Go: heap reservation]"),
        vma(0x7F0000000000, MIB, path="[anon: Go: gc bits]", rss=0x4000),
        vma(0x7F0000200000, MIB, path="[anon: Go: OS thread stack]", rss=0x2000),
    )
    root = account(*maps, go="go1.27.3").root
    assert root.bytes_of("heap") == 2 * MIB
    assert root.bytes_of("runtime/gc bits") == 0x4000
    assert root.bytes_of("threads") == 0x2000


def test_program_libraries_and_files() -> None:
    maps = (
        vma(0x400000, MIB, "r-xp", "/bin/prog", rss=0x10000),
        vma(0x500000, MIB, "r--p", "/bin/prog", rss=0x8000),
        vma(0x600000, 0x10000, "rw-p", "/bin/prog", rss=0x4000),
        vma(0x610000, 0x30000, "rw-p", "", rss=0x3000),
        vma(0x700000, 0x10000, "rw-p", "[heap]", rss=0x5000),
        vma(0x7F0000000000, MIB, "r-xp", "/lib/libc.so.6", rss=0x6000),
        vma(0x7F0000100000, 0x2000, "rw-p", "/lib/libc.so.6", rss=0x2000),
        vma(0x7F0000102000, 0x3000, "rw-p", "", rss=0x3000),
        vma(0x7F0000300000, MIB, "r--s", "/var/data.db", rss=0x7000),
        vma(0x7F0000400000, MIB, "rw-s", "/dev/shm/x", rss=0x9000),
        vma(0x7F0000500000, MIB, "rw-s", "/memfd:wl (deleted)", rss=0x1000),
        vma(0x7F0000600000, 0x1000, "r-xp", "[vdso]", rss=0x1000),
        vma(0x7FFC00000000, 0x21000, "rw-p", "[stack]", rss=0x2000),
    )
    root = account(*maps).root
    expected = {
        "image/program/text": 0x10000,
        "image/program/rodata": 0x8000,
        "image/program/data": 0x4000,
        "image/program/bss": 0x3000,
        "image/vdso": 0x1000,
        "c/brk": 0x5000,
        "threads": 0x2000,
        "unattributed": 0,
    }
    assert {path: root.bytes_of(path) for path in expected} == expected
    libraries = root.find("image/libraries")
    assert libraries is not None
    assert {child.name: child.bytes for child in libraries.children} == {"/lib/libc.so.6": 0x6000 + 0x2000 + 0x3000}
    files, shared = root.find("files"), root.find("shared")
    assert files is not None and shared is not None
    assert {child.name: child.bytes for child in files.children} == {"/var/data.db": 0x7000}
    assert shared.bytes == 0xA000
    check_sums(root)


def test_thread_stacks_by_their_guard() -> None:
    low = 0x7F0000000000
    stack = vma(low, 0x1000, "---p") + vma(low + 0x1000, 8 * MIB, rss=0x5000)
    assert account(stack, go=None).root.bytes_of("threads") == 0x5000
    assert account(stack, go=None, stack_bytes=4 * MIB).root.bytes_of("threads") == 0


def test_guess_is_bounded_by_what_the_runtime_can_need() -> None:
    """16 arenas of 64 MiB allow 64 MiB of metadata and the base of 4 MiB; a 200 MiB mapping is none of it."""
    heap = b"".join(vma(0xC000000000 + at * ARENA, ARENA, rss=ARENA) for at in range(16))
    small = vma(0x7F0000000000, 40 * MIB, rss=30 * MIB)
    large = vma(0x7F1000000000, 200 * MIB, rss=200 * MIB)
    root = account(heap, small, large).root
    assert root.bytes_of("runtime/guessed") == 30 * MIB
    assert root.bytes_of("unattributed") == 200 * MIB
    assert account(heap, small, large, go=None).root.bytes_of("c") == 1024 * MIB + 230 * MIB


def test_lines_that_are_always_there() -> None:
    names = [line.name for line in account(vma(0x400000, 0x1000, rss=0x1000)).root.children]
    assert names == ["heap", "runtime", "image", "c", "threads", "files", "shared", "unattributed"]
    names = [line.name for line in account(vma(0x400000, 0x1000, rss=0x1000), go=None).root.children]
    assert names == ["image", "c", "threads", "files", "shared", "unattributed"]


PATHS = ["", "[heap]", "[stack]", "/bin/prog", "/lib/x.so", "/memfd:a", "[anon: Go: heap]", "[odd]", "//enon"]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 1 << 35), st.integers(1, 1 << 16),
            st.sampled_from(["rw-p", "r-xp", "---p", "rw-s", "r--p"]),
            st.sampled_from(PATHS), st.integers(0, 1 << 16), st.integers(0, 1 << 16),
        ),
        min_size=1,
    ),
    st.booleans(),
)  # fmt: skip
def test_every_byte_is_in_exactly_one_line(rows: list[tuple[int, int, str, str, int, int]], go: bool) -> None:
    """Whatever the map, touching, overlapping and lying: the root is the sum of Rss."""
    maps = [
        vma(page << 12, size << 12, perms, path, rss << 10, lazy << 10) for page, size, perms, path, rss, lazy in rows
    ]
    root = account(*maps, go="go1.15" if go else None).root
    check_sums(root)
    assert root.bytes == sum(rss for *_, rss, _ in rows) << 10


def test_a_line_is_a_sum_or_a_figure() -> None:
    line = Line("rss")
    line.add(("a",), 5)
    line.add(("a", "b"), 7)
    line.add(("a",), 1)
    assert line.bytes == 13 and line.bytes_of("a/other") == 6 and line.bytes_of("a/b") == 7
    check_sums(line)
