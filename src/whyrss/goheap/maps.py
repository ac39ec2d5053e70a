"""/proc/PID/maps: which mapping an address is in (Documentation/filesystems/proc.rst)."""

from __future__ import annotations

from bisect import bisect_right


class Mapping:
    """[start, end), its permissions ("rw-p"), where in the file it begins, and the file's path or a name."""

    __slots__ = ("end", "inode", "offset", "path", "perms", "start")

    def __init__(self, line: bytes) -> None:
        span, perms, offset, _, inode, *path = line.split(None, 5)
        low, high = span.split(b"-")
        self.start, self.end = int(low, 16), int(high, 16)
        self.perms = perms.decode("ascii", "replace")
        self.offset = int(offset, 16)
        self.inode = int(inode)
        self.path = path[0].decode("utf-8", "surrogateescape") if path else ""


class Maps:
    """The mappings of a process, in the order of their addresses."""

    def __init__(self, mappings: list[Mapping]) -> None:
        self.list = mappings
        self._starts = [mapping.start for mapping in mappings]

    @classmethod
    def of(cls, text: bytes) -> Maps:
        """From the text of the file; lines that are none of its (the file was cut) are left out."""
        mappings = []
        for line in text.split(b"\n"):
            try:
                mappings.append(Mapping(line))
            except ValueError:
                continue
        return cls(mappings)

    def find(self, address: int) -> Mapping | None:
        """The mapping that holds the address."""
        at = bisect_right(self._starts, address) - 1
        return self.list[at] if at >= 0 and address < self.list[at].end else None

    def anonymous(self, start: int, end: int) -> bool:
        """Whether [start, end) is mapped without a gap, and no file is behind any of it."""
        at = max(0, bisect_right(self._starts, start) - 1)
        for mapping in self.list[at:]:
            if start >= end:
                break
            if mapping.inode or not mapping.start <= start < mapping.end:
                return False
            start = mapping.end
        return start >= end
