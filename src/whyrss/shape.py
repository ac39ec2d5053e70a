"""The shape of a Go heap: its size classes, the holes between its spans, its largest objects. Plain records."""

from __future__ import annotations


class SizeClass:
    """The spans of one size class, with or without pointers: `elem_bytes` of a slot, 0 for large objects, which have
    a span each; `span_bytes` of all its spans, `slots` in them, `objects` and `object_bytes` in these slots."""

    __slots__ = ("elem_bytes", "noscan", "object_bytes", "objects", "slots", "span_bytes", "spans")

    def __init__(self, elem_bytes: int, noscan: bool) -> None:
        self.elem_bytes = elem_bytes
        self.noscan = noscan
        self.spans = self.span_bytes = self.slots = self.objects = self.object_bytes = 0

    @property
    def slack_bytes(self) -> int:
        """Free slots and the tails of spans, resident or not."""
        return self.span_bytes - self.object_bytes


class Hole:
    """Free runs of at least 2^n and less than 2^(n+1) Go pages: how many, their bytes, and of these what was not
    released."""

    __slots__ = ("free_bytes", "idle_bytes", "runs")

    def __init__(self) -> None:
        self.runs = self.free_bytes = self.idle_bytes = 0


class LargeObject:
    """One object with a span of its own: its size, and how much of it is resident."""

    __slots__ = ("address", "noscan", "resident_bytes", "size_bytes")

    def __init__(self, address: int, size_bytes: int, noscan: bool, resident_bytes: int) -> None:
        self.address = address
        self.size_bytes = size_bytes
        self.noscan = noscan
        self.resident_bytes = resident_bytes


class Shape:
    """`classes` by size; `holes` by the logarithm of their pages; `large` the largest objects first, at most
    LARGE_MAX of at least LARGE_BYTES."""

    __slots__ = ("classes", "holes", "large")

    def __init__(self, classes: list[SizeClass], holes: dict[int, Hole], large: list[LargeObject]) -> None:
        self.classes = classes
        self.holes = holes
        self.large = large


LARGE_BYTES = 1 << 20
LARGE_MAX = 1000


class Zeros:
    """Of the resident pages of large objects with pointers: how many bytes were looked at, and how many of these lie
    in pages that hold nothing but zeros."""

    __slots__ = ("looked_bytes", "zero_bytes")

    def __init__(self, looked_bytes: int, zero_bytes: int) -> None:
        self.looked_bytes = looked_bytes
        self.zero_bytes = zero_bytes
