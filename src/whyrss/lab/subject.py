"""A cause's program as a running process, in the state in which it has the cause."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from whyrss.errors import TargetError
from whyrss.lab import toolchain
from whyrss.lab.child import Child
from whyrss.lab.debian import quiet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from whyrss.lab.causes import Experiment

OWN_SETTINGS = ("GODEBUG", "GOGC", "GOMEMLIMIT", "GOMAXPROCS", "GOTRACEBACK")


@contextlib.contextmanager
def running(
    experiment: Experiment, go: str, size_mib: int, say: Callable[[str], None] = quiet
) -> Iterator[tuple[Child, str]]:
    """The program by that Go, ready, and the exact version of that Go ("go1.24.4"). Raises TargetError where it
    cannot be built or does not become ready."""
    tool = toolchain.find(go, say=say)
    version = toolchain.go_version(tool).split()[2]
    binary = toolchain.build(tool, Path(experiment.go_source))
    argv = [str(binary), str(size_mib), *experiment.arguments]
    environ = {**clean_environment(), **experiment.environ(version, size_mib)}
    with _group(experiment, size_mib), Child(argv, environ) as child:
        if experiment.after:
            experiment.after(child.pid)
        yield child, version


def clean_environment() -> dict[str, str]:
    """Ours, without what Go would take as settings."""
    return {name: value for name, value in os.environ.items() if name not in OWN_SETTINGS}


@contextlib.contextmanager
def _group(experiment: Experiment, size_mib: int) -> Iterator[None]:
    """A memory cgroup with the limit that the experiment wants; its program is started inside. Raises TargetError
    where there can be none."""
    if experiment.limit_mib is None:
        yield
        return
    from whyrss.lab.group import Group

    with Group() as group:
        if group.reason:
            raise TargetError(f"{experiment.name} needs a memory cgroup: {group.reason}")
        group.limit(experiment.limit_mib(size_mib) << 20)
        yield
