"""The account: a tree of lines that adds up to RSS. A line with children has no figure of its own."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Every account has these lines, in this order, also where they hold nothing: of a Go program, and of any other.
TOP_GO = ("heap", "runtime", "image", "c", "threads", "files", "shared", "unattributed")
TOP_OTHER = ("image", "c", "threads", "files", "shared", "unattributed")


class Line:
    """One line of the account, in bytes; computed from its children where it has any."""

    __slots__ = ("_own_bytes", "children", "name")

    def __init__(self, name: str, own_bytes: int = 0) -> None:
        self.name = name
        self._own_bytes = own_bytes
        self.children: list[Line] = []

    @property
    def bytes(self) -> int:
        return sum(child.bytes for child in self.children) if self.children else self._own_bytes

    def child(self, name: str) -> Line:
        """The child of that name, made where there is none. What the line held itself becomes the child
        `other`, so that a line is never both a sum and a figure."""
        for line in self.children:
            if line.name == name:
                return line
        if self._own_bytes:
            self.children.append(Line("other", self._own_bytes))
            self._own_bytes = 0
        line = Line(name)
        self.children.append(line)
        return line

    def add(self, path: tuple[str, ...], size_bytes: int) -> None:
        line = self
        for name in path:
            line = line.child(name)
        if line.children:
            line = line.child("other")
        line._own_bytes += size_bytes

    def find(self, path: str) -> Line | None:
        """The line at `heap/released/lazyfree`, or None where this account has no such line."""
        line: Line | None = self
        for name in path.split("/"):
            line = next((child for child in line.children if child.name == name), None) if line else None
        return line

    def bytes_of(self, path: str) -> int:
        """The bytes at a path; 0 where the account has no such line."""
        line = self.find(path)
        return line.bytes if line else 0

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Line]]:
        yield depth, self
        for child in self.children:
            yield from child.walk(depth + 1)


class Account:
    """The tree, what it was made from (`basis`: page, vma or runtime), and why not from something finer."""

    __slots__ = ("basis", "basis_reason", "residue_bytes", "root")

    def __init__(self, root: Line, basis: str, basis_reason: str, residue_bytes: int | None) -> None:
        self.root = root
        self.basis = basis
        self.basis_reason = basis_reason
        self.residue_bytes = residue_bytes

    @property
    def rss_bytes(self) -> int:
        return self.root.bytes

    @property
    def unattributed_bytes(self) -> int:
        return self.root.bytes_of("unattributed")
