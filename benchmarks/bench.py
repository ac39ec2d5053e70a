"""What every measurement is given."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Mapping, Sequence

from benchmarks.installed import Installed
from benchmarks.launcher import Launcher
from benchmarks.report import Section
from benchmarks.rounds import Sample, measure

PMAP = "pmap -X"


class Bench:
    """`quick` makes the targets small, to try the benchmarks themselves."""

    __slots__ = ("installed", "launcher", "quick", "rounds")

    def __init__(self, installed: Installed, launcher: Launcher, rounds: int, quick: bool) -> None:
        self.installed = installed
        self.launcher = launcher
        self.rounds = rounds
        self.quick = quick

    def commands(self, title: str, anchor: str, commands: Mapping[str, Sequence[str]], rounds: int = 0) -> Section:
        """The commands side by side."""
        candidates: dict[str, Callable[[], Sample]] = {
            name: functools.partial(self.launcher.run, argv) for name, argv in commands.items()
        }
        return Section(title, anchor, measure(candidates, rounds or self.rounds, anchor))

    def explain(self, pid: int, *more: str) -> list[str]:
        """The command that is measured: every resident byte of the process, by VMA."""
        return [self.installed.whyrss, str(pid), "--basis", "vma", *more]


def pmap(pid: int) -> list[str]:
    """The anchor. Raises FileNotFoundError where it is not installed."""
    path = shutil.which("pmap")
    if not path:
        raise FileNotFoundError("pmap is not installed (package procps)")
    return [path, "-X", str(pid)]


def others(pid: int) -> dict[str, list[str]]:
    """What else people ask, where it is installed."""
    commands = {"cat smaps": [_path("cat"), f"/proc/{pid}/smaps"]}
    for name, argv in (
        ("ps_mem -p", ["ps_mem", "-p", str(pid)]),
        ("smem", ["smem", "-P", f"^{os.path.basename(os.readlink(f'/proc/{pid}/exe'))}"]),
    ):
        if shutil.which(argv[0]):
            commands[name] = [_path(argv[0]), *argv[1:]]
    return commands


def _path(name: str) -> str:
    return shutil.which(name) or f"/bin/{name}"
