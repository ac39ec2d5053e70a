"""Labels of what is not Go's: in real processes, where what they took is known, and in made ones for the rest."""

from __future__ import annotations

import contextlib
import os
import platform
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import support
from tests.sources.test_pages import smaps, state, state_at_rest
from whyrss.errors import Missing
from whyrss.lab import toolchain
from whyrss.read.smaps import Vmas, parse_smaps
from whyrss.sources.outside import labels, nothing_read
from whyrss.sources.pages import read_pages
from whyrss.sources.threads import parse_syscall, stack_pointers

KIB, MIB, PAGE = 1 << 10, 1 << 20, 4096
ARENA = 64 * MIB
MAPPED_BY_KERNEL = 1 << 46  # Go's heap lies below
Read = Callable[[int, int], bytes]
Range = tuple[int, int]
Label = tuple[int, int, tuple[str, ...]]

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc of Linux")
glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc" or platform.machine() != "x86_64", reason="needs glibc on x86_64"
)


@contextlib.contextmanager
def memory_of(pid: int) -> Iterator[Read]:
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY)

    def read(address: int, size_bytes: int) -> bytes:
        try:
            return os.pread(fd, size_bytes, address)
        except OSError as error:
            raise Missing(str(error)) from None

    try:
        yield read
    finally:
        os.close(fd)


def unclaimed(pid: int, vmas: Vmas) -> list[Range]:
    """Resident anonymous pages that are not the Go heap's, and those of the kernel's image."""
    pages = read_pages(pid, vmas, PAGE)
    found = []
    for vma in vmas:
        if vma.path[:1] in ("", "[") and (vma.path or vma.start >= MAPPED_BY_KERNEL or vma.start < 0xC000000000):
            found += [(low, high) for low, high, _ in pages.within(vma.start, vma.end)]
    return found


def look(pid: int, *, readable: bool = True, is_go: bool = True) -> tuple[Counter[str], int, list[Label]]:
    """KiB by line, KiB left, and the labels."""
    vmas = smaps(pid)
    ranges = unclaimed(pid, vmas)
    exe = os.readlink(f"/proc/{pid}/exe")
    with memory_of(pid) as read:
        told = {"points": stack_pointers(pid), "exe": exe, "is_go": is_go, "proc": f"/proc/{pid}"}
        found = labels(vmas, ranges, read if readable else nothing_read, PAGE, **told)  # type: ignore[arg-type]
    check(found, ranges)
    sizes: Counter[str] = Counter()
    for start, end, path in found:
        sizes["/".join(path)] += (end - start) // KIB
    return sizes, sum(high - low for low, high in ranges) // KIB - sizes.total(), found


def check(found: Sequence[Label], ranges: Sequence[Range]) -> None:
    """Labels are ascending, disjoint parts of the ranges."""
    before = 0
    for start, end, _ in found:
        assert before <= start < end
        assert any(low <= start and end <= high for low, high in ranges)
        before = end


# Real processes


def outside_program(version: str) -> Path:
    source = Path(__file__).parent / "programs" / "outside.go"
    return toolchain.build(toolchain.find(version), source, env={"CGO_ENABLED": "1"})


@glibc
@pytest.mark.parametrize("version", ["1.15", "1.21", "1.24", "1.27"])
def test_a_go_program_with_c(version: str) -> None:
    with support.running([outside_program(version)]) as running:
        sizes, left, found = look(running.pid)
        vmas = smaps(running.pid)
        libraries = {vma.path for vma in vmas if "x" in vma.perms and vma.path[:1] == "/"}
    # A chunk of 900 bytes takes 912; the rest are the arenas' headers and the chunk at the end of what is touched.
    blocks_kib = 5 * 8000 * 912 // KIB
    assert blocks_kib <= sizes["c/arenas"] <= blocks_kib + 5 * 32
    # With its header a chunk of 3 MiB and 2 bytes touches 769 pages. An aligned one touches two pages more than it
    # holds: its own header lies before it, and the header of the mapping at the beginning.
    assert sizes["c/mmapped"] == 10 * 769 * 4 + 3 * 258 * 4
    stacks = [start for start, end, path in found if path == ("threads",)]
    assert len(stacks) >= 5 + 1  # and [stack]
    dropped = sum(vma.get_bytes("Rss") for vma in vmas if vma.has_flag("dp"))
    assert sizes["runtime/getrandom states"] == dropped // KIB
    assert sizes["image/program/bss"] > 0
    assert {name.split("/", 2)[2] for name in sizes if name.startswith("image/libraries")} <= {
        f"{path}/{part}" for path in libraries for part in ("bss", "data")
    }
    # What is left is the runtime's own memory, and nothing of C.
    assert left < 512
    assert sizes["c/other"] == 0


