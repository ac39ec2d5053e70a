"""What a cause says when it applies, and the record that a cause file ends with."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from whyrss.account import Account
    from whyrss.fix import Fix
    from whyrss.snapshot import Snapshot

    Gate = Callable[[Snapshot, Account], bool]

PROBLEM = "problem"
NOTE = "note"
CONFIDENCES = ("certain", "likely", "possible")  # the surest first


class Evidence:
    """One figure that speaks for a finding. `check` is a shell command that prints the same value."""

    __slots__ = ("check", "unit", "value", "what")

    def __init__(self, what: str, value: int | float | str, unit: str, check: str) -> None:
        self.what = what
        self.value = value
        self.unit = unit
        self.check = check


class Finding:
    """A cause that applies. `summary` is one sentence with {bytes} and {rss} where a view puts the sizes, and {first}
    for the first figure of the evidence, which is in bytes then; `reclaimable_bytes` could leave RSS now; `affects`
    names the figures of an operator that it moves."""

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


class Entry:
    """A cause of the catalogue whose file need not be imported to know that it does not apply: `gate` says whether
    it is worth a look; `section` is what it cannot be judged without; `any_program` whether it may apply to one that
    is not Go's."""

    __slots__ = ("any_program", "gate", "name", "section")

    def __init__(self, name: str, gate: Gate, *, section: str = "Heap", any_program: bool = False) -> None:
        self.name = name
        self.gate = gate
        self.section = section
        self.any_program = any_program

    def load(self) -> Cause:
        module = __import__(f"whyrss.causes.{self.name.replace('-', '_')}", fromlist=["CAUSE"])
        cause: Cause = module.CAUSE
        return cause
