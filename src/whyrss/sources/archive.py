"""The files of a recording, as a folder or an archive, and the keeping of those that one is made of.

For what could not be read when it was recorded there is a file `.missing` with the number and the words of the
error; a link is a file `.link` with what it points to.
"""

from __future__ import annotations

import os

from whyrss.errors import FormatError
from whyrss.sources.files import LIMIT_BYTES, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.sources.files import Files


class FolderFiles:
    """A recording as a folder: regular files only, links as files named `.link`, and for what could not be
    read when it was recorded a file `.missing` with the reason. Symbolic links are not followed."""

    live = False

    def __init__(self, folder: str) -> None:
        self._folder = os.path.realpath(folder)

    def read(self, path: str, limit_bytes: int = LIMIT_BYTES) -> bytes:
        if "\0" in path:
            raise FormatError(f"no file can be named {path!r:.200}")
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


def _refusal(text: bytes, path: str) -> OSError:
    number, _, reason = text.decode("utf-8", "replace").partition(" ")
    return OSError(int(number) if number.isdigit() and len(number) < 5 else 0, reason or "not recorded", path)
