"""`whyrss TARGET`: explain. Its arguments are read by hand: argparse costs as much as the whole verdict."""

from __future__ import annotations

import os
import sys

from whyrss.errors import TargetError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from whyrss.sources.names import Match
    from whyrss.verdict import Verdict

NOT_GO = "that is for Go programs"
WEIGHTS = ("note", "problem")
FLAGS = {"--json": "json", "--no-color": "plain", "--freeze": "freeze", "-p": "pid", "--pid": "pid"}
VALUES = {"--basis": ("auto", "page", "vma"), "--fail-on": WEIGHTS}


class Options:
    """The parsed command line."""

    __slots__ = ("basis", "fail_on", "freeze", "json", "pid", "plain", "target")

    def __init__(self) -> None:
        self.target = ""
        self.freeze = self.json = self.pid = self.plain = False
        self.basis = "auto"
        self.fail_on = ""


def run(argv: list[str]) -> int:
    options = parse(argv)
    from whyrss.sources import open_source
    from whyrss.verdict import why

    show = _view(options)  # imported while the kernel walks the pages, see ahead
    verdict = why(
        open_source(options.target, pid=options.pid, choose=_choose, basis=options.basis, freeze=options.freeze)
    )
    if options.basis == "page" and verdict.account.basis != "page":
        raise TargetError(f"no account by page: {verdict.account.basis_reason or NOT_GO}", "--basis auto goes by VMA")
    sys.stdout.write(show(verdict))
    return 1 if _reached(verdict, options.fail_on) else 0


def parse(argv: list[str]) -> Options:
    """Raises UsageError."""
    options = Options()
    words = list(argv)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word in FLAGS:
            setattr(options, FLAGS[word], True)
        elif name in VALUES:
            if not equals:
                value = words.pop(0) if words else ""
            if value not in VALUES[name]:
                raise UsageError(f"{name} takes one of {', '.join(VALUES[name])}, not {value!r}")
            setattr(options, name[2:].replace("-", "_"), value)
        elif word.startswith("-") and word != "--":
            raise UsageError(f"unknown option {word}", "see whyrss --help")
        elif options.target:
            raise UsageError(f"one target at a time, not {options.target} and {word}", "see whyrss --help")
        else:
            options.target = (words.pop(0) if words else "") if word == "--" else word
    if not options.target:
        raise UsageError("no target", "whyrss PID, whyrss NAME or whyrss RECORDING; see whyrss --help")
    if options.freeze and options.basis == "vma":
        raise UsageError("--freeze is for an account by page", "leave out --basis vma, or --freeze")
    return options


def _view(options: Options) -> Callable[[Verdict], str]:
    if options.json:
        from whyrss.show import json

        return json.show
    from whyrss.show import text

    colours = not options.plain and "NO_COLOR" not in os.environ and sys.stdout.isatty()
    return lambda verdict: text.show(verdict, colours=colours)


def _reached(verdict: Verdict, weight: str) -> bool:
    """Whether a finding is at least as heavy as --fail-on says."""
    if not weight:
        return False
    wanted = WEIGHTS[WEIGHTS.index(weight) :]
    return any(finding.weight in wanted for finding in verdict.diagnosis.findings)


def _choose(name: str, matches: list[Match]) -> int:
    """Asks, or without a terminal lets open_source's error name the processes."""
    from whyrss.show.choose import choose

    return choose(name, matches)