@glibc
def test_by_shape_alone_fewer_labels() -> None:
    with support.running([outside_program("1.24")]) as running:
        told, left, _ = look(running.pid)
        sizes, more_left, _ = look(running.pid, readable=False)
    assert abs(sizes["c/arenas"] - told["c/arenas"]) <= 32  # pages that its threads touch meanwhile
    assert sizes["c/mmapped"] == 0
    assert sizes["c/other"] + more_left - left >= told["c/mmapped"] * 9 // 10
    assert 0 < sizes["threads"] <= told["threads"]


@linux
def test_a_go_program_without_c_has_none() -> None:
    with support.running([support.go_program("1.24"), "16"]) as running:
        sizes, left, _ = look(running.pid)
    assert not {name for name in sizes if name.startswith("c/") and name != "c/brk"}
    assert sizes["image/program/bss"] > 0
    assert left > 0  # the runtime's own memory, which the caller knows


@glibc
def test_etcd() -> None:
    with support.etcd() as etcd:
        sizes, _, _ = look(etcd.pid)
    assert sizes["threads"] > 0
    assert sizes["c/brk"] > 0


PYTHON = """
import ctypes, mmap, threading, sys
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
ready = threading.Barrier(5)
def take():
    for _ in range(2000):
        block = libc.malloc(ctypes.c_size_t(1000))
        ctypes.memset(block, 1, 1000)
    ready.wait()
    threading.Event().wait()
for _ in range(4):
    threading.Thread(target=take, daemon=True).start()
threading.stack_size(512 << 10)
threading.Thread(target=threading.Event().wait, daemon=True).start()
own = mmap.mmap(-1, 5 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
own[:] = bytes(5 << 20)
ready.wait()
print("READY {}", flush=True)
sys.stdin.read()
"""


@glibc
def test_a_program_without_go_has_nothing_left() -> None:
    with support.running([sys.executable, "-c", PYTHON]) as running:
        sizes, left, found = look(running.pid, is_go=False)
        vmas = smaps(running.pid)
    assert left == 0
    assert 4 * 2000 * 1008 // KIB <= sizes["c/arenas"] <= 4 * 2000 * 1008 // KIB + 4 * 512
    assert sizes["c/other"] >= 5 * KIB
    inside = {
        vma.start for vma in vmas for start, _, path in found if vma.start <= start < vma.end and path[0] == "threads"
    }
    stacks = [vma for vma in vmas if vma.size_bytes in (8 * MIB, 512 * KIB) and vma.start in inside]
    assert len(stacks) >= 5


@linux
def test_looking_changes_nothing() -> None:
    with support.running([sys.executable, "-c", PYTHON]) as running:
        before = state_at_rest(running.pid)
        for _ in range(3):
            look(running.pid, is_go=False)
        assert state(running.pid) == before


@linux
def test_a_process_that_has_ended() -> None:
    with support.running([sys.executable, "-c", PYTHON]) as running:
        vmas = smaps(running.pid)
        ranges = unclaimed(running.pid, vmas)
        with memory_of(running.pid) as read:
            running.process.kill()
            running.process.wait()
            check(labels(vmas, ranges, read, PAGE, proc=f"/proc/{running.pid}", exe="/gone"), ranges)
    assert stack_pointers(running.pid) == []


@linux
def test_stack_pointers_lie_in_stacks() -> None:
    with support.running([sys.executable, "-c", PYTHON]) as running:
        deadline = time.monotonic() + support.HUNG_SECONDS
        found = stack_pointers(running.pid)
        while len(found) < 6 and time.monotonic() < deadline:  # a running thread shows none
            time.sleep(0.05)
            found = stack_pointers(running.pid)
        vmas = smaps(running.pid)
    assert len(found) == 6
    assert sum(vma.path == "[stack]" and vma.start <= point < vma.end for point in found for vma in vmas) == 1


@pytest.mark.parametrize(
    ("line", "pointer"),
    [
        (b"0 0x3 0x7f0 0x0 0x0 0x0 0x0 0x7ffe10 0x7f20\n", 0x7FFE10),
        (b"-1 0x7ffe10 0x7f20\n", 0x7FFE10),
        (b"running\n", None),
        (b"", None),
        (b"1 z c", None),
    ],
)
def test_a_line_of_syscall(line: bytes, pointer: int | None) -> None:
    assert parse_syscall(line) == pointer


