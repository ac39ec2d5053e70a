"""whyrss policy GOVERSION | TARGET: what this Go, kernel and GODEBUG do with free heap pages, and why."""

from __future__ import annotations

import os
import sys

from whyrss.errors import Missing, TargetError, UsageError
from whyrss.policy import GoVersion, decide, fact_of, parse_godebug, parse_ldflags

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from whyrss.snapshot import Snapshot


def run(argv: list[str]) -> int:
    """Prints the policy. Raises UsageError for a version or kernel without a table, TargetError for a process
    that cannot be read."""
    from whyrss.show.policy import policy_document, render_policy

    arguments = _parser().parse_args(argv)
    find = _of_version if is_version(arguments.target) else _of_process
    go, kernel, godebug, settings = find(arguments)
    policy = decide(go, kernel, godebug, parse_ldflags(settings.get("-ldflags", ""), go))
    if find is _of_process and not policy.chosen_by.startswith("GODEBUG"):
        policy.steps += _unseen(go, settings)
    if arguments.json:
        import json

        sys.stdout.write(json.dumps(policy_document(policy, godebug), indent=2) + "\n")
    else:
        sys.stdout.write(render_policy(policy))
    return 0


def is_version(target: str) -> bool:
    """Whether a target is meant as a version of Go, right or wrong: go1.15, 1.15, devel go1.28-abcdef."""
    number = target.removeprefix("go")
    return target.startswith("devel ") or (number[:1].isdigit() and (number != target or "." in number))


def _parser() -> argparse.ArgumentParser:
    import argparse

    parser = argparse.ArgumentParser(
        prog="whyrss policy",
        description="What a Go program does with free heap pages on Linux, step by step, and why.",
    )
    parser.add_argument(
        "target", metavar="GOVERSION|TARGET", help="a release as in go1.15.15, or a process: PID, name"
    )
    parser.add_argument("--kernel", help="kernel release as in 4.4 (default: this machine's, or the process's)")
    parser.add_argument(
        "--godebug", help="its variable GODEBUG as in madvdontneed=1 (default: none, or the process's)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _of_version(arguments: argparse.Namespace) -> tuple[GoVersion, str, dict[str, str], Mapping[str, str]]:
    try:
        go = GoVersion.parse(arguments.target)
    except Missing as missing:
        raise UsageError(missing.reason) from None
    kernel = os.uname().release if arguments.kernel is None else arguments.kernel
    return go, kernel, parse_godebug(arguments.godebug or "", go), {}


def _of_process(arguments: argparse.Namespace) -> tuple[GoVersion, str, dict[str, str], Mapping[str, str]]:
    """Version, kernel, GODEBUG and build settings; what was asked for on the command line goes before what
    the process has."""
    from whyrss.snapshot import Build, Host
    from whyrss.sources import open_source

    snapshot = open_source(arguments.target).collect()
    hint = "for a version it is: whyrss policy GOVERSION"
    try:
        build = snapshot[Build]
        go = GoVersion.parse(_version(build.go_version))
        hint = "give it with --kernel"
        kernel = _kernel(snapshot[Host].kernel) if arguments.kernel is None else arguments.kernel
        hint = "give it with --godebug"
        godebug = parse_godebug(_godebug(snapshot) if arguments.godebug is None else arguments.godebug, go)
    except Missing as missing:
        raise TargetError(missing.reason, hint) from None
    return go, kernel, godebug, build.settings


def _unseen(go: GoVersion, settings: Mapping[str, str]) -> list[str]:
    """The step that says so where the build information cannot tell what was linked in."""
    exists, _ = fact_of(go.minor, "has_godebug_default")
    if not exists or "-ldflags" in settings or (settings and settings.get("-trimpath") != "true"):
        return []
    why = "it was built with -trimpath" if settings else "it has no build settings"
    return [
        f"Whether -X runtime.godebugDefault was linked in is not known: {why}; LazyFree above 0 in its smaps "
        "would tell [cmd/go/internal/load/pkg.go, Go 1.19 to 1.27; issue 52372]"
    ]


def _version(go_version: str | None) -> str:
    if not go_version:
        raise Missing("it is no Go program, or its version is not in the executable")
    return go_version


def _kernel(kernel: str | None) -> str:
    if not kernel:
        raise Missing("the kernel release was not read")
    return kernel


def _godebug(snapshot: Snapshot) -> str:
    from whyrss.snapshot import Process

    return snapshot[Process].environ.get("GODEBUG", "")
