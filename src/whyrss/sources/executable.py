"""The executable of a process: its build information, and the form in which a recording keeps it."""

from __future__ import annotations

import os

from whyrss.errors import Missing
from whyrss.read.buildinfo import Build, read_build


def build_of(path: str) -> Build:
    """What the ELF file at `path` says of its build. Raises OSError, or FormatError where it is no ELF file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_build(lambda at, size: os.pread(fd, size, at), os.fstat(fd).st_size)
    finally:
        os.close(fd)


def dump_build(build: Build) -> bytes:
    """A Build as JSON, for a recording."""
    import json

    return json.dumps({name: getattr(build, name) for name in Build.__slots__}, indent=1).encode()


def load_build(data: bytes) -> Build:
    """The Build that `dump_build` wrote. Raises Missing where it is damaged."""
    import json

    try:
        values = json.loads(data)
        build = Build(str(values["arch"]), bool(values["pie"]))
        for name in Build.__slots__:
            setattr(build, name, _same_kind(values[name], getattr(build, name)))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Missing("the build information in the recording is damaged") from None
    return build


def _same_kind(value: object, default: object) -> object:
    """A value as it is where it is of the kind of the default (None: text, a flag or nothing)."""
    kinds = (str, bool, type(None)) if default is None else type(default)
    if not isinstance(value, kinds):
        raise TypeError(f"{value!r}")
    return value
