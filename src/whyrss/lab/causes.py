"""The causes that can be reproduced here, each with the programs that do it."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAMS = os.path.join(os.path.dirname(__file__), "programs")


class Experiment:
    """How a cause is produced: `about` for people, `environ` what a Go program needs to show it."""

    __slots__ = ("about", "environ", "name")

    def __init__(self, name: str, about: str, environ: Callable[[str], dict[str, str]]) -> None:
        self.name = name
        self.about = about
        self.environ = environ

    def python_argv(self, size_mib: int, live_mib: int) -> list[str]:
        """The program without Go."""
        return [sys.executable, "-m", f"whyrss.lab.programs.{self.name}", str(size_mib), str(live_mib)]

    @property
    def go_source(self) -> str:
        return os.path.join(PROGRAMS, f"{self.name}.go")


def _lazyfree_environ(go_version: str) -> dict[str, str]:
    """Go 1.12 to 1.15 do it by themselves."""
    from whyrss.policy import GoVersion, decide

    if decide(GoVersion.parse(go_version), os.uname().release, {}).advice == "MADV_FREE":
        return {}
    return {"GODEBUG": "madvdontneed=0"}


EXPERIMENTS = {
    "lazyfree": Experiment(
        "lazyfree",
        "memory given back with MADV_FREE stays in RSS until the kernel needs it",
        _lazyfree_environ,
    )
}
