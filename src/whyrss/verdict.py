"""The whole program on one page."""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.finding import CONFIDENCES, NOTE, PROBLEM
from whyrss.mappings import account_by_vma
from whyrss.snapshot import Build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from whyrss.account import Account, Line
    from whyrss.finding import Entry, Finding
    from whyrss.snapshot import Snapshot, Source


# What earlier findings leave of a line is worth another one from here on: less is rounding, churn between two
# figures, and explains nothing of RSS.
LEAST_LEFT_BYTES = 4 << 20
LEAST_LEFT_SHARE = 20
# And it can be a problem of its own from here on: what most causes call one.
PROBLEM_LEFT_BYTES = 32 << 20
PROBLEM_LEFT_SHARE = 4


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


class Claims:
    """What findings have claimed of the account, so that no byte is claimed twice and no line for more than it
    holds."""

    def __init__(self, root: Line) -> None:
        self._root = root
        self._taken: dict[str, int] = {}

    def left_bytes(self, line: str) -> int:
        """What of a line nobody has claimed, be it as a part of the line above or below."""
        above = [""] + [line[:at] for at, char in enumerate(line) if char == "/"] + [line]
        return max(0, min(self._of(path) - self._within(path) for path in above))

    def claim(self, line: str, size_bytes: int) -> None:
        self._taken[line] = self._taken.get(line, 0) + size_bytes

    def _of(self, path: str) -> int:
        return self._root.bytes_of(path) if path else self._root.bytes

    def _within(self, path: str) -> int:
        return sum(size for line, size in self._taken.items() if not path or f"{line}/".startswith(f"{path}/"))


def diagnose(snapshot: Snapshot, account: Account, causes: Sequence[Entry]) -> Diagnosis:
    """Every cause asked once, in the order in which they may claim bytes. Problems first, then by what can be got
    back, and by how sure they are."""
    diagnosis, claims = Diagnosis(), Claims(account.root)
    for cause in causes:
        try:
            finding = _look(cause, snapshot, account)
        except Missing as missing:
            diagnosis.not_checked.append((cause.name, missing.reason))
            continue
        if finding is None or not _claimed(finding, claims, account.rss_bytes):
            diagnosis.silent.append(cause.name)
        else:
            diagnosis.findings.append(finding)
    diagnosis.findings.sort(key=_rank)
    return diagnosis


def _look(cause: Entry, snapshot: Snapshot, account: Account) -> Finding | None:
    """What a cause says; None, without asking it, where it cannot apply. Raises Missing."""
    build = snapshot.get(Build)
    if not cause.any_program and build is not None and not build.is_go:
        return None
    snapshot.need(cause.section)
    return cause.load().look(snapshot, account) if cause.gate(snapshot, account) else None


def _claimed(finding: Finding, claims: Claims, rss_bytes: int) -> bool:
    """Gives a finding what is left of its line; False where earlier ones have left too little to speak of. Its
    weight was that of all that it asked for: the rest may be worth a note only."""
    asked_bytes, left_bytes = finding.bytes, claims.left_bytes(finding.line)
    if left_bytes < asked_bytes:
        if left_bytes < LEAST_LEFT_BYTES or left_bytes * LEAST_LEFT_SHARE < rss_bytes:
            return False
        if left_bytes < PROBLEM_LEFT_BYTES or left_bytes * PROBLEM_LEFT_SHARE < rss_bytes:
            finding.weight = NOTE
        finding.bytes = left_bytes
        finding.reclaimable_bytes = min(finding.reclaimable_bytes, left_bytes)
    claims.claim(finding.line, finding.bytes)
    return True


def _rank(finding: Finding) -> tuple[bool, int, int, int]:
    sure = CONFIDENCES.index(finding.confidence)
    return finding.weight != PROBLEM, -finding.reclaimable_bytes, sure, -finding.bytes