# Made processes


def vma(start: int, size: int, perms: str = "rw-p", path: str = "", flags: str = "rd wr") -> bytes:
    return (
        f"{start:x}-{start + size:x} {perms} 00000000 00:00 0 {path}\n"
        f"Rss:            {size >> 10:8} kB\nVmFlags: {flags} \n"
    ).encode()


class Image:
    """Memory that is zero but for some words; counts what is read."""

    def __init__(self, words: dict[int, int]) -> None:
        self._words = words
        self.read_bytes = 0

    def read(self, address: int, size_bytes: int) -> bytes:
        self.read_bytes += size_bytes
        data = bytearray(size_bytes)
        for at, word in self._words.items():
            if address <= at <= address + size_bytes - 8:
                struct.pack_into("<Q", data, at - address, word)
        return bytes(data)


BASE = 0x7F0000000000
LIBRARY = vma(BASE - 3 * MIB, MIB, "r-xp", "/lib/ld-linux-x86-64.so.2")
ANYWHERE = 0x7F1000000000


def told(
    maps: bytes, words: dict[int, int] | None = None, ranges: list[Range] | None = None, **more: object
) -> list[Label]:
    vmas = parse_smaps(maps)
    whole = [(each.start, each.end) for each in vmas if each.perms[0] == "r" and each.path[:1] != "/"]
    ranges = whole if ranges is None else ranges
    found = labels(vmas, ranges, Image(words).read if words is not None else nothing_read, **more)  # type: ignore[arg-type]
    check(found, ranges)
    return found


@pytest.mark.parametrize(
    ("path", "flags", "is_go", "line"),
    [
        ("[heap]", "rd wr", True, "c/brk"),
        ("[stack]", "rd wr", True, "threads"),
        ("[vdso]", "rd ex", True, "image/vdso"),
        ("", "rd wr dp", True, "runtime/getrandom states"),
        ("", "rd wr dp", False, "c/getrandom states"),
        ("[anon: Go: profiler hash buckets]", "rd wr", True, "runtime/profiler hash buckets"),
        ("[anon: Go: OS thread stack]", "rd wr", True, "threads"),
        ("[anon: Go: heap]", "rd wr", True, None),
        ("[anon: glibc: malloc arena]", "rd wr", True, "c/arenas"),
        ("[anon: glibc: malloc]", "rd wr", True, "c/mmapped"),
        ("[anon: glibc: pthread stack: 12]", "rd wr", True, "threads"),
        ("[anon: glibc: loader malloc]", "rd wr", True, "c/glibc"),
        ("[anon:scudo]", "rd wr", True, "c/[anon:scudo]"),
        ("/dev/shm/x", "rd wr", False, None),
    ],
)
def test_names_and_marks(path: str, flags: str, is_go: bool, line: str | None) -> None:
    whole = [(ANYWHERE, ANYWHERE + 8 * KIB)]
    found = told(vma(ANYWHERE, 8 * KIB, path=path, flags=flags), {}, whole, is_go=is_go)
    assert found == ([(*whole[0], tuple(line.split("/", 1)))] if line else [])


def arena_header(base: int, size: int, previous: int = 0, own: int | None = None) -> dict[int, int]:
    words = (base + 48 if own is None else own, previous, size, size)
    return {base + 8 * number: word for number, word in enumerate(words)}


def test_an_arena_in_the_midst_of_a_mapping() -> None:
    base = ANYWHERE + ARENA
    found = told(vma(base - 2 * MIB, 5 * MIB), arena_header(base, MIB))
    assert found == [
        (base - 2 * MIB, base, ("c", "other")),
        (base, base + MIB, ("c", "arenas")),
        (base + MIB, base + 3 * MIB, ("c", "other")),
    ]


def test_the_second_heap_of_an_arena() -> None:
    first, second = ANYWHERE, ANYWHERE + 2 * ARENA
    header = arena_header(first, ARENA) | arena_header(second, MIB, previous=first, own=first + 48)
    maps = vma(first, ARENA) + vma(second, MIB)
    assert [path for _, _, path in told(maps, header)] == [("c", "arenas")] * 2


