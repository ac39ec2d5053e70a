"""The whole program on one page."""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.finding import PROBLEM
from whyrss.mappings import account_by_vma

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from whyrss.account import Account
    from whyrss.finding import Cause, Finding
    from whyrss.snapshot import Snapshot, Source


class Diagnosis:
    """The catalogue after a look at one process: each cause is in exactly one of the three."""

    __slots__ = ("findings", "not_checked", "silent")

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.silent: list[str] = []
        self.not_checked: list[tuple[str, str]] = []


class Verdict:
    """A snapshot, its account and what is wrong with it."""

    __slots__ = ("account", "diagnosis", "snapshot")

    def __init__(self, snapshot: Snapshot, account: Account, diagnosis: Diagnosis) -> None:
        self.snapshot = snapshot
        self.account = account
        self.diagnosis = diagnosis

    @property
    def healthy(self) -> bool:
        """No finding is a problem, and nothing could not be judged."""
        problems = any(finding.weight == PROBLEM for finding in self.diagnosis.findings)
        return not problems and not self.diagnosis.not_checked


def why(source: Source) -> Verdict:
    """Where the resident bytes of a source are, and why. Raises TargetError where it cannot be read."""
    from whyrss.causes import CAUSES

    snapshot = source.collect()
    account = account_for(snapshot)
    return Verdict(snapshot, account, diagnose(snapshot, account, CAUSES))


def account_for(snapshot: Snapshot) -> Account:
    """By page, where that was asked for and could be read, else by VMA with the reason. Raises Missing."""
    if not snapshot.asked_for("Heap"):
        return account_by_vma(snapshot)
    from whyrss.bypage import account_by_page

    try:
        return account_by_page(snapshot)
    except Missing as missing:
        return account_by_vma(snapshot, missing.reason)


def diagnose(snapshot: Snapshot, account: Account, causes: Sequence[Cause]) -> Diagnosis:
    """Every cause asked once; problems first, then by what could be reclaimed."""
    diagnosis = Diagnosis()
    for cause in causes:
        try:
            finding = cause.look(snapshot, account)
        except Missing as missing:
            diagnosis.not_checked.append((cause.name, missing.reason))
            continue
        if finding is None:
            diagnosis.silent.append(cause.name)
        else:
            diagnosis.findings.append(finding)
    diagnosis.findings.sort(key=lambda finding: (finding.weight != PROBLEM, -finding.reclaimable_bytes))
    return diagnosis
