"""What an experiment says before it is run, and the row of the table that it becomes."""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.policy import kernel_fact_of, parse_kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Measured = dict[str, int | str]

# A kernel that marks the pages of MADV_FREE, with swap and without, and counts them in smaps: Linux 4.12.
LAZY: dict[str, str | bool] = {"MADV_FREE": True, "free_pages": "lazy", "smaps_lazyfree": True}


class Experiment:
    """`measure` runs in a process of its own, where `Missing` says that it cannot be tried here. `holds` judges
    what it measured. `needs`: facts of facts/kernel.py, with the values without which it means nothing."""

    __slots__ = ("because", "expected", "holds", "measure", "name", "needs", "what")

    def __init__(
        self,
        name: str,
        what: str,
        expected: str,
        because: str,
        measure: Callable[[], Measured],
        holds: Callable[[Measured], bool],
        needs: dict[str, str | bool] | None = None,
    ) -> None:
        self.name = name
        self.what = what
        self.expected = expected
        self.because = because
        self.measure = measure
        self.holds = holds
        self.needs = needs or {}

    def unmet(self, kernel: str) -> str:
        """Why it cannot be tried on that kernel release; "" where it can."""
        release = parse_kernel(kernel)
        for fact, wanted in self.needs.items():
            try:
                value, source = kernel_fact_of(release, fact)
            except Missing as missing:
                return missing.reason
            if value != wanted:
                return f"Linux {release[0]}.{release[1]}: {fact} is {value!r}, not {wanted!r} [{source}]"
        return ""


class Row:
    """One line of the table. `holds` is None where it could not be tried, and `reason` says why. What is measured
    are bytes (*_bytes), pages (*_pages), words."""

    __slots__ = ("because", "expected", "holds", "measured", "name", "reason", "what")

    def __init__(self, experiment: Experiment, measured: Measured | None, reason: str = "") -> None:
        self.name = experiment.name
        self.what = experiment.what
        self.expected = experiment.expected
        self.because = experiment.because
        self.measured = measured or {}
        self.reason = reason
        self.holds = experiment.holds(measured) if measured is not None else None

    def as_dict(self) -> dict[str, object]:
        """The row with the keys of its attributes."""
        return {
            key: getattr(self, key) for key in ("name", "what", "expected", "measured", "holds", "because", "reason")
        }