@pytest.mark.parametrize(
    "bad",
    [
        {},
        arena_header(ANYWHERE, MIB, own=ANYWHERE + PAGE),
        arena_header(ANYWHERE, MIB, own=ANYWHERE),
        arena_header(ANYWHERE, ARENA + PAGE),
        arena_header(ANYWHERE, 100),
        arena_header(ANYWHERE, MIB, previous=ANYWHERE + 8),
    ],
)
def test_what_is_no_arena(bad: dict[int, int]) -> None:
    assert ("c", "arenas") not in [path for _, _, path in told(vma(ANYWHERE, MIB), bad)]


def test_chunks_one_after_the_other_and_behind_other_memory() -> None:
    size = 132 * KIB
    starts = [ANYWHERE + 3 * PAGE, ANYWHERE + 3 * PAGE + size, ANYWHERE + 9 * PAGE + 2 * size]
    header = {start + 8: size | 2 for start in starts}
    found = told(vma(ANYWHERE, MIB), header)
    assert found == [(start, start + size, ("c", "mmapped")) for start in starts]


@pytest.mark.parametrize(
    ("before", "size"),
    [
        (0, 132 * KIB),
        (0, 132 * KIB | 3),
        (0, 132 * KIB | 6),
        (16, 132 * KIB | 2),
        (0, 64 * KIB | 2),
        (0, 2 * MIB | 2),
    ],
)
def test_what_is_no_chunk(before: int, size: int) -> None:
    assert told(vma(ANYWHERE, MIB), {ANYWHERE: before, ANYWHERE + 8: size}) == []


GUARD = vma(ANYWHERE - PAGE, PAGE, "---p")


def head(address: int) -> dict[int, int]:
    """A thread's control block."""
    return {address: address, address + 16: address}


def threads(found: list[Label]) -> list[Range]:
    return [(start, end) for start, end, path in found if path == ("threads",)]


def test_stacks_by_their_guard_and_their_size() -> None:
    stack = (ANYWHERE, ANYWHERE + 8 * MIB)
    assert threads(told(GUARD + vma(ANYWHERE, 8 * MIB), {})) == [stack]
    assert threads(told(GUARD + vma(ANYWHERE, MIB), {}, stack_bytes=MIB)) == [(ANYWHERE, ANYWHERE + MIB)]
    assert threads(told(vma(ANYWHERE, 8 * MIB), {})) == []
    assert threads(told(vma(ANYWHERE - MIB, MIB, "---p") + vma(ANYWHERE, 8 * MIB), {})) == []


def test_a_smaller_stack_needs_its_control_block_or_a_pointer() -> None:
    small = (ANYWHERE, ANYWHERE + MIB)
    maps = GUARD + vma(*small[:1], MIB)
    assert threads(told(maps, {})) == []
    assert threads(told(maps, head(ANYWHERE + MIB - 2304))) == [small]
    assert threads(told(maps, {}, points=[ANYWHERE + MIB - 100])) == [small]
    assert threads(told(maps)) == [small]  # where nothing may be read, the guard has to do


def test_stacks_in_a_mapping_that_the_kernel_merged() -> None:
    maps = GUARD + vma(ANYWHERE, 20 * MIB)
    tops = [ANYWHERE + 8 * MIB, ANYWHERE + 16 * MIB]
    words = head(tops[0] - 2304) | head(tops[1] - 2304)
    resident = [(top - 2 * PAGE, top) for top in tops] + [(ANYWHERE + 17 * MIB, ANYWHERE + 18 * MIB)]
    assert threads(told(maps, words, resident)) == resident[:2]
    point = tops[1] - 5000
    # Without a control block the stack is what lies up to 8 MiB below the end of the pointer's page.
    by_point = [(tops[0] - PAGE, tops[0]), (tops[1] - 2 * PAGE, tops[1] - PAGE)]
    assert threads(told(maps, {}, resident, points=[point])) == by_point


def test_the_main_threads_block_beside_a_library() -> None:
    words = head(BASE - 2 * MIB + 13 * PAGE + 64)
    merged = vma(BASE - 2 * MIB, 64 * PAGE)
    resident = [(BASE - 2 * MIB, BASE - 2 * MIB + PAGE), (BASE - 2 * MIB + 12 * PAGE, BASE - 2 * MIB + 14 * PAGE)]
    assert threads(told(LIBRARY + merged, words, resident)) == [resident[1]]
    assert threads(told(merged, words, resident)) == []


