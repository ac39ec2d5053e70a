"""The resident pages of real processes, to the page what the kernel's own smaps counts for each mapping."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import support
from tests.live.measured import CAP_SYS_ADMIN, may
from tests.live.patterned import DIRTY, FREED, WRITTEN_AGAIN, pages_of
from tests.sources.mapped import MIB, mapped
from whyrss.errors import Missing
from whyrss.read.pagemap import ANON, FILE_OR_SHARED, HUGE, Pages
from whyrss.read.smaps import Vma, Vmas, parse_smaps
from whyrss.sources import pages as source
from whyrss.sources.pages import lazy, read_pages

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc of Linux")
root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to drop rights")

PAGE = mmap.PAGESIZE
GO_VERSIONS = ("1.15", "1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27")
Ioctl = Callable[[int, int, "array[int]", bool], int]


def failing(number: int) -> Ioctl:
    def ioctl(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return ioctl


METHODS = pytest.mark.parametrize("ioctl", [fcntl.ioctl, failing(errno.ENOTTY)], ids=["scan", "entries"])


def smaps(pid: int) -> Vmas:
    return parse_smaps(Path(f"/proc/{pid}/smaps").read_bytes())


def figures(vmas: Vmas) -> list[tuple[int, int, int, int, int]]:
    fields = ("Rss", "Anonymous", "AnonHugePages")
    return [(vma.start, vma.end, *(vma.get_bytes(name) for name in fields)) for vma in vmas]  # type: ignore[misc]


def quiet(pid: int, ioctl: Ioctl, tries: int = 50) -> tuple[Vmas, Pages]:
    """smaps and the pages of a moment in which smaps did not change."""
    for _ in range(tries):
        before = smaps(pid)
        pages = read_pages(pid, before, PAGE, ioctl=ioctl)
        if figures(before) == figures(smaps(pid)):
            return before, pages
    raise AssertionError("the process does not come to rest")


def size_bytes(pages: Pages, vma: Vma, flags: int = 0) -> int:
    """The pages of a mapping that have all of these flags."""
    return sum(end - start for start, end, have in pages.within(vma.start, vma.end) if have & flags == flags)


def check_against_smaps(vmas: Vmas, pages: Pages, huge: bool = True) -> None:
    assert vmas.total_bytes("Rss") > 0
    for vma in vmas:
        told = [size_bytes(pages, vma), size_bytes(pages, vma, ANON)]
        assert told == [vma.get_bytes("Rss"), vma.get_bytes("Anonymous")], hex(vma.start)
        if huge:
            assert size_bytes(pages, vma, ANON | HUGE) == vma.get_bytes("AnonHugePages"), hex(vma.start)
    assert pages.resident_bytes == vmas.total_bytes("Rss")
    before = 0
    for start, end, flags in pages:
        assert before <= start < end
        assert start % PAGE == end % PAGE == 0
        assert flags & (ANON | FILE_OR_SHARED) in (ANON, FILE_OR_SHARED)
        before = end
    assert pages.excess == []
    assert pages.swapped_bytes == vmas.total_bytes("Swap")


def numbers(pages: Pages, start: int, size: int, flags: int) -> list[int]:
    """The numbers of a mapping's pages with these flags."""
    found: list[int] = []
    for low, high, have in pages.within(start, start + size):
        if have & flags == flags:
            found += range((low - start) // PAGE, (high - start) // PAGE)
    return found


@METHODS
@pytest.mark.parametrize("version", GO_VERSIONS)
def test_a_go_program(version: str, ioctl: Ioctl) -> None:
    with support.running([support.go_program(version), "64"]) as running:
        vmas, pages = quiet(running.pid, ioctl)
        check_against_smaps(vmas, pages)


def test_etcd() -> None:
    with support.etcd() as etcd:
        etcd.load(4, MIB, 2, 10)
        check_against_smaps(*quiet(etcd.pid, fcntl.ioctl))


@METHODS
@pytest.mark.parametrize("kinds", [("lock",), ("fork",)], ids="".join)
def test_every_kind_of_page(kinds: tuple[str, ...], ioctl: Ioctl) -> None:
    with mapped(*kinds) as running:
        vmas, pages = quiet(running.pid, ioctl)
        check_against_smaps(vmas, pages)
        at = running.ready
    assert numbers(pages, at["zero"], 4 * MIB, 0) == list(range(3, 4 * MIB // PAGE, 4))
    assert numbers(pages, at["fragmented"], 64 * MIB, ANON) == list(range(0, 64 * MIB // PAGE, 2))
    assert numbers(pages, at["shared"], 4 * MIB, FILE_OR_SHARED) == list(range(3 * MIB // PAGE))
    assert numbers(pages, at["memfd"], 4 * MIB, FILE_OR_SHARED) == list(range(MIB // PAGE))
    assert numbers(pages, at["copied"], 4 * MIB, ANON) == list(range(0, 4 * MIB // PAGE, 3))
    assert len(numbers(pages, at["copied"], 4 * MIB, 0)) == 4 * MIB // PAGE
    assert len(numbers(pages, at["locked"], MIB, ANON)) == (MIB // PAGE if "lock" in kinds else 1)
    assert len(list(pages.within(at["striped"], at["striped"] + 8 * MIB))) == 8 * MIB // PAGE


@METHODS
def test_a_huge_page_and_the_huge_zero_page(ioctl: Ioctl) -> None:
    with mapped() as running:
        vmas, pages = quiet(running.pid, ioctl)
        if not vmas.total_bytes("AnonHugePages"):
            pytest.skip("this kernel gave no huge pages")
        start = -(-running.ready["huge"] // (2 * MIB)) * 2 * MIB
        assert list(pages.within(start, start + 4 * MIB)) == [(start + 2 * MIB, start + 4 * MIB, ANON | HUGE)]


@pytest.mark.parametrize("number", [errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EFAULT, errno.EPERM])
def test_a_kernel_without_the_call_is_read_by_pagemap(number: int) -> None:
    with mapped() as running:
        vmas, pages = quiet(running.pid, failing(number))
    assert pages.method == "pagemap"
    check_against_smaps(vmas, pages)


def test_the_method_is_told() -> None:
    with mapped() as running:
        vmas, pages = quiet(running.pid, fcntl.ioctl)
        if pages.method != "PAGEMAP_SCAN":
            pytest.skip("needs Linux 6.7")
        assert list(pages) == list(read_pages(running.pid, vmas, PAGE, ioctl=failing(errno.ENOTTY)))


def test_another_error_is_missing_with_words() -> None:
    with pytest.raises(Missing, match="pagemap: input/output error"):
        read_pages(os.getpid(), smaps(os.getpid()), PAGE, ioctl=failing(errno.EIO))


def test_a_call_that_does_not_advance_is_given_up() -> None:
    pages = read_pages(os.getpid(), smaps(os.getpid()), PAGE, ioctl=lambda *_: 0)
    assert pages.method == "pagemap"


def test_an_interrupted_call_is_made_again() -> None:
    calls = []

    def ioctl(fd: int, request: int, argument: array[int], mutate: bool) -> int:
        calls.append(argument[2])
        if len(calls) == 1:
            raise InterruptedError
        return int(fcntl.ioctl(fd, request, argument, mutate))

    with mapped() as running:
        check_against_smaps(*quiet(running.pid, ioctl))
    assert calls[0] == calls[1]


def test_no_process_is_missing_with_words() -> None:
    with mapped() as running:
        vmas = smaps(running.pid)
    with pytest.raises(Missing, match=f"/proc/{running.pid}/pagemap: no such file"):
        read_pages(running.pid, vmas, PAGE)
    with pytest.raises(Missing, match=f"/proc/{running.pid}/pagemap"):
        source._lazy_by_frames(running.pid, [(vmas.list[0].start, vmas.list[0].end)], PAGE, "/proc")


def test_a_process_that_ends_in_the_middle() -> None:
    with mapped() as running:
        vmas, whole = quiet(running.pid, fcntl.ioctl)
        calls = []

        def ioctl(fd: int, request: int, argument: array[int], mutate: bool) -> int:
            calls.append(argument[2])
            if len(calls) == 5:
                running.process.kill()
                running.process.wait()
            return int(fcntl.ioctl(fd, request, argument, mutate))

        try:
            found = list(read_pages(running.pid, vmas, PAGE, ioctl=ioctl))
        except Missing as missing:
            assert "pagemap" in missing.reason
        else:
            assert len(found) < len(whole)
            assert set(found) <= set(whole)


def test_a_process_that_ends_while_its_pagemap_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    with mapped() as running:
        vmas, whole = quiet(running.pid, failing(errno.ENOTTY))
        read, calls = os.pread, []

        def pread(fd: int, size: int, at: int) -> bytes:
            calls.append(at)
            if len(calls) == 5:
                running.process.kill()
                running.process.wait()
            return read(fd, size, at)

        monkeypatch.setattr(os, "pread", pread)
        found = list(read_pages(running.pid, vmas, PAGE, ioctl=failing(errno.ENOTTY)))
    assert 0 < len(found) < len(whole)


@METHODS
def test_a_mapping_that_vanishes_has_no_pages(ioctl: Ioctl) -> None:
    with mapped() as running:
        vmas = smaps(running.pid)
        running.ask("unmap")
        pages = read_pages(running.pid, vmas, PAGE, ioctl=ioctl)
        assert list(pages.within(running.ready["fragmented"], running.ready["fragmented"] + 64 * MIB)) == []
        assert numbers(pages, running.ready["zero"], 4 * MIB, ANON) == list(range(3, 4 * MIB // PAGE, 4))


def test_a_mapping_too_large_for_pagemap_is_refused() -> None:
    text = Path("/proc/self/smaps").read_bytes().split(b"VmFlags")[0]
    rest = text.split(b"\n", 1)[1]
    vast = parse_smaps(b"10000-%x rw-p 00000000 00:00 0 \n" % (2 << 40) + rest + b"VmFlags: rd \n")
    with pytest.raises(Missing, match="larger than 1 TiB"):
        read_pages(os.getpid(), vast, PAGE, ioctl=failing(errno.ENOTTY))


@pytest.fixture
def without_frame_flags(tmp_path: Path) -> Callable[[int], str]:
    """A /proc that shows a process, but no kpageflags."""

    def proc(pid: int) -> str:
        (tmp_path / str(pid)).symlink_to(f"/proc/{pid}")
        return str(tmp_path)

    return proc


def test_zero_pages_that_cannot_be_told_are_stated(without_frame_flags: Callable[[int], str]) -> None:
    with mapped("fork") as running:
        vmas = smaps(running.pid)
        proc = without_frame_flags(running.pid)
        pages = read_pages(running.pid, vmas, PAGE, proc=proc, ioctl=failing(errno.ENOTTY))
        zero = next(vma for vma in vmas if vma.start <= running.ready["zero"] < vma.end)
    assert "kpageflags" in pages.reasons["zero pages"]
    stated = next(excess for excess in pages.excess if excess[0] == zero.start)
    assert stated == (zero.start, zero.end, size_bytes(pages, zero) - zero.get_bytes("Rss"))
    assert pages.resident_bytes == vmas.total_bytes("Rss")


def test_without_a_child_zero_pages_need_no_right(without_frame_flags: Callable[[int], str]) -> None:
    with mapped() as running:
        vmas = smaps(running.pid)
        proc = without_frame_flags(running.pid)
        check_against_smaps(vmas, read_pages(running.pid, vmas, PAGE, proc=proc, ioctl=failing(errno.ENOTTY)))


AS_NOBODY = """
import errno, mmap, sys
from whyrss.read.smaps import parse_smaps
from whyrss.sources import pages
from whyrss.errors import Missing
pid = sys.argv[1]
try:
    pages.read_pages(int(pid), parse_smaps(open(sys.argv[2], "rb").read()), mmap.PAGESIZE)
except Missing as missing:
    print(missing.reason)
memory = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, 4 << 20, mmap.PAGESIZE):
    if at % (2 * mmap.PAGESIZE):
        memory[at]
    else:
        memory[at] = 1
def no(*_):
    raise OSError(errno.ENOTTY, "")
vmas = parse_smaps(open("/proc/self/smaps", "rb").read())
vmas.list = [vma for vma in vmas if vma.size_bytes >= 4 << 20 and not vma.path and vma.get_bytes("Rss") == 2 << 20]
import os
for extra in {}, {"ioctl": no}:
    found = pages.read_pages(os.getpid(), vmas, mmap.PAGESIZE, **extra)
    print(len(vmas), found.resident_bytes, len(found), len(found.excess))
"""


@root
def test_without_rights(tmp_path: Path) -> None:
    """Of another user's process nothing is told, and why; of its own, all without any capability."""
    with mapped() as running:
        kept = tmp_path / "smaps"
        kept.write_bytes(Path(f"/proc/{running.pid}/smaps").read_bytes())
        for folder in (kept, tmp_path, *tmp_path.parents[:3]):
            folder.chmod(0o755)
        setpriv = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        argv = [*setpriv, sys.executable, "-c", AS_NOBODY, str(running.pid), str(kept)]
        environ = os.environ | {"PYTHONPATH": str(Path(source.__file__).parents[2])}
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert lines[0] == f"/proc/{running.pid}/pagemap: permission denied; needs CAP_SYS_PTRACE", done.stderr
    assert lines[1:] == [f"1 {2 * MIB} {2 * MIB // PAGE} 0"] * 2


PATTERN = (FREED * 3 + DIRTY + WRITTEN_AGAIN + DIRTY) * 60


def test_lazily_freed_pages() -> None:
    if not may(CAP_SYS_ADMIN):
        pytest.skip("needs CAP_SYS_ADMIN, which shows page frame numbers: run as root")
    with pages_of(PATTERN) as running:
        start, size = running.ready["start"], len(PATTERN) * PAGE
        vmas = smaps(running.pid)
        found = lazy(running.pid, [(start, start + size)], vmas, PAGE)
        half = lazy(running.pid, [(start + PAGE, start + 2 * PAGE), (start + 3 * PAGE, start + 9 * PAGE)], vmas, PAGE)
    hit = {number for low, high in found for number in range((low - start) // PAGE, (high - start) // PAGE)}
    freed = {number for number, letter in enumerate(PATTERN) if letter == FREED}
    again = {number for number, letter in enumerate(PATTERN) if letter == WRITTEN_AGAIN}
    assert freed <= hit <= freed | again
    assert [low for low, _ in half] == [start + PAGE, *([start + 4 * PAGE] if 4 in hit else []), start + 6 * PAGE]


def test_frames_are_not_looked_at_where_smaps_answers(without_frame_flags: Callable[[int], str]) -> None:
    with pages_of(FREED * 64) as running, mapped() as other:
        vmas = smaps(running.pid)
        vma = next(vma for vma in vmas if vma.start <= running.ready["start"] < vma.end)
        assert vma.get_bytes("LazyFree") == vma.get_bytes("Rss") == 64 * PAGE
        proc = without_frame_flags(running.pid)
        low, high = vma.start + PAGE, vma.end - PAGE
        assert lazy(running.pid, [(low, high)], vmas, PAGE, proc=proc) == [(low, high)]
        start = other.ready["fragmented"]
        assert lazy(other.pid, [(start, start + MIB)], smaps(other.pid), PAGE, proc="/nowhere") == []


def test_without_frames_lazily_freed_pages_are_missing(without_frame_flags: Callable[[int], str]) -> None:
    dirty = 31 * (os.cpu_count() or 1) + 1  # one more than could be freed lazily and not be marked yet
    with pages_of(FREED * 8 + DIRTY * dirty) as running:
        start = running.ready["start"]
        with pytest.raises(Missing, match="CAP_SYS_ADMIN"):
            proc = without_frame_flags(running.pid)
            lazy(running.pid, [(start, start + (8 + dirty) * PAGE)], smaps(running.pid), PAGE, proc=proc)


def faults(pid: int) -> list[str]:
    """minflt, cminflt, majflt, cmajflt: fields 10 to 13 of stat."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[7:11]


def state_at_rest(pid: int) -> object:
    """The mappings' figures, LazyFree and fault counters of a process, once they stand still."""
    deadline = time.monotonic() + support.HUNG_SECONDS
    before, now = None, state(pid)
    while now != before:
        assert time.monotonic() < deadline, "the process does not come to rest"
        time.sleep(0.2)
        before, now = now, state(pid)
    return now


def state(pid: int) -> object:
    vmas = smaps(pid)
    return figures(vmas), [vma.get_bytes("LazyFree") for vma in vmas], faults(pid)


@METHODS
def test_looking_changes_nothing(ioctl: Ioctl) -> None:
    with mapped() as running:
        before = state_at_rest(running.pid)
        vmas = smaps(running.pid)
        for _ in range(3):
            pages = read_pages(running.pid, vmas, PAGE, ioctl=ioctl)
            if may(CAP_SYS_ADMIN):
                ranges = [(low, high) for low, high, flags in pages if flags & ANON]
                source._lazy_by_frames(running.pid, ranges[:500], PAGE, "/proc")
        assert state(running.pid) == before


def test_marked_positions_become_ranges() -> None:
    def ranges(marks: str) -> Iterator[tuple[int, int]]:
        return source.marked([mark == "x" for mark in marks])

    assert list(ranges("xx..x.xxx")) == [(0, 2), (4, 5), (6, 9)]
    assert list(ranges("")) == list(ranges("...")) == []
