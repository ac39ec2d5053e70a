"""The waist of the program: what a source found out, as plain records, each there or Missing with its reason.

Nothing here opens a file or asks the clock.
"""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.read.buildinfo import Build
from whyrss.read.smaps import Vma, Vmas

__all__ = [
    "Build", "Deferred", "Host", "HugePages", "Outside", "Process", "Snapshot", "Status", "Vma", "Vmas", "attempt",
]  # fmt: skip

NOT_ASKED_FOR = {"Heap": "only an account by page can tell"}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeVar

    T = TypeVar("T")

    class Source(Protocol):
        """Anything that can be asked for a snapshot."""

        def collect(self) -> Snapshot: ...


class Process:
    """Who the target is. `start_ticks` (field 22 of /proc/PID/stat, clock ticks since boot) tells two
    processes with the same PID apart. `exe` is None where the link could not be read."""

    __slots__ = ("_environ", "comm", "exe", "pid", "start_ticks", "state")

    def __init__(
        self,
        pid: int,
        comm: str,
        exe: str | None,
        start_ticks: int,
        state: str,
        environ: dict[str, str] | Missing,
    ) -> None:
        self.pid = pid
        self.comm = comm
        self.exe = exe
        self.start_ticks = start_ticks
        self.state = state
        self._environ = environ

    @property
    def environ(self) -> dict[str, str]:
        """The environment at its start (os.Setenv is not visible here). Raises Missing."""
        if isinstance(self._environ, Missing):
            raise self._environ
        return self._environ


class Host:
    """The machine: kernel release, base page size, the mode of transparent huge pages, and swap in bytes (total)."""

    __slots__ = ("kernel", "page_bytes", "swap_bytes", "thp")

    def __init__(self, kernel: str | None, page_bytes: int, thp: str | None, swap_bytes: int | None) -> None:
        self.kernel = kernel
        self.page_bytes = page_bytes
        self.thp = thp
        self.swap_bytes = swap_bytes


class HugePages:
    """How the machine makes huge pages: of the pages that make one, as many may be absent, for khugepaged to fill in
    (khugepaged/max_ptes_none; Documentation/admin-guide/mm/transhuge.rst)."""

    __slots__ = ("max_ptes_none",)

    def __init__(self, max_ptes_none: int) -> None:
        self.max_ptes_none = max_ptes_none


class Status:
    """/proc/PID/status, every field as text, and /proc/PID/limits as (soft, hard, unit); None is unlimited."""

    __slots__ = ("fields", "limits")

    def __init__(self, fields: dict[str, str], limits: dict[str, tuple[int | None, int | None, str]]) -> None:
        self.fields = fields
        self.limits = limits


class Outside:
    """What lies in anonymous memory that is not Go's: (start, end, path of the line in the account), by address."""

    __slots__ = ("labels",)

    def __init__(self, labels: list[tuple[int, int, tuple[str, ...]]]) -> None:
        self.labels = labels


class Deferred:
    """A section that is read when it is first asked for: what most verdicts do without, and what does not have
    to be of the same moment as the pages."""

    __slots__ = ("read",)

    def __init__(self, read: Callable[[], object]) -> None:
        self.read = read


class Snapshot:
    """What was found at one moment. `snapshot[Build]` is the section of that type, or raises the Missing that
    says why it could not be read. `sections` are by the name of their type, so that a type which nobody asks
    for need not be imported. `cat` is the shell command that prints a file of this snapshot, with `{}` for the
    path under /proc/PID; `target` is its PID, or where the recording lies."""

    __slots__ = ("_sections", "cat", "taken_at", "target")

    def __init__(self, taken_at: str, target: str, cat: str, sections: dict[str, object]) -> None:
        self.taken_at = taken_at
        self.target = target
        self.cat = cat
        self._sections = sections

    def __getitem__(self, section: type[T]) -> T:
        found = self._find(section)
        if isinstance(found, section):
            return found
        raise found if isinstance(found, Missing) else Missing(f"{section.__name__} was not read")

    def get(self, section: type[T]) -> T | None:
        """The section, or None where it is missing."""
        found = self._find(section)
        return found if isinstance(found, section) else None

    def need(self, name: str) -> None:
        """Raises the Missing that says why the section of that name is not there."""
        found = self._sections.get(name)
        if isinstance(found, Missing):
            raise found
        if found is None:
            raise Missing(NOT_ASKED_FOR.get(name, f"{name} was not read"))

    def asked_for(self, name: str) -> bool:
        """Whether the section of that name was to be read, with or without success."""
        return name in self._sections

    def _find(self, section: type) -> object:
        found = self._sections.get(section.__name__)
        if isinstance(found, Deferred):
            found = self._sections[section.__name__] = attempt(found.read)
        return found


def attempt(read: Callable[[], T]) -> T | Missing:
    """What `read` gives, or the Missing that it raises, as a value."""
    try:
        return read()
    except Missing as missing:
        return missing
