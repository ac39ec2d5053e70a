"""What the Go runtime says of itself: the figures of MemStats, and where collector and scavenger stand.

Figures that cannot be true together (counters of another moment, an endpoint that lies) are found out here, so that
nothing is concluded from them.
"""

from __future__ import annotations

from whyrss.errors import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Rule = tuple[str, str]
    Contradiction = tuple[tuple[str, ...], str]

# Counters are read one after the other while the program runs: a difference below this is churn. A collection moves
# a few spans per size class and processor within the milliseconds of a reading.
SKEW_BYTES = 4 << 20
SKEW_SHARE = 20  # of the larger figure: 5 %

# The first is at most the second (runtime/mstats.go, the comments at MemStats; ReadMemStats holds the world for it).
AT_MOST: tuple[Rule, ...] = (
    ("HeapAlloc", "HeapInuse"),
    ("HeapInuse", "HeapSys"),
    ("HeapIdle", "HeapSys"),
    ("HeapReleased", "HeapIdle"),
    ("StackInuse", "StackSys"),
    ("MSpanInuse", "MSpanSys"),
    ("MCacheInuse", "MCacheSys"),
    ("HeapSys", "Sys"),
    ("heap_marked_bytes", "Sys"),
)
# The first is the sum of the others.
SUMS: tuple[tuple[str, ...], ...] = (("HeapSys", "HeapInuse", "HeapIdle"),)
SIGNED = ("gc_percent",)
EXACT = (("NumForcedGC", "NumGC"),)


class Runtime:
    """Figures by name: MemStats' by Go's names, the pacer's as in goheap.memstats.PACING, all in bytes but where the
    name says otherwise. `source` is memory, pprof, expvar or prometheus; `go_minor` 24 of Go 1.24, 0 where unknown;
    `places` (address, width) of those that are one number in the target's memory; `walked` what a walk of the heap
    found, where there was one."""

    __slots__ = ("_contradictions", "_figures", "go_minor", "places", "source", "walked")

    def __init__(
        self,
        figures: Mapping[str, int | float],
        source: str,
        go_minor: int = 0,
        *,
        walked: Mapping[str, int | float] | None = None,
        places: Mapping[str, tuple[int, int]] | None = None,
    ) -> None:
        self._figures = figures
        self.source = source
        self.go_minor = go_minor
        self.walked = walked or {}
        self.places = places or {}
        self._contradictions: list[Contradiction] | None = None

    def __getitem__(self, name: str) -> int:
        """Raises Missing where it was not read, or is part of a contradiction."""
        for names, text in self.contradictions:
            if name in names:
                raise Missing(text)
        if name not in self._figures:
            raise Missing(f"{name} is not among what this Go keeps, or was not found")
        return int(self._figures[name])

    def get(self, name: str) -> int | None:
        """The figure, or None where it is missing or contradicted."""
        try:
            return self[name]
        except Missing:
            return None

    @property
    def contradictions(self) -> list[Contradiction]:
        """(the figures that take part, one line for a person) of what cannot be true together."""
        if self._contradictions is None:
            self._contradictions = [*self._negative(), *self._larger(), *self._sums(), *self._not_walked()]
        return self._contradictions

    def _negative(self) -> list[Contradiction]:
        return [
            ((name,), f"{name} is {value}, which no such figure can be")
            for name, value in self._figures.items()
            if value < 0 and name not in SIGNED
        ]

    def _larger(self) -> list[Contradiction]:
        found: list[Contradiction] = []
        for names in (*AT_MOST, *EXACT):
            small, large = (self._figures.get(name) for name in names)
            skew = names not in EXACT
            if small is not None and large is not None and _above(small, large, skew):
                found.append((names, f"{names[0]} is {small:.0f} and {names[1]}, which contains it, {large:.0f}"))
        return found

    def _sums(self) -> list[Contradiction]:
        found: list[Contradiction] = []
        for names in SUMS:
            values = [self._figures.get(name) for name in names]
            if None in values:
                continue
            whole, *parts = (value or 0 for value in values)
            if _apart(whole, sum(parts)):
                text = f"{names[0]} is {whole:.0f}, but {' + '.join(names[1:])} is {sum(parts):.0f}"
                found.append((names, text))
        return found

    def _not_walked(self) -> list[Contradiction]:
        """Counters that are another heap's, or another moment's, than what was found page by page."""
        return [
            ((name,), f"{name} is {self._figures[name]:.0f} by the runtime's counter, but {walked:.0f} by its spans")
            for name, walked in self.walked.items()
            if name in ("HeapInuse", "HeapReleased") and _apart(self._figures.get(name, walked), walked)
        ]


def _above(small: float, large: float, skew: bool) -> bool:
    return small > large + (max(SKEW_BYTES, small / SKEW_SHARE) if skew else 0)


def _apart(one: float, other: float) -> bool:
    return abs(one - other) > max(SKEW_BYTES, max(one, other) / SKEW_SHARE)
