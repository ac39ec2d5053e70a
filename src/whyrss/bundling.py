"""Writes the bundle after a run: see bundle."""

from __future__ import annotations

import marshal
import os
import sys
import time

from whyrss.bundle import FILE, LEFT_OUT, PACKAGE, STAMP, is_current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from whyrss.bundle import Entry

# A file that changes twice within the granularity of its file system's clock may keep the same time.
SETTLED_NS = 2_000_000_000


def write(before: dict[str, Entry]) -> None:
    """A bundle of what was in the one before and of the modules that this run imported beside it. Nothing is
    written where nothing is new, nor where it cannot be."""
    entries = {name: entry for name, entry in before.items() if is_current(entry)}
    new = {name: _entry(module) for name, module in sys.modules.items() if name not in entries and _belongs(name)}
    found = {name: entry for name, entry in new.items() if entry is not None}
    if not found:
        return
    try:
        _replace(marshal.dumps((STAMP, entries | found)))
    except OSError:
        pass  # a bundle only saves time


def _belongs(name: str) -> bool:
    return name.startswith(PACKAGE) and not name.startswith(LEFT_OUT)


def _entry(module: ModuleType) -> Entry | None:
    """The module compiled; None where its source is no file, or has just been written."""
    spec = module.__spec__
    file = spec.origin if spec and spec.has_location else None
    if spec is None or file is None:
        return None
    try:
        was = os.stat(file)
        if time.time_ns() - was.st_mtime_ns < SETTLED_NS:
            return None
        with open(file, "rb") as source:
            code = compile(source.read(), file, "exec", dont_inherit=True)
    except (OSError, SyntaxError, ValueError):
        return None
    entry = (spec.submodule_search_locations is not None, file, was.st_mtime_ns, was.st_size, marshal.dumps(code))
    return entry if is_current(entry) else None


def _replace(data: bytes) -> None:
    """All or nothing, so that a run at the same time reads the old file or the new one."""
    scratch = f"{FILE}.{os.getpid()}"
    fd = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with open(fd, "wb") as file:
            file.write(data)
        os.replace(scratch, FILE)
    except OSError:
        os.unlink(scratch)
        raise
