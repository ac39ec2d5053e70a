"""What a cause says when it applies, and the record that a cause file ends with."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from whyrss.account import Account
    from whyrss.fix import Fix
    from whyrss.snapshot import Snapshot

PROBLEM = "problem"
NOTE = "note"


class Evidence:
    """One figure that speaks for a finding. `check` is a shell command that prints the same value."""

    __slots__ = ("check", "unit", "value", "what")

    def __init__(self, what: str, value: int | float | str, unit: str, check: str) -> None:
        self.what = what
        self.value = value
        self.unit = unit
        self.check = check


class Finding:
    """A cause that applies. `summary` is one sentence with {bytes} and {rss} where a view puts the sizes;
    `reclaimable_bytes` could leave RSS now; `affects` names the figures of an operator that it moves."""

    __slots__ = (
        "affects", "bytes", "cause", "confidence", "evidence", "fixes", "line", "reclaimable_bytes", "summary",
        "weight",
    )  # fmt: skip

    def __init__(
        self,
        *,
        cause: str,
        weight: str,
        line: str,
        size_bytes: int,
        reclaimable_bytes: int,
        affects: Sequence[str],
        confidence: str,
        summary: str,
        evidence: Sequence[Evidence],
        fixes: Sequence[Fix],
    ) -> None:
        self.cause = cause
        self.weight = weight
        self.line = line
        self.bytes = size_bytes
        self.reclaimable_bytes = reclaimable_bytes
        self.affects = affects
        self.confidence = confidence
        self.summary = summary
        self.evidence = evidence
        self.fixes = fixes


class Cause:
    """An entry of the catalogue. `look` gives a Finding, None where the cause does not apply, or raises the
    Missing that says why it could not be judged."""

    __slots__ = ("look", "name", "title")

    def __init__(self, name: str, title: str, look: Callable[[Snapshot, Account], Finding | None]) -> None:
        self.name = name
        self.title = title
        self.look = look
