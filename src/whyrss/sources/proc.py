"""A process by its files: live from /proc, or the same files in a recording."""

from __future__ import annotations

import os
import time

from whyrss.errors import DeniedError, FormatError, GoneError, Missing, TargetError
from whyrss.read import status as text
from whyrss.read.smaps import parse_smaps
from whyrss.snapshot import Build, Deferred, Host, HugePages, Process, Snapshot, Status, Vmas, attempt
from whyrss.sources.executable import build_of, load_build
from whyrss.sources.files import LiveFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from whyrss.read.cgroup import Cgroup
    from whyrss.sources.files import Files

    T = TypeVar("T")

THP = "sys/kernel/mm/transparent_hugepage"
HEAP_FILE = "heap"  # of a recording
HEAP_LIMIT_BYTES = 1 << 30
SMAPS_LIMIT_BYTES = 2 << 30  # 2.8 million VMAs; the default of vm.max_map_count is 65,530


class ProcSource:
    """One process. A live one is held by a pidfd and its start time, so that another process that gets its
    PID while we read is noticed. `files` is where its files are; `meta` is what a recording says of itself. With
    `freeze` a live Go program is stopped while its heap and pages are read."""

    def __init__(
        self,
        pid: int,
        files: Files | None = None,
        *,
        cat: str = "",
        meta: dict[str, str] | None = None,
        basis: str = "vma",
        freeze: bool = False,
    ) -> None:
        self.pid = pid
        self.files = files or LiveFiles()
        self._cat = cat or f"cat /proc/{pid}/{{}}"
        self._meta = meta or {}
        self._basis = basis
        self._freeze = freeze

    def collect(self) -> Snapshot:
        """Reads everything once. Raises GoneError, DeniedError or another TargetError with what to do."""
        pidfd = self._hold() if self.files.live else -1
        try:
            stat = self.stat()
            sections: dict[str, object] = {
                "Process": self._process(stat),
                "Build": attempt(self._build),
                "Host": self._host(),
                "HugePages": Deferred(self._huge_pages),
                "Status": Deferred(self._status),
                "Cgroup": Deferred(self._cgroup),
                "Vmas": self._vmas(),  # last: the kernel may be walking the pages meanwhile, see ahead
            }
            sections |= self._heap(sections, stat)
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
        snapshot.get(HugePages)
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
        if stat.state in "ZX" or stat.kernel_thread:
            from whyrss.sources.trouble import without_memory

            raise without_memory(stat)
        return stat

    def _hold(self) -> int:
        """A pidfd of the process, -1 where the kernel is older than 5.3: the start time alone has to do then.

        A /proc of another PID namespace shows other processes under the same numbers, so that is found out.
        """
        shown: str | OSError
        try:
            shown = self.files.link("proc/self")
        except OSError as error:
            shown = error
        if shown != str(os.getpid()):
            from whyrss.sources.trouble import other_namespace

            raise other_namespace(shown)
        try:
            return os.pidfd_open(self.pid)
        except OSError as error:
            from whyrss.sources.trouble import unheld

            gone = unheld(error, self.pid)
        if gone:
            raise gone
        return -1

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
            from whyrss.sources.trouble import unreadable

            raise unreadable(error, self.pid, name, self.files.live) from None

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
        if not self.files.live:  # a recording has one statm, and says itself how far RSS moved
            residue = self._meta.get("residue_bytes", "")
            vmas.residue_bytes = int(residue) if residue.isascii() and residue.isdigit() else None
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
            from whyrss.sources.trouble import no_executable

            raise Missing(f"/proc/{self.pid}/exe: {no_executable(error)}") from None
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
            self._optional(f"{THP}/enabled", text.parse_thp),
            self._optional("proc/swaps", lambda data: sum(size for _, size, _ in text.parse_swaps(data))),
        )

    def _huge_pages(self) -> HugePages:
        path = f"{THP}/khugepaged/max_ptes_none"
        found = self._optional(path, text.parse_count)
        if found is None:
            raise Missing(f"/{path} cannot be read")
        return HugePages(found)

    def _heap(self, sections: dict[str, object], stat: text.Stat) -> dict[str, object]:
        """The sections of an account by page, where one is wanted of a Go program."""
        build, vmas = sections["Build"], sections["Vmas"]
        if self._basis == "vma" or not isinstance(build, Build) or not isinstance(vmas, Vmas):
            return {}
        if not self.files.live:
            return self._heap_kept() if build.is_go else {}
        if not build.is_go:
            return self._heap_hidden(sections, vmas)
        from whyrss.sources.goheap import collect_heap

        vmas_again = self._vmas if self._freeze else None
        return collect_heap(self.pid, vmas, build, self._page_bytes(), lambda: self._same(stat), vmas_again)

    def _heap_hidden(self, sections: dict[str, object], vmas: Vmas) -> dict[str, object]:
        """Nothing, or why a Go heap that is there all the same is not read."""
        from whyrss.sources.hidden import hidden_go

        process = sections["Process"]
        reason = hidden_go(self.pid, vmas, process.exe if isinstance(process, Process) else None)
        if not reason:
            return {}
        from whyrss.sources.goheap import not_read

        return not_read(Missing(reason))

    def _heap_kept(self) -> dict[str, object]:
        """What a recording has of them; one without goes by VMA, as it did when it was made."""
        try:
            data = self.files.read(f"proc/{self.pid}/{HEAP_FILE}", HEAP_LIMIT_BYTES)
        except OSError:
            return {}
        from whyrss.sources.goheap import not_read
        from whyrss.sources.kept import load_heap

        try:
            return load_heap(data)
        except Missing as missing:
            return not_read(missing)

    def _optional(self, path: str, parse: Callable[[bytes], T]) -> T | None:
        try:
            return parse(self.files.read(path))
        except (OSError, FormatError):
            return None
