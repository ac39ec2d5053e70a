"""How far the model is from a real Go program: two documents of samples in, the errors at each phase's end out."""

from __future__ import annotations

from whyrss.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# The model is right where it is within a tenth of Go's figure: what it is asked for is which figure holds the memory
# and how much that is. Where a collection runs beside the program, or the scavenger is at work when a phase ends, two
# runs of one Go can differ by more than that; such a phase says little about the model.
BOUND_SHARE = 0.10
# Of a small figure a tenth says nothing: one chunk of the page allocator, by which Go 1.17 and later map the heap and
# which the scavenger leaves alone as a whole, may lie on either side (runtime/mpagealloc.go, pallocChunkBytes).
BOUND_BYTES = 4 << 20

BOUNDED = ("HeapSys", "HeapInuse", "HeapReleased", "rss_bytes", "lazyfree_bytes")
# HeapIdle follows from HeapSys and HeapInuse; the others move with when exactly a collection starts.
# What the background scavenger moves. While it is at work a figure is that of a moment: two runs of one Go differ by
# tens of MiB there, so it has no bound.
SCAVENGED = ("HeapReleased", "rss_bytes", "lazyfree_bytes")
INFORMATIONAL = ("HeapIdle", "HeapAlloc", "NumGC", "NextGC", "StackInuse")


class Row:
    """One figure at the end of one phase, of the model and of Go: bytes, NumGC a count. Its error counts where it is
    `bounded`; it is `moving` where it would be, were the scavenger not at work."""

    __slots__ = ("bounded", "figure", "go", "label", "model", "moving", "phase")

    def __init__(self, phase: int, label: str, figure: str, model: int, go: int, scavenging: bool = False) -> None:
        self.phase = phase
        self.label = label
        self.figure = figure
        self.model = model
        self.go = go
        self.moving = scavenging and figure in SCAVENGED
        self.bounded = figure in BOUNDED and not self.moving

    @property
    def difference(self) -> int:
        """What the model says too much."""
        return self.model - self.go

    @property
    def bound(self) -> float:
        """How far off it may be."""
        return max(BOUND_SHARE * abs(self.go), BOUND_BYTES)

    @property
    def within(self) -> bool:
        return abs(self.difference) <= self.bound

    @property
    def strain(self) -> float:
        """The error as a multiple of its bound; above 1 it is too large."""
        return abs(self.difference) / self.bound


class Comparison:
    """All rows in order of the phases; `go` is the version of the real program, `notes` what it did otherwise."""

    __slots__ = ("go", "notes", "rows")

    def __init__(self, go: str, rows: list[Row], notes: list[str]) -> None:
        self.go = go
        self.rows = rows
        self.notes = notes

    @property
    def bounded(self) -> list[Row]:
        return [row for row in self.rows if row.bounded]

    @property
    def ok(self) -> bool:
        """Whether every figure with a bound is within it."""
        return all(row.within for row in self.bounded)

    def worst(self) -> Row:
        """The figure that strains its bound the most, the first of equals."""
        return max(self.bounded, key=lambda row: row.strain)


def compare(model_document: Mapping[str, Any], go_document: Mapping[str, Any]) -> Comparison:
    """The model against Go. Raises UsageError where the two are not of the same phases, or lack a figure."""
    model, go = phase_ends(model_document), phase_ends(go_document)
    if not model or [_phase(sample) for sample in model] != [_phase(sample) for sample in go]:
        raise UsageError("the two documents are not of the same phases", "compare two runs of one scenario")
    rows = [
        Row(
            *_phase(ours),
            figure,
            _figure(ours, figure, "model"),
            _figure(theirs, figure, "Go program"),
            bool(ours.get("scavenging")),
        )
        for ours, theirs in zip(model, go, strict=True)
        for figure in BOUNDED + INFORMATIONAL
    ]
    version = go_document.get("go") or go_document["scenario"]["go"]
    return Comparison(str(version), rows, list(go_document.get("notes", [])))


def phase_ends(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The last sample of each phase, in order, without the start."""
    last = {sample["phase"]: sample for sample in document["samples"] if sample["phase"]}
    return [last[phase] for phase in sorted(last)]


def _phase(sample: Mapping[str, Any]) -> tuple[int, str]:
    return sample["phase"], sample["label"]


def _figure(sample: Mapping[str, Any], figure: str, whose: str) -> int:
    if figure not in sample:
        raise UsageError(f"the document of the {whose} has no {figure} in phase {sample['phase']}")
    return int(sample[figure])
