"""A recording: the files that a snapshot was made from, as a folder or one .tar.gz, to be read anywhere."""

from __future__ import annotations

import os

from whyrss.errors import FormatError, Missing, TargetError
from whyrss.snapshot import Build, Outside, Vmas
from whyrss.sources.archive import ArchiveFiles, FolderFiles, KeepingFiles
from whyrss.sources.executable import dump_build
from whyrss.sources.files import LiveFiles
from whyrss.sources.proc import HEAP_FILE, ProcSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.snapshot import Snapshot
    from whyrss.sources.files import Files

MANIFEST = "whyrss-recording.json"
SCHEMA = "whyrss-recording/1"

# The only variables that a recording keeps of an environment, which may hold secrets: Go's own settings.
KEPT_VARIABLES = ("GODEBUG", "GOGC", "GOMEMLIMIT")


def is_recording(path: str) -> bool:
    """A folder with a manifest, or a file that can only be meant as one."""
    return os.path.isfile(os.path.join(path, MANIFEST)) or os.path.isfile(path)


def open_recording(path: str, basis: str = "auto") -> ProcSource:
    """The source behind a recording. Raises TargetError where it is none."""
    import json

    try:
        files: Files = FolderFiles(path) if os.path.isdir(path) else ArchiveFiles(path)
        meta = json.loads(files.read(MANIFEST))
        known = isinstance(meta, dict) and meta.get("schema") == SCHEMA
        pid = int(meta["pid"]) if known else 0
        page_bytes = int(meta["page_bytes"]) if known else 0
    except OSError as error:
        raise TargetError(f"{path} is not a recording: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FormatError(f"{path}: {MANIFEST} is damaged") from None
    if not known or pid <= 0 or page_bytes <= 0:
        raise FormatError(f"{path} is not a recording that this version can read ({SCHEMA})")
    meta = {name: str(value) for name, value in meta.items()}
    return ProcSource(pid, files, cat=_cat(path, pid), meta=meta | {"from": path}, basis=basis)


def _cat(path: str, pid: int) -> str:
    from shlex import quote

    quoted = quote(path).replace("{", "{{").replace("}", "}}")
    inside = f"proc/{pid}/{{}}"
    return f"cat {quoted}/{inside}" if os.path.isdir(path) else f"tar -xzOf {quoted} {inside}"


def record(pid: int, to: str, live: LiveFiles | None = None) -> int:
    """Writes a recording of a live process to `to`: an archive where that ends in .tar.gz or .tgz, else a new
    folder. All or nothing. Returns the bytes written; raises TargetError."""
    keeping = KeepingFiles(live or LiveFiles())
    source = ProcSource(pid, keeping, basis="auto")
    snapshot = source.collect_all()
    build = snapshot.get(Build)
    if build is not None:
        keeping.kept[f"proc/{pid}/exe.build"] = dump_build(build)
    else:
        keeping.kept[f"proc/{pid}/exe.build.missing"] = _reason(snapshot, Build).encode()
    _keep_heap(keeping.kept, pid, snapshot)
    _redact(keeping.kept, f"proc/{pid}/environ")
    keeping.kept[MANIFEST] = _manifest(pid, snapshot)
    write = _write_archive if to.endswith((".tar.gz", ".tgz")) else _write_folder
    try:
        write(keeping.kept, to)
    except OSError as error:
        raise TargetError(f"{to}: {error.strerror or error}") from None
    return sum(len(data) for data in keeping.kept.values())


def _keep_heap(kept: dict[str, bytes], pid: int, snapshot: Snapshot) -> None:
    """The heap of a Go program, where it could be read."""
    if not snapshot.asked_for("Heap"):
        return
    from whyrss.goheap.heap import Heap
    from whyrss.goroutines import Goroutines
    from whyrss.read.pagemap import Pages
    from whyrss.shape import Zeros
    from whyrss.sources.kept import dump_heap

    heap, pages, outside = snapshot.get(Heap), snapshot.get(Pages), snapshot.get(Outside)
    if heap and pages and outside:
        found = dump_heap(heap, pages, outside, snapshot.get(Goroutines), snapshot.get(Zeros))
        kept[f"proc/{pid}/{HEAP_FILE}"] = found


def _reason(snapshot: Snapshot, section: type) -> str:
    try:
        snapshot[section]
    except Missing as missing:
        return f"0 {missing.reason}"
    return "0"


def _manifest(pid: int, snapshot: Snapshot) -> bytes:
    import json

    from whyrss.version import __version__

    return json.dumps(
        {
            "schema": SCHEMA,
            "pid": pid,
            "taken_at": snapshot.taken_at,
            "residue_bytes": snapshot[Vmas].residue_bytes,
            "kernel": os.uname().release,
            "page_bytes": os.sysconf("SC_PAGE_SIZE"),
            "whyrss": __version__,
            "origin": "measured",
        },
        indent=1,
    ).encode()


def _redact(kept: dict[str, bytes], path: str) -> None:
    if path in kept:
        names = tuple(f"{name}=".encode() for name in KEPT_VARIABLES)
        kept[path] = b"".join(entry + b"\0" for entry in kept[path].split(b"\0") if entry.startswith(names))


def _write_folder(kept: dict[str, bytes], to: str) -> None:
    import shutil
    import tempfile

    parent = os.path.dirname(os.path.abspath(to))
    scratch = tempfile.mkdtemp(prefix=".whyrss-", dir=parent)
    try:
        for path, data in kept.items():
            full = os.path.join(scratch, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as file:
                file.write(data)
        os.chmod(scratch, 0o755)
        os.rename(scratch, to)  # refuses a folder that is not empty
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _write_archive(kept: dict[str, bytes], to: str) -> None:
    import io
    import tarfile
    import tempfile

    fd, scratch = tempfile.mkstemp(prefix=".whyrss-", dir=os.path.dirname(os.path.abspath(to)))
    try:
        with os.fdopen(fd, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for path, data in kept.items():
                member = tarfile.TarInfo(path)
                member.size, member.mode = len(data), 0o644
                archive.addfile(member, io.BytesIO(data))
        os.chmod(scratch, 0o644)
        os.rename(scratch, to)
    except BaseException:
        os.unlink(scratch)
        raise
