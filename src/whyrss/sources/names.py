"""A process by its name."""

from __future__ import annotations

import os

from whyrss.errors import FormatError, GoneError, UsageError
from whyrss.read.status import parse_stat, parse_statm
from whyrss.sources.files import LiveFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Match:
    """A process that has the name asked for."""

    __slots__ = ("command", "pid", "rss_bytes")

    def __init__(self, pid: int, command: str, rss_bytes: int) -> None:
        self.pid = pid
        self.command = command
        self.rss_bytes = rss_bytes


def pid_of(name: str, choose: Callable[[str, list[Match]], int] | None = None) -> int:
    """The PID of the one process of that name; `choose` decides among several. See open_source."""
    found = matches(name)
    if not found:
        raise GoneError(f"no process is named {name}", "name a PID, a process or the path of a recording")
    if len(found) == 1:
        return found[0].pid
    if choose is not None:
        return choose(name, found)
    raise ambiguous(name, found)


def ambiguous(name: str, found: list[Match]) -> UsageError:
    """The error that names the processes of that name."""
    listed = ", ".join(f"{match.pid} ({match.command[:40]})" for match in found[:8])
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return UsageError(f"{len(found)} processes are named {name}: {listed}{more}", "name one of these PIDs")


def matches(name: str) -> list[Match]:
    """The processes whose comm, executable or first argument has that name; largest RSS first; never whyrss
    itself."""
    files = LiveFiles()
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            match = _match(files, int(entry), name)
            if match:
                found.append(match)
    return sorted(found, key=lambda match: -match.rss_bytes)


def _match(files: LiveFiles, pid: int, name: str) -> Match | None:
    try:
        stat = parse_stat(files.read(f"proc/{pid}/stat"))
        pages = parse_statm(files.read(f"proc/{pid}/statm"))[1]
        words = files.read(f"proc/{pid}/cmdline", 1 << 20).split(b"\0")
    except (OSError, FormatError):
        return None  # it ended, or is not ours to see
    first = words[0].decode("utf-8", "surrogateescape")
    if not pages or name not in (stat.comm, os.path.basename(first), _exe_name(files, pid)):
        return None
    command = b" ".join(words).decode("utf-8", "replace").strip() or stat.comm
    return Match(pid, command, pages * os.sysconf("SC_PAGE_SIZE"))


def _exe_name(files: LiveFiles, pid: int) -> str | None:
    try:
        return os.path.basename(files.link(f"proc/{pid}/exe").removesuffix(" (deleted)"))
    except OSError:
        return None
