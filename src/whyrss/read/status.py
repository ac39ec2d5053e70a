"""The small texts of /proc: status, stat, limits, environ, swaps, meminfo and the huge page switch.

Formats: proc(5) and the kernel's Documentation/filesystems/proc.rst. Each function takes the bytes of one
file and raises only `FormatError`. Sizes that the kernel prints in "kB" are KiB; they leave here as bytes.
"""

from __future__ import annotations

from whyrss.errors import FormatError

KIB = 1024
PF_KTHREAD = 0x00200000  # include/linux/sched.h, unchanged since 2.6.27
NUMBER_DIGITS = 20  # what an unsigned 64-bit number takes
ENVIRON_MAX_BYTES = 8 << 20  # execve(2) takes 6 MiB of arguments and environment (fs/exec.c, 4.13+)
STAT_MAX_BYTES = 4096  # 52 figures and a name of at most 64 characters
TEXT_MAX_BYTES = 1 << 20  # the other files are a few KiB


class Stat:
    """What /proc/PID/stat says who a process is; `start_ticks` are clock ticks since boot (field 22)."""

    __slots__ = ("comm", "flags", "pid", "ppid", "start_ticks", "state")

    def __init__(self, pid: int, comm: str, state: str, ppid: int, flags: int, start_ticks: int) -> None:
        self.pid = pid
        self.comm = comm
        self.state = state
        self.ppid = ppid
        self.flags = flags
        self.start_ticks = start_ticks

    @property
    def kernel_thread(self) -> bool:
        """A thread of the kernel: it has no memory of its own, so nothing of it is resident."""
        return bool(self.flags & PF_KTHREAD)


def parse_status(data: bytes) -> dict[str, str]:
    """/proc/PID/status: every key with its text, blanks around it taken off; the first of equal keys counts.

    The kernel escapes a newline in `Name` as "\\n" (two characters), so a process cannot forge a line.
    """
    fields: dict[str, str] = {}
    for line in _text(data, "status").split("\n"):
        key, colon, value = line.partition(":")
        if colon and key:
            fields.setdefault(key, value.strip())
    if not fields:
        raise FormatError('not the text of /proc/PID/status: no line "Key: value"')
    return fields


def size_bytes(fields: dict[str, str], key: str) -> int | None:
    """The value of a line "Key: N kB" of `parse_status`, in bytes; None when the kernel does not print it.

    A kernel thread has no Vm lines at all; RssAnon, RssFile and RssShmem came with Linux 4.5.
    """
    words = fields.get(key, "").split(None, 2)
    if len(words) != 2 or words[1] != "kB" or not _is_number(words[0]):
        return None
    return int(words[0]) * KIB


def parse_stat(data: bytes) -> Stat:
    """/proc/PID/stat. The name in parentheses may hold ") (" and newlines itself: the last ")" ends it."""
    data = data[:STAT_MAX_BYTES]
    start, end = data.find(b"(", 0, 32), data.rfind(b")")
    after = data[end + 1 :].split(None, 20)
    if start < 1 or end < start or len(after) < 20:
        raise FormatError("not the text of /proc/PID/stat: truncated, or no name in parentheses")
    pid = _number(data[:start].strip(), "stat")
    # proc(5): 3 state, 4 ppid, 9 flags, 22 starttime; `after` begins at field 3.
    ppid, flags, start_ticks = (_number(after[field - 3], "stat") for field in (4, 9, 22))
    comm = data[start + 1 : end].decode("utf-8", "replace")
    return Stat(pid, comm, after[0].decode("ascii", "replace"), ppid, flags, start_ticks)


def parse_statm(data: bytes) -> tuple[int, int, int]:
    """/proc/PID/statm as (size, resident, shared), in pages. `shared` is RssFile + RssShmem."""
    words = data[:256].split(None, 3)
    if len(words) < 3:
        raise FormatError("not the text of /proc/PID/statm: fewer than three figures")
    size, resident, shared = (_number(word, "statm") for word in words[:3])
    return size, resident, shared


