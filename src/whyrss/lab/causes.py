"""The causes that can be reproduced here, each with the program that does it and what it needs."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Settings = Callable[[str, int], dict[str, str]]

PROGRAMS = os.path.join(os.path.dirname(__file__), "programs")
CI_VERSIONS = ("1.15", "1.19", "1.21", "1.24", "1.27")
ALL_VERSIONS = ("1.15", "1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27")
SIZE_MIB = 128
PROBLEM, NOTE = "problem", "note"


class Experiment:
    """How a cause is produced.

    about       for people
    versions    the releases of Go that can have it ("1.24.4" where only some patch releases do)
    environ     what the program is started with, by ("go1.24.4", size in MiB)
    arguments   after the size
    after       what is done to the process once it is ready, by PID
    limit_mib   the limit of a memory cgroup around it, by its size in MiB; None for none
    weight      of the finding: a note's program is healthy
    program     the Go source, where it is not named like the cause
    beside      other causes that are true of the program too
    python      whether there is a program without Go
    """

    __slots__ = (
        "about", "after", "arguments", "beside", "environ", "limit_mib", "name", "program", "python", "versions",
        "weight",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        about: str,
        *,
        versions: tuple[str, ...] = ALL_VERSIONS,
        environ: Settings | None = None,
        arguments: tuple[str, ...] = (),
        after: Callable[[int], None] | None = None,
        limit_mib: Callable[[int], int] | None = None,
        weight: str = PROBLEM,
        program: str = "",
        beside: tuple[str, ...] = (),
        python: bool = False,
    ) -> None:
        self.name = name
        self.about = about
        self.versions = versions
        self.environ = environ or _nothing
        self.arguments = arguments
        self.after = after
        self.limit_mib = limit_mib
        self.weight = weight
        self.program = program or name
        self.beside = beside
        self.python = python

    def python_argv(self, size_mib: int, live_mib: int) -> list[str]:
        """The program without Go."""
        return [sys.executable, "-m", f"whyrss.lab.programs.{self.name}", str(size_mib), str(live_mib)]

    @property
    def go_source(self) -> str:
        return os.path.join(PROGRAMS, f"{self.program}.go")


def _nothing(go_version: str, size_mib: int) -> dict[str, str]:
    return {}


def _free(go_version: str, size_mib: int) -> dict[str, str]:
    """MADV_FREE: Go 1.12 to 1.15 use it by themselves."""
    from whyrss.policy import GoVersion, decide

    if decide(GoVersion.parse(go_version), os.uname().release, {}).advice == "MADV_FREE":
        return {}
    return {"GODEBUG": "madvdontneed=0"}


def _dontneed(go_version: str, size_mib: int) -> dict[str, str]:
    """MADV_DONTNEED, also where the release would use MADV_FREE."""
    return {} if _free(go_version, size_mib) else {"GODEBUG": "madvdontneed=1"}


EXPERIMENTS = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "lazyfree",
            "memory given back with MADV_FREE stays in RSS until the kernel needs it",
            environ=_free,
            beside=("leftover-madvdontneed",),
            python=True,
        ),
        Experiment(
            "scavenger-stuck",
            "with GOGC=off the scavenger has no goal, and free heap stays for good",
            environ=lambda go_version, size_mib: {"GOGC": "off"},
        ),
        Experiment("fragmentation", "one object in each span keeps its pages"),
    )
}
