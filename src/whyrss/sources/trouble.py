"""What went wrong with a process, in words, and what to do about it. Needed only once something did."""

from __future__ import annotations

import os
from errno import EACCES, EINVAL, ENOENT, EPERM, ESRCH

from whyrss.errors import DeniedError, FormatError, GoneError, TargetError
from whyrss.read.status import Stat, parse_status
from whyrss.sources.files import LiveFiles

NEEDS_PTRACE = "needs CAP_SYS_PTRACE"


def unreadable(error: OSError, pid: int, name: str, live: bool) -> TargetError:
    """Why the file `name` of a process cannot be read."""
    if error.errno in (EACCES, EPERM):
        return DeniedError(
            f"/proc/{pid}/{name}: permission denied",
            "run as the user of the process, as root, or with CAP_SYS_PTRACE (environ: also CAP_DAC_READ_SEARCH)",
        )
    if error.errno in (ENOENT, ESRCH) and live:
        return GoneError(f"no process {pid}", elsewhere(pid))
    return TargetError(f"proc/{pid}/{name}: {error.strerror or error}")


def unheld(error: OSError, pid: int) -> GoneError | None:
    """Why pidfd_open(2) refuses a PID; None where it only says that the kernel is older than 5.3."""
    if error.errno == ESRCH or pid <= 0:
        return GoneError(f"no process {pid}", elsewhere(pid))
    if error.errno in (ENOENT, EINVAL):
        return GoneError(f"{pid} is no process", "a thread has no memory of its own; name its process")
    return None


def without_memory(stat: Stat) -> TargetError:
    """A zombie or a kernel thread."""
    if stat.kernel_thread:
        return TargetError(f"process {stat.pid} ({stat.comm}) is a kernel thread: it has no memory of its own")
    return GoneError(
        f"process {stat.pid} ({stat.comm}) is a zombie: it has ended and holds no memory",
        f"its parent, PID {stat.ppid}, has to reap it",
    )


def no_executable(error: OSError) -> str:
    """Why the file behind /proc/PID/exe cannot be read."""
    hint = NEEDS_PTRACE if error.errno in (EACCES, EPERM) else "the file cannot be opened"
    return f"{(error.strerror or str(error)).lower()}; {hint}"


def other_namespace(shown: str | OSError) -> TargetError:
    """/proc/self is not this process, or cannot be read at all: `shown` is where it points."""
    if isinstance(shown, OSError):
        return TargetError(f"/proc cannot be read: {shown.strerror}", "whyrss needs Linux with /proc mounted")
    return TargetError(
        f"/proc shows another PID namespace (there, whyrss is {shown}; here it is {os.getpid()})",
        "mount the /proc of this namespace, or enter the other one: nsenter -t 1 -p -m whyrss PID",
    )


def elsewhere(pid: int) -> str:
    """Where a PID that does not exist here is one inside a container, which process that is."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = parse_status(LiveFiles().read(f"proc/{name}/status"))
        except (OSError, FormatError):
            continue
        if fields.get("NSpid", "").split()[1:] and fields["NSpid"].split()[-1] == str(pid):
            found.append(f"{name} ({fields.get('Name', '?')})")
    if found:
        return f"inside a container {pid} is the process that is seen here as {', '.join(found[:5])}"
    return "see ps -e for those that exist"
