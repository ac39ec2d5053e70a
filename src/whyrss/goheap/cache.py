"""What was found in a program, kept for the next time: by its build ID, relative to where it is loaded.

A kept address is only a proposal: it is proved on the process like one from the symbol table. So is the layout that
was read from a program's DWARF, in a file of its own. Files are lines "name=value" in $XDG_CACHE_HOME/whyrss/located
(else ~/.cache/whyrss/located); the oldest ones are dropped.
JSON would cost more to import than most of the finds.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.goheap.image import Image

    Kept = dict[str, list[int]]

TITLE = "whyrss located 2"
LAYOUT_TITLE = "whyrss layout 1"
FILES_MAX = 256
FILE_MAX_BYTES = 4096
LAYOUT_MAX_BYTES = 1 << 15  # a layout takes 5 to 8 KB
VALUES_MAX = 64
BUILD_ID_DIGITS = 180  # Go's own build ID takes 166; a name of a file at most 255


class Cache:
    """A folder of finds. Nothing here is an error: what cannot be read or written is not kept."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @classmethod
    def of_user(cls) -> Cache:
        """The user's own cache folder (XDG Base Directory Specification: a relative path does not count)."""
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):
            base = os.path.expanduser("~/.cache")
        return cls(os.path.join(base, "whyrss", "located"))

    def load(self, image: Image) -> tuple[str, Kept]:
        """The name of the proved layout, and what is kept of a program; empty where nothing is, or where it is
        damaged."""
        try:
            layout, *lines = _lines(self._path(image), TITLE, FILE_MAX_BYTES)
            return layout, dict(_read(line) for line in lines)
        except (OSError, ValueError, IndexError):
            return "", {}

    def store(self, image: Image, layout: str, kept: Kept) -> None:
        """Keep it; the file is there whole or not at all."""
        lines = [f"{name}={','.join(map(str, values))}" for name, values in kept.items()]
        self._write(self._path(image), [TITLE, layout, *lines], FILE_MAX_BYTES)

    def load_layout(self, image: Image, edition: str) -> dict[str, str]:
        """The structures that a program's DWARF has, as texts; empty where none are kept, or for another `edition` of
        the table, which says what to read."""
        try:
            lines = _lines(self._path(image) + ".layout", f"{LAYOUT_TITLE} {edition}", LAYOUT_MAX_BYTES)
        except (OSError, ValueError, IndexError):
            return {}
        return {name: text for name, _, text in (line.partition("=") for line in lines)}

    def store_layout(self, image: Image, edition: str, structs: dict[str, str]) -> None:
        """Keep them, as `store`."""
        lines = [f"{name}={text}" for name, text in structs.items()]
        self._write(self._path(image) + ".layout", [f"{LAYOUT_TITLE} {edition}", *lines], LAYOUT_MAX_BYTES)

    def _write(self, path: str, lines: list[str], most_bytes: int) -> None:
        fresh = f"{path}.{os.getpid()}"
        data = "\n".join([*lines, "end\n"]).encode()
        if len(data) > most_bytes:
            return
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(file, data)
            finally:
                os.close(file)
            os.replace(fresh, path)
            self._bound()
        except OSError:
            _remove(fresh)

    def _path(self, image: Image) -> str:
        """A file without a build ID, or changed in place, is told by its size and time of change."""
        build_id = image.build_id()[:BUILD_ID_DIGITS] or "none"
        return os.path.join(self.folder, f"{build_id}-{image.elf.file_bytes:x}-{image.mtime_ns:x}")

    def _bound(self) -> None:
        with os.scandir(self.folder) as entries:
            files = [(entry.stat().st_mtime_ns, entry.path) for entry in entries]
        for _, path in sorted(files)[: max(0, len(files) - FILES_MAX)]:
            _remove(path)


def _lines(path: str, title: str, most_bytes: int) -> list[str]:
    """What stands between the title and the end. Raises OSError, ValueError or IndexError."""
    with open(path, "rb") as file:
        first, *lines = file.read(most_bytes).decode("ascii").splitlines()
    if first != title or lines.pop() != "end":
        raise ValueError(first)
    return lines


def _read(line: str) -> tuple[str, list[int]]:
    name, equals, values = line.partition("=")
    numbers = [int(value) for value in values.split(",")]
    if not equals or len(numbers) > VALUES_MAX:
        raise ValueError(line)
    return name, numbers


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
