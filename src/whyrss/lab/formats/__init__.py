"""MemStats as Go programs serve it: one format a file, each a pure function to bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# runtime/mprof.go, MemProfileRate: one allocation in so many bytes is sampled, by default.
RATE_BYTES = 512 << 10

# Made-up code addresses, for formats that know functions by address: one page of code a function.
CODE_START = 0x400000
FUNCTION_BYTES = 0x1000


class Record(NamedTuple):
    """What one stack allocated: objects and bytes, in use now and in all; `frames` are function names, the
    innermost first."""

    inuse_objects: int
    inuse_bytes: int
    alloc_objects: int
    alloc_bytes: int
    frames: tuple[str, ...]

    @property
    def object_bytes(self) -> int:
        """The size of one object, of several sizes the mean."""
        return self.alloc_bytes // self.alloc_objects if self.alloc_objects else 0


def addresses(records: Sequence[Record]) -> dict[str, int]:
    """The address of each function, in order of first appearance."""
    names = dict.fromkeys(name for record in records for name in record.frames)
    return {name: CODE_START + number * FUNCTION_BYTES for number, name in enumerate(names)}
