"""Where the files of a target are: the live /proc and /sys, a folder, an archive. Paths look like
`proc/123/smaps` and `sys/kernel/mm/...` in all of them, so that a recording is read by the same code.
"""

from __future__ import annotations

import os

from whyrss import ahead
from whyrss.errors import FormatError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Files(Protocol):
        """Bounded reads by path. Raises OSError as the operating system does."""

        live: bool

        def read(self, path: str, limit_bytes: int = ...) -> bytes: ...
        def link(self, path: str) -> str: ...
        def path(self, path: str) -> str: ...


LIMIT_BYTES = 4 << 20  # for every file but smaps: far above what the kernel writes into any of them
CHUNK_BYTES = 64 << 10  # below malloc's mmap threshold, so that a read does not map and unmap memory


class LiveFiles:
    """The kernel's own files. `proc` and `sys` are where they are mounted."""

    live = True

    def __init__(self, proc: str = "/proc", sys: str = "/sys") -> None:
        self._roots = {"proc": proc, "sys": sys}

    def path(self, path: str) -> str:
        top, _, rest = path.partition("/")
        return f"{self._roots.get(top, '/' + top)}/{rest}"

    def read(self, path: str, limit_bytes: int = LIMIT_BYTES) -> bytes:
        full = self.path(path)
        ready = ahead.take(full)
        return read_file(full, limit_bytes) if ready is None else ready

    def link(self, path: str) -> str:
        return os.readlink(self.path(path))


class FolderFiles:
    """A recording as a folder: regular files only, links as files named `.link`, and for what could not be
    read when it was recorded a file `.missing` with the reason. Symbolic links are not followed."""

    live = False

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder)

    def read(self, path: str, limit_bytes: int = LIMIT_BYTES) -> bytes:
        full = os.path.join(self._folder, path)
        if os.path.realpath(full) != full:
            raise FormatError(f"{full} is a symbolic link; a recording has none")
        if os.path.exists(full + ".missing"):
            raise _refusal(read_file(full + ".missing", 4096), path)
        return read_file(full, limit_bytes)

    def link(self, path: str) -> str:
        return self.read(path + ".link", 4096).decode("utf-8", "surrogateescape")

    def path(self, path: str) -> str:
        return os.path.join(self._folder, path)


class ArchiveFiles:
    """A recording as one .tar.gz; read into memory, at most `total_bytes` of it."""

    live = False

    def __init__(self, file: str, total_bytes: int = 512 << 20) -> None:
        import tarfile

        self._files: dict[str, bytes] = {}
        self._file = file
        try:
            with tarfile.open(file, "r:*") as archive:
                for member in archive:
                    if not member.isfile():
                        continue
                    total_bytes -= member.size
                    if total_bytes < 0:
                        raise FormatError(f"{file} unpacks to more than a recording can be")
                    stream = archive.extractfile(member)
                    if stream:
                        self._files[member.name.removeprefix("./")] = stream.read()
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise FormatError(f"{file} is not a recording: {error}") from None
        except OSError as error:
            if error.errno:
                raise
            raise FormatError(f"{file} is not a recording: {error}") from None
        except Exception as error:  # zlib.error and lzma.LZMAError have no common parent
            if type(error).__module__ in ("zlib", "lzma", "_lzma"):
                raise FormatError(f"{file} is damaged: {error}") from None
            raise

    def read(self, path: str, limit_bytes: int = LIMIT_BYTES) -> bytes:
        if path + ".missing" in self._files:
            raise _refusal(self._files[path + ".missing"], path)
        if path not in self._files:
            raise FileNotFoundError(2, "not in the recording", path)
        return self._files[path][:limit_bytes]

    def link(self, path: str) -> str:
        return self.read(path + ".link", 4096).decode("utf-8", "surrogateescape")

    def path(self, path: str) -> str:
        return f"{self._file}:{path}"


class KeepingFiles:
    """Passes everything through and keeps it: what a recording is made of."""

    live = True

    def __init__(self, inner: Files) -> None:
        self._inner = inner
        self.kept: dict[str, bytes] = {}

    def read(self, path: str, limit_bytes: int = LIMIT_BYTES) -> bytes:
        try:
            data = self._inner.read(path, limit_bytes)
        except OSError as error:
            self.kept[path + ".missing"] = f"{error.errno or 0} {error.strerror}".encode()
            raise
        self.kept[path] = data
        return data

    def link(self, path: str) -> str:
        try:
            target = self._inner.link(path)
        except OSError as error:
            self.kept[path + ".link.missing"] = f"{error.errno or 0} {error.strerror}".encode()
            raise
        self.kept[path + ".link"] = target.encode("utf-8", "surrogateescape")
        return target

    def path(self, path: str) -> str:
        return self._inner.path(path)


def read_file(path: str, limit_bytes: int) -> bytes:
    """The file's bytes, FormatError where there are more than `limit_bytes`. A file of the kernel has no size
    before it is read, and gives a page at a time."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        data = os.read(fd, CHUNK_BYTES)
        if not data:
            return data
        parts, left = [data], limit_bytes - len(data)
        while data and left >= 0:
            data = os.read(fd, CHUNK_BYTES)
            parts.append(data)
            left -= len(data)
    finally:
        os.close(fd)
    if left < 0:
        raise FormatError(f"{path} is larger than {limit_bytes} bytes")
    return b"".join(parts)


def _refusal(text: bytes, path: str) -> OSError:
    number, _, reason = text.decode("utf-8", "replace").partition(" ")
    return OSError(int(number) if number.isdigit() and len(number) < 5 else 0, reason or "not recorded", path)
