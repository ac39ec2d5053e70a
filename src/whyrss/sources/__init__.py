"""The only code that reads the world. `open_source` finds out what a target is."""

from __future__ import annotations

import os

from whyrss.errors import UsageError
from whyrss.sources.proc import ProcSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from whyrss.sources.names import Match

PID_MAX = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h


def open_source(
    target: str,
    *,
    pid: bool = False,
    choose: Callable[[str, list[Match]], int] | None = None,
    basis: str = "auto",
    freeze: bool = False,
) -> ProcSource:
    """The source behind a recording's path, a PID or a process name; with `pid` no path is meant. With the basis
    "vma" the memory of a Go program is not looked into; with `freeze` it is stopped while that is done.

    Where several processes have the name, `choose` picks a PID of them; without it that is a UsageError which
    names them. Raises GoneError where no process has the name.
    """
    if not pid and os.path.exists(target):
        if freeze:
            raise UsageError(f"{target} is a recording, and --freeze is for a live process")
        from whyrss.sources.recording import open_recording

        return open_recording(target, basis)
    if target.isascii() and target.isdigit():
        number = int(target[:12])
        if number > PID_MAX or not number:
            raise UsageError(f"{target} is no PID", f"PIDs are 1 to {PID_MAX}")
        return ProcSource(number, basis=basis, freeze=freeze)
    if not target:
        raise UsageError("an empty target", "name a PID, a process or a recording")
    from whyrss.sources.names import pid_of

    return ProcSource(pid_of(target, choose), basis=basis, freeze=freeze)