def test_what_the_loader_took_points_to_it() -> None:
    line = ("image", "libraries", "/lib/ld-linux-x86-64.so.2", "data")
    maps = LIBRARY + vma(BASE, 8 * KIB)
    assert told(maps, {BASE + 8: BASE - 3 * MIB + 77}) == [(BASE, BASE + 8 * KIB, line)]
    assert told(maps, {BASE + 8: BASE - 2 * MIB}) == []
    beside = LIBRARY + vma(BASE - 2 * MIB, 8 * KIB)
    assert told(beside) == [(BASE - 2 * MIB, BASE - 2 * MIB + 8 * KIB, line)]


def test_bss_of_a_file_that_cannot_be_read_is_what_lies_behind_its_data() -> None:
    maps = vma(BASE, MIB, "r-xp", "/lib/x.so") + vma(BASE + MIB, MIB, "rw-p", "/lib/x.so") + vma(BASE + 2 * MIB, MIB)
    line = ("image", "libraries", "/lib/x.so", "bss")
    assert told(maps, {}) == [(BASE + 2 * MIB, BASE + 3 * MIB, line)]
    assert told(maps, {}, exe="/lib/x.so") == [(BASE + 2 * MIB, BASE + 3 * MIB, ("image", "program", "bss"))]


def test_only_large_pieces_of_a_go_program_are_others() -> None:
    assert told(vma(ANYWHERE, MIB), {}) == []
    assert told(vma(ANYWHERE, 2 * MIB), {}) == [(ANYWHERE, ANYWHERE + 2 * MIB, ("c", "other"))]
    assert told(vma(ANYWHERE, MIB), {}, is_go=False) == [(ANYWHERE, ANYWHERE + MIB, ("c", "other"))]


def test_ranges_over_several_mappings_and_over_none() -> None:
    maps = vma(BASE, PAGE, path="[heap]") + vma(BASE + PAGE, PAGE, path="[stack]") + vma(BASE + 4 * PAGE, PAGE)
    found = told(maps, {}, [(BASE - PAGE, BASE + 8 * PAGE)], is_go=False)
    assert [(start - BASE, path[-1]) for start, _, path in found] == [
        (0, "brk"),
        (PAGE, "threads"),
        (4 * PAGE, "other"),
    ]


def test_what_is_read_is_bounded() -> None:
    image = Image({})
    vmas = parse_smaps(b"".join(vma(ANYWHERE + number * 128 * MIB, 64 * MIB) for number in range(40)))
    labels(vmas, [(each.start, each.end) for each in vmas], image.read)
    assert image.read_bytes <= 40 * 64 + (33 << 20)


WORDS = st.sampled_from([0, BASE, BASE + 48, 132 * KIB | 2, MIB, ARENA, (1 << 64) - 1, ANYWHERE, 2]) | st.integers(
    0, (1 << 64) - 1
)
PLACES = st.builds(
    lambda page, word: BASE + page * PAGE + word * 8,
    st.integers(0, 40),
    st.integers(0, 8) | st.sampled_from([224, 226]),
)


@settings(max_examples=200)
@given(
    st.dictionaries(PLACES, WORDS, max_size=20),
    st.lists(st.integers(0, 42), max_size=12, unique=True),
    st.lists(st.integers(BASE - PAGE, BASE + 44 * PAGE), max_size=3),
    st.sampled_from([PAGE, 8 * PAGE, 8 * MIB]),
)
def test_memory_that_lies(words: dict[int, int], cuts: list[int], points: list[int], stack_bytes: int) -> None:
    edges = [BASE + cut * PAGE for cut in sorted(cuts)]
    ranges = list(zip(edges[0::2], edges[1::2], strict=False))
    maps = vma(BASE - PAGE, PAGE, "---p") + vma(BASE, 16 * PAGE) + vma(BASE + 16 * PAGE, 24 * PAGE, "rw-p", "/f")
    maps += vma(BASE + 40 * PAGE, PAGE)
    told(maps, words, ranges, points=points, stack_bytes=stack_bytes)


def test_memory_that_cannot_be_read_gives_fewer_labels() -> None:
    def read(address: int, size_bytes: int) -> bytes:
        raise Missing("swapped out")

    vmas = parse_smaps(vma(BASE, 8 * MIB) + GUARD + vma(ANYWHERE, MIB))
    found = labels(vmas, [(BASE, BASE + 8 * MIB), (ANYWHERE, ANYWHERE + MIB)], read)
    assert found == [(BASE, BASE + 8 * MIB, ("c", "other"))]
