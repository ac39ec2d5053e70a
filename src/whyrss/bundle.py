"""The compiled modules of the command in one file: thirty searches, stats, opens and reads become one of each.

The file lies where the compiled modules lie, `__pycache__/whyrss.TAG.bundle`, and is trusted as they are: it has
to belong to who owns that folder, or to root, and nobody may write it who may not write the folder. An entry
counts while its source has the size and the time of modification with which it was compiled. What is not there,
or has changed, is imported as usual, and `save` then writes the file anew.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

    # Of each module: is it a package, its file, the file's time of modification in ns and size, the marshalled code.
    Entry = tuple[bool, str, int, int, bytes]

PACKAGE = "whyrss."
LEFT_OUT = ("whyrss.lab", "whyrss.bundle")  # what no verdict needs, and what is imported before there is a bundle
LIMIT_BYTES = 16 << 20
OTHERS_WRITE = 0o022
FOLDER = os.path.join(os.path.dirname(__file__), "__pycache__")
FILE = os.path.join(FOLDER, f"whyrss.{sys.implementation.cache_tag}.bundle")
# Code is of one version of Python, and says of itself in which folder its source is.
STAMP = ("whyrss bundle 1", sys.hexversion, FOLDER)


class Loader(SourceFileLoader):
    """Like the one for a source file, but the code is there already."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        return self._code


class Bundle:
    """The finder of the modules in `entries`; `missed` once it was asked for one that it does not have."""

    def __init__(self, entries: dict[str, Entry]) -> None:
        self.entries = entries
        self.missed = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As of importlib.abc.MetaPathFinder."""
        if not name.startswith(PACKAGE) or name.startswith(LEFT_OUT):
            return None
        entry = self.entries.get(name)
        if entry is not None and is_current(entry):
            try:
                return _spec(name, entry, marshal.loads(entry[4]))
            except (EOFError, ValueError, TypeError):
                del self.entries[name]  # damaged
        self.missed = True
        return None


def _spec(name: str, entry: Entry, code: CodeType) -> ModuleSpec:
    is_package, file = entry[:2]
    spec = ModuleSpec(name, Loader(name, file, code), origin=file, is_package=is_package)
    if is_package:
        spec.submodule_search_locations = [os.path.dirname(file)]
    spec.cached = FILE
    spec.has_location = True
    return spec


_installed: list[Bundle] = []


def install() -> None:
    """From now on modules come from the bundle, where there is one. To be called once, before other imports."""
    if sys.flags.optimize or sys.pycache_prefix:
        return  # other compiled modules are meant than those in FOLDER
    bundle = Bundle(_read())
    _installed.append(bundle)
    sys.meta_path.insert(0, bundle)


def save() -> None:
    """Writes the bundle anew where this run imported a module that it should have had; never fails."""
    missed = any(bundle.missed for bundle in _installed)
    if missed and not sys.dont_write_bytecode and os.access(FOLDER, os.W_OK):
        from whyrss.bundling import write

        write(_installed[0].entries)


def is_current(entry: Entry) -> bool:
    """The source is still the one that was compiled."""
    try:
        now = os.stat(entry[1])
    except OSError:
        return False
    return (now.st_mtime_ns, now.st_size) == entry[2:4]


def _read() -> dict[str, Entry]:
    """The entries of the file; none where it is absent, damaged, of another Python or not to be trusted."""
    try:
        fd = os.open(FILE, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return {}
    try:
        file = os.fstat(fd)
        if not _is_trusted(file, os.stat(FOLDER)) or file.st_size > LIMIT_BYTES:
            return {}
        stamp, entries = marshal.loads(os.read(fd, file.st_size))
    except (OSError, EOFError, ValueError, TypeError):
        return {}
    finally:
        os.close(fd)
    return entries if stamp == STAMP and isinstance(entries, dict) else {}


def _is_trusted(file: os.stat_result, folder: os.stat_result) -> bool:
    return file.st_uid in (folder.st_uid, 0) and not file.st_mode & ~folder.st_mode & OTHERS_WRITE
