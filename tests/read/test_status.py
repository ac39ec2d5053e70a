"""The small texts of /proc, as the kernel prints them and as nobody should."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrss.errors import FormatError
from whyrss.read import status

STATUS = b"Name:\tetcd\nUmask:\t0022\nState:\tS (sleeping)\nPid:\t42\nVmRSS:\t    1700 kB\nThreads:\t7\nGroups:\t \n"
STAT = b"(etcd) S 1 42 42 0 -1 4194560 100 0 0 0 5 6 0 0 20 0 7 0 8412 2183168 425 18446744073709551615\n"
LIMITS = (
    b"Limit                     Soft Limit           Hard Limit           Units     \n"
    b"Max stack size            8388608              unlimited            bytes     \n"
    b"Max open files            1024                 20000                files     \n"
    b"Max file size             18446744073709551614 18446744073709551614 bytes     \n"
    b"Max nice priority         0                    0                    \n"
)
SWAPS = (
    b"Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    b"/dev/dm-1                               partition\t8388604\t\t1024\t\t-2\n"
    b"/swap\\040file                           file\t\t2048\t\t0\t\t-3\n"
)
MEMINFO = b"MemTotal:       24684084 kB\nHugePages_Total:       3\nHugepagesize:       2048 kB\n"


def test_status_keeps_every_line() -> None:
    fields = status.parse_status(STATUS)
    assert fields["Name"] == "etcd"
    assert fields["State"] == "S (sleeping)"
    assert fields["Groups"] == ""
    assert len(fields) == 7


def test_sizes_are_kib() -> None:
    fields = status.parse_status(STATUS + b"VmHWM:\t1_0 kB\nVmPeak:\t-1 kB\n")
    assert status.size_bytes(fields, "VmRSS") == 1700 * 1024
    for absent in ("RssAnon", "Threads", "State", "VmHWM", "VmPeak"):
        assert status.size_bytes(fields, absent) is None


def test_the_first_of_equal_keys_counts() -> None:
    assert status.parse_status(b"Name:\ta\nPid:\t1\nPid:\t2\n")["Pid"] == "1"


@pytest.mark.parametrize("name", [b"etcd", b"a) S (b", b"a\nb) R 1", b"", b"((((", b")", b"\xff\xfe"])
def test_the_last_parenthesis_ends_the_name(name: bytes) -> None:
    stat = status.parse_stat(b"42 " + STAT.replace(b"etcd", name))
    assert (stat.pid, stat.state, stat.ppid, stat.start_ticks) == (42, "S", 1, 8412)
    assert stat.comm == name.decode("utf-8", "replace")
    assert not stat.kernel_thread


def test_a_kernel_thread_is_known_by_its_flag() -> None:
    kthreadd = b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0 0\n"
    assert status.parse_stat(kthreadd).kernel_thread


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"42",
        b"42 (etcd",
        b"42 (etcd) S 1",
        b"x (etcd) " + STAT[7:],
        b"42 )etcd( " + STAT[7:],
        b"42 (a) S x" * 9,
    ],
)
def test_a_broken_stat_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        status.parse_stat(text)


def test_statm_in_pages() -> None:
    assert status.parse_statm(b"765 425 396 5 0 123 0\n") == (765, 425, 396)
    with pytest.raises(FormatError):
        status.parse_statm(b"765 425\n")


def test_limits() -> None:
    assert status.parse_limits(LIMITS) == {
        "Max stack size": (8388608, None, "bytes"),
        "Max open files": (1024, 20000, "files"),
        "Max file size": (2**64 - 2, 2**64 - 2, "bytes"),
        "Max nice priority": (0, 0, ""),
    }
    with pytest.raises(FormatError):
        status.parse_limits(LIMITS[80:])


def test_environ_takes_the_first_as_the_go_runtime_does() -> None:
    text = b"GODEBUG=madvdontneed=1\0GOGC\0=x\0\0GODEBUG=madvdontneed=0\0E=\0B=\xff"
    assert status.parse_environ(text) == {"GODEBUG": "madvdontneed=1", "E": "", "B": "\udcff"}
    assert status.parse_environ(b"") == {}
    with pytest.raises(FormatError):
        status.parse_environ(b"A=" + b"x" * status.ENVIRON_MAX_BYTES)


def test_swaps() -> None:
    assert status.parse_swaps(SWAPS) == [
        ("/dev/dm-1", 8388604 * 1024, 1024 * 1024),
        ("/swap file", 2048 * 1024, 0),
    ]
    assert status.parse_swaps(SWAPS[: SWAPS.index(b"\n") + 1]) == []


def test_meminfo_in_bytes_and_counts() -> None:
    expected = {"MemTotal": 24684084 * 1024, "HugePages_Total": 3, "Hugepagesize": 2 << 20}
    assert status.parse_meminfo(MEMINFO) == expected


@pytest.mark.parametrize(("data", "count"), [(b"511\n", 511), (b"0\n", 0), (b"7", 7), (b"9" * 20, int("9" * 20))])
def test_count(data: bytes, count: int) -> None:
    assert status.parse_count(data) == count


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"-1\n", b"+5\n", b"1 2\n", b"0x1f\n", b"1_0", "\u0661".encode(), b"9" * 21]
)
def test_what_is_no_count(data: bytes) -> None:
    with pytest.raises(FormatError):
        status.parse_count(data)


def test_thp() -> None:
    assert status.parse_thp(b"always [madvise] never\n") == "madvise"
    assert status.parse_thp(b"always defer defer+madvise madvise [never]\n") == "never"
    for broken in (b"", b"always", b"[a] [b]", b"[]"):
        with pytest.raises(FormatError):
            status.parse_thp(broken)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a", "a"),
        (r"a\040b", "a b"),
        (r"\134040", r"\040"),
        (r"\011\012", "\t\n"),
        ("\\9", "\\9"),
        ("\\", "\\"),
        (r"\000", r"\000"),
    ],
)
def test_unescape(text: str, plain: str) -> None:
    assert status.unescape(text) == plain


def test_this_process() -> None:
    fields = status.parse_status(Path("/proc/self/status").read_bytes())
    stat = status.parse_stat(Path("/proc/self/stat").read_bytes())
    limits = status.parse_limits(Path("/proc/self/limits").read_bytes())
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    cpu = resource.getrlimit(resource.RLIMIT_CPU)
    assert (stat.pid, stat.ppid) == (os.getpid(), os.getppid())
    assert fields["Pid"] == str(os.getpid())
    assert limits["Max open files"] == (*_unlimited(files), "files")
    assert limits["Max cpu time"] == (*_unlimited(cpu), "seconds")
    assert 0 < (status.size_bytes(fields, "VmRSS") or 0) < (status.size_bytes(fields, "VmSize") or 0)


def _unlimited(limits: tuple[int, int]) -> tuple[int | None, int | None]:
    soft, hard = (None if limit == resource.RLIM_INFINITY else limit for limit in limits)
    return soft, hard


def test_a_real_process_with_a_hostile_name() -> None:
    rename = "ctypes.CDLL(None).prctl(15, b') R 1\\n(', 0, 0, 0)"  # PR_SET_NAME
    code = f"import ctypes, sys; {rename}; print(flush=True); sys.stdin.read()"
    environment = {"GODEBUG": "x=1", "EMPTY": ""}
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    assert child.stdin and child.stdout
    try:
        child.stdout.readline()
        stat = status.parse_stat(Path(f"/proc/{child.pid}/stat").read_bytes())
        variables = status.parse_environ(Path(f"/proc/{child.pid}/environ").read_bytes())
        name = status.parse_status(Path(f"/proc/{child.pid}/status").read_bytes())["Name"]
    finally:
        child.communicate()
    assert (stat.pid, stat.ppid, stat.comm) == (child.pid, os.getpid(), ") R 1\n(")
    assert stat.state in "RS"  # it may not have come to its read yet
    assert name == ") R 1\\n("
    assert variables == environment


def test_the_start_time_is_that_of_boot_plus_ticks() -> None:
    stat = status.parse_stat(Path("/proc/self/stat").read_bytes())
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    age_of_machine = stat.start_ticks / os.sysconf("SC_CLK_TCK")
    assert 0 < age_of_machine <= uptime


def test_this_machine() -> None:
    memory = status.parse_meminfo(Path("/proc/meminfo").read_bytes())
    swaps = status.parse_swaps(Path("/proc/swaps").read_bytes())
    pages = status.parse_statm(Path("/proc/self/statm").read_bytes())
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert physical / 1024 < memory["MemTotal"] <= physical  # a container's view may be smaller
    assert sum(size for _, size, _ in swaps) == memory["SwapTotal"]
    assert 0 < pages[2] <= pages[1] <= pages[0]


def test_the_kernel_threads_of_this_machine_have_no_memory() -> None:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            thread = status.parse_stat((folder / "stat").read_bytes())
            fields = status.parse_status((folder / "status").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
        if thread.kernel_thread:
            assert status.size_bytes(fields, "VmRSS") is None, thread.comm


PARSERS = [
    status.parse_status,
    status.parse_stat,
    status.parse_statm,
    status.parse_limits,
    status.parse_environ,
    status.parse_swaps,
    status.parse_meminfo,
    status.parse_thp,
    status.parse_count,
]
REAL = [
    STATUS,
    b"42 " + STAT,
    b"765 425 396 5 0 123 0\n",
    LIMITS,
    b"A=1\0",
    SWAPS,
    MEMINFO,
    b"always [madvise] never\n",
    b"511\n",
]
HOSTILE = st.one_of(
    st.binary(max_size=300),
    st.text(alphabet="() \t\n:[]0123456789kBSmax=\0\\unlimited\u0661\xb2", max_size=300).map(str.encode),
    st.tuples(st.sampled_from(REAL), st.integers(0, 200), st.binary(max_size=4)).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]
    ),
)


@given(HOSTILE, st.sampled_from(PARSERS))
@settings(deadline=None, max_examples=600)
def test_only_format_errors_leave(text: bytes, parse: object) -> None:
    assert callable(parse)
    try:
        result = parse(text)
    except FormatError:
        return
    assert result is not None


@given(st.binary(max_size=15).filter(lambda name: b"\0" not in name), st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_any_name_leaves_the_other_fields_alone(name: bytes, ticks: int) -> None:
    stat = status.parse_stat(b"42 (" + name + STAT[5:].replace(b"8412", str(ticks).encode()))
    assert (stat.pid, stat.state, stat.ppid, stat.start_ticks) == (42, "S", 1, ticks)


@pytest.mark.parametrize("parse", PARSERS)
def test_huge_texts_are_refused_or_cut(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(FormatError):
        parse(b"9" * (9 << 20))
