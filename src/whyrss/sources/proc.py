"""A process by its files: live from /proc, or the same files in a recording."""

from __future__ import annotations

import os
import time
from errno import EACCES, ENOENT, EPERM, ESRCH

from whyrss.errors import DeniedError, FormatError, GoneError, Missing, TargetError
from whyrss.read import status as text
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Build, Deferred, Host, Process, Snapshot, Status, Vmas, attempt
from whyrss.sources.executable import build_of, load_build
from whyrss.sources.files import LiveFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from whyrss.read.cgroup import Cgroup
    from whyrss.sources.files import Files

    T = TypeVar("T")

SMAPS_LIMIT_BYTES = 2 << 30  # 2.8 million VMAs; the default of vm.max_map_count is 65,530


class ProcSource:
    """One process. A live one is held by a pidfd and its start time, so that another process that gets its
    PID while we read is noticed. `files` is where its files are; `meta` is what a recording says of itself."""

    def __init__(
        self, pid: int, files: Files | None = None, *, cat: str = "", meta: dict[str, str] | None = None
    ) -> None:
        self.pid = pid
        self.files = files or LiveFiles()
        self._cat = cat or f"cat /proc/{pid}/{{}}"
        self._meta = meta or {}

    def collect(self) -> Snapshot:
        """Reads everything once. Raises GoneError, DeniedError or another TargetError with what to do."""
        pidfd = self._hold() if self.files.live else -1
        try:
            stat = self.stat()
            vmas = self._vmas()
            sections: dict[str, object] = {
                "Vmas": vmas,
                "Process": self._process(stat),
                "Build": attempt(self._build),
                "Host": self._host(),
                "Status": Deferred(self._status),
                "Cgroup": Deferred(self._cgroup),
            }
            self._same(stat)
        finally:
            if pidfd >= 0:
                os.close(pidfd)
        taken_at = self._meta.get("taken_at") or time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        target = str(self.pid) if self.files.live else self._meta.get("from", "recording")
        return Snapshot(taken_at, target, self._cat, sections)

    def collect_all(self) -> Snapshot:
        """Like collect, with everything that is read late, and the kernel's own sum, a second walk over all
        pages: what a recording keeps."""
        from whyrss.read.cgroup import Cgroup

        snapshot = self.collect()
        snapshot.get(Status)
        snapshot.get(Cgroup)
        try:
            self._read("smaps_rollup")
        except TargetError:
            pass
        return snapshot

    def rollup(self) -> Vmas:
        """smaps_rollup: all mappings as one, to check the sum against. Raises TargetError."""
        return parse_smaps(self._read("smaps_rollup"))

    def stat(self) -> text.Stat:
        """/proc/PID/stat of a process that has memory: not a zombie, not a kernel thread."""
        stat = text.parse_stat(self._read("stat"))
        if stat.state in "ZX":
            raise GoneError(
                f"process {self.pid} ({stat.comm}) is a zombie: it has ended and holds no memory",
                f"its parent, PID {stat.ppid}, has to reap it",
            )
        if stat.kernel_thread:
            raise TargetError(f"process {self.pid} ({stat.comm}) is a kernel thread: it has no memory of its own")
        return stat

    def _hold(self) -> int:
        _same_namespace(self.files)
        try:
            return os.pidfd_open(self.pid)
        except OSError as error:
            if error.errno == ESRCH or self.pid <= 0:
                raise GoneError(f"no process {self.pid}", _elsewhere(self.pid)) from None
            if error.errno == ENOENT or error.errno == 22:
                raise GoneError(
                    f"{self.pid} is no process", "a thread has no memory of its own; name its process"
                ) from None
            return -1  # a kernel before 5.3: the start time alone has to do

    def _same(self, before: text.Stat) -> None:
        """Raises GoneError where the process ended, or where the PID is another process's now."""
        if not self.files.live:
            return
        after = text.parse_stat(self._read("stat"))
        if after.state in "ZX" or after.start_ticks != before.start_ticks:
            raise GoneError(f"process {self.pid} ended while it was read")

    def _read(self, name: str, limit_bytes: int = 4 << 20) -> bytes:
        """A file of the process; what the kernel refuses becomes an error with words."""
        try:
            return self.files.read(f"proc/{self.pid}/{name}", limit_bytes)
        except OSError as error:
            raise self._explain(error, name) from None

    def _explain(self, error: OSError, name: str) -> TargetError:
        if error.errno in (EACCES, EPERM):
            return DeniedError(
                f"/proc/{self.pid}/{name}: permission denied",
                "run as the user of the process, as root, or with CAP_SYS_PTRACE (environ: also CAP_DAC_READ_SEARCH)",
            )
        if error.errno in (ENOENT, ESRCH) and self.files.live:
            return GoneError(f"no process {self.pid}", _elsewhere(self.pid))
        return TargetError(f"proc/{self.pid}/{name}: {error.strerror or error}")

    def _missing(self, name: str, limit_bytes: int = 4 << 20) -> bytes:
        """Like _read, for what the verdict can do without: raises Missing."""
        try:
            return self._read(name, limit_bytes)
        except DeniedError as error:
            raise Missing(str(error)) from None
        except TargetError as error:
            raise Missing(error.what) from None

    def _vmas(self) -> Vmas:
        before = self._resident_bytes()
        data = self._read("smaps", SMAPS_LIMIT_BYTES)
        vmas = parse_smaps(data)
        after = self._resident_bytes()
        if not len(vmas):
            raise GoneError(f"process {self.pid} has no memory: it is ending, or is a kernel thread")
        if before is not None and after is not None:
            vmas.residue_bytes = abs(after - before)
        return vmas

    def _resident_bytes(self) -> int | None:
        """RSS by statm, cheap but imprecise (Documentation/filesystems/proc.rst); only its change is used."""
        try:
            return text.parse_statm(self._read("statm"))[1] * self._page_bytes()
        except FormatError:
            return None

    def _page_bytes(self) -> int:
        return int(self._meta["page_bytes"]) if "page_bytes" in self._meta else os.sysconf("SC_PAGE_SIZE")

    def _process(self, stat: text.Stat) -> Process:
        try:
            exe: str | None = self.files.link(f"proc/{self.pid}/exe")
        except OSError:
            exe = None
        environ = attempt(lambda: text.parse_environ(self._missing("environ")))
        return Process(self.pid, stat.comm, exe, stat.start_ticks, stat.state, environ)

    def _build(self) -> Build:
        """From the executable's file; a recording has what was found in it."""
        if not self.files.live:
            return load_build(self._missing("exe.build"))
        path = self.files.path(f"proc/{self.pid}/exe")
        try:
            return build_of(path)
        except OSError as error:
            hint = "needs CAP_SYS_PTRACE" if error.errno in (EACCES, EPERM) else "the file cannot be opened"
            raise Missing(f"/proc/{self.pid}/exe: {(error.strerror or str(error)).lower()}; {hint}") from None
        except FormatError as error:
            raise Missing(f"/proc/{self.pid}/exe: {error}") from None

    def _status(self) -> Status:
        fields = text.parse_status(self._missing("status"))
        try:
            limits = text.parse_limits(self._missing("limits"))
        except (Missing, FormatError):
            limits = {}
        return Status(fields, limits)

    def _cgroup(self) -> Cgroup:
        from whyrss.sources.cgroup import collect_cgroup

        return collect_cgroup(self.files, self._missing("cgroup"))

    def _host(self) -> Host:
        return Host(
            self._meta.get("kernel") or os.uname().release,
            self._page_bytes(),
            self._optional("sys/kernel/mm/transparent_hugepage/enabled", text.parse_thp),
            self._optional("proc/swaps", lambda data: sum(size for _, size, _ in text.parse_swaps(data))),
        )

    def _optional(self, path: str, parse: Callable[[bytes], T]) -> T | None:
        try:
            return parse(self.files.read(path))
        except (OSError, FormatError):
            return None


def _same_namespace(files: Files) -> None:
    """A /proc of another PID namespace shows other processes under the same numbers."""
    try:
        shown = files.link("proc/self")
    except OSError as error:
        raise TargetError(
            f"/proc cannot be read: {error.strerror}", "whyrss needs Linux with /proc mounted"
        ) from None
    if shown != str(os.getpid()):
        raise TargetError(
            f"/proc shows another PID namespace (there, whyrss is {shown}; here it is {os.getpid()})",
            "mount the /proc of this namespace, or enter the other one: nsenter -t 1 -p -m whyrss PID",
        )


def _elsewhere(pid: int) -> str:
    """Where a PID that does not exist here is one inside a container, which process that is."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            fields = text.parse_status(LiveFiles().read(f"proc/{name}/status"))
        except (OSError, FormatError):
            continue
        if fields.get("NSpid", "").split()[1:] and fields["NSpid"].split()[-1] == str(pid):
            found.append(f"{name} ({fields.get('Name', '?')})")
    if found:
        return f"inside a container {pid} is the process that is seen here as {', '.join(found[:5])}"
    return "see ps -e for those that exist"