def parse_limits(data: bytes) -> dict[str, tuple[int | None, int | None, str]]:
    """/proc/PID/limits: name -> (soft, hard, unit); None is "unlimited", the unit may be "".

    The columns are fixed ("%-25s %-20s %-20s %-10s", fs/proc/base.c), the names hold blanks.
    """
    lines = _text(data, "limits").split("\n")
    if not lines[0].startswith("Limit "):
        raise FormatError("not the text of /proc/PID/limits: its heading is missing")
    limits = {}
    for line in lines[1:]:
        name, soft, hard = line[:26].strip(), line[26:47].strip(), line[47:68].strip()
        if name and _is_limit(soft) and _is_limit(hard):
            limits[name] = (_limit(soft), _limit(hard), line[68:].strip())
    return limits


def parse_environ(data: bytes) -> dict[str, str]:
    """/proc/PID/environ: the environment a process was started with.

    Of equal names the first counts, as in the Go runtime (`gogetenv`, runtime/env_posix.go, Go 1.27: it takes
    the first entry that matches). Entries without "=" are passed over. Bytes that are no UTF-8 become
    surrogates, as in os.environ.
    """
    if len(data) > ENVIRON_MAX_BYTES:
        raise FormatError("an environment larger than execve(2) allows")
    variables: dict[str, str] = {}
    for entry in data.split(b"\0"):
        name, equals, value = entry.partition(b"=")
        if equals and name:
            variables.setdefault(_name(name), _name(value))
    return variables


def parse_swaps(data: bytes) -> list[tuple[str, int, int]]:
    """/proc/swaps: (file or device, size_bytes, used_bytes) of each swap area; an empty list without swap."""
    lines = _text(data, "swaps").split("\n")
    if not lines[0].startswith("Filename"):
        raise FormatError("not the text of /proc/swaps: its heading is missing")
    rows = [line.rsplit(None, 4) for line in lines[1:]]
    return [
        (unescape(row[0]), int(row[2]) * KIB, int(row[3]) * KIB)
        for row in rows
        if len(row) == 5 and _is_number(row[2]) and _is_number(row[3])
    ]


def parse_meminfo(data: bytes) -> dict[str, int]:
    """/proc/meminfo in bytes; lines without "kB" (HugePages_Total, ...) are counts and stay as they are."""
    fields: dict[str, int] = {}
    for line in _text(data, "meminfo").split("\n"):
        key, _, value = line.partition(":")
        words = value.split(None, 2)
        if words and _is_number(words[0]):
            fields.setdefault(key, int(words[0]) * (KIB if words[1:] == ["kB"] else 1))
    if not fields:
        raise FormatError('not the text of /proc/meminfo: no line "Key: figure"')
    return fields


def parse_thp(data: bytes) -> str:
    """The choice in /sys/kernel/mm/transparent_hugepage/*: "always [madvise] never" -> "madvise"."""
    words = _text(data[:256], "switch").split()
    chosen = [word[1:-1] for word in words if word[:1] == "[" and word[-1:] == "]"]
    if len(chosen) != 1 or not chosen[0]:
        raise FormatError("no choice in brackets in the text of a huge page switch")
    return chosen[0]


def parse_count(data: bytes) -> int:
    """The number in a file of /sys that holds nothing else. Raises FormatError."""
    digits = data[:256].strip()
    if not digits.isdigit() or len(digits) > NUMBER_DIGITS:
        raise FormatError("no number in the text of a file of /sys")
    return int(digits)


def unescape(text: str) -> str:
    """Undo the kernel's escapes in file names of /proc ("\\040" is a blank; seq_escape, fs/seq_file.c)."""
    if "\\" not in text:
        return text
    first, *rest = text.split("\\")
    return first + "".join(_unescape_one(piece) for piece in rest)


def _unescape_one(piece: str) -> str:
    octal = piece[:3]
    if len(octal) == 3 and not octal.strip("01234567") and "000" < octal < "200":
        return chr(int(octal, 8)) + piece[3:]
    return "\\" + piece


def _text(data: bytes, what: str) -> str:
    if len(data) > TEXT_MAX_BYTES:
        raise FormatError(f"not a {what} text of /proc: larger than {TEXT_MAX_BYTES} bytes")
    return _name(data)


def _name(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= NUMBER_DIGITS


def _number(raw: bytes, what: str) -> int:
    if not raw.isdigit() or len(raw) > NUMBER_DIGITS:
        raise FormatError(f"not the text of /proc/PID/{what}: a figure is expected, not {raw[:32]!r}")
    return int(raw)


def _is_limit(text: str) -> bool:
    return text == "unlimited" or _is_number(text)


def _limit(text: str) -> int | None:
    return None if text == "unlimited" else int(text)
