"""What the Go runtime says of itself: the figures of MemStats, and where collector and scavenger stand.

Figures that cannot be true together (counters of another moment, an endpoint that lies) are found out here, so that
nothing is concluded from them.
"""

from __future__ import annotations

from whyrss.errors import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
WALKED = ("HeapInuse", "HeapReleased")
# Every figure is a number of 64 bits, with a sign or without.
LEAST, MOST = -(1 << 63), 1 << 64
DAYS_BEFORE = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)  # of the year, before each month


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

    def seconds_since_collection(self, taken_at: str) -> float:
        """From the end of the last collection to that moment ("2026-01-01T00:00:00Z"), both by the clock of the
        machine. Raises Missing."""
        return _unix(taken_at) - self["LastGC"] / 1e9

    @property
    def contradictions(self) -> list[Contradiction]:
        """(the figures that take part, one line for a person) of what cannot be true together."""
        if self._contradictions is None:
            self._contradictions = _contradictions(self._figures, self.walked)
        return self._contradictions


def _unix(moment: str) -> int:
    """Seconds since 1970 of a moment of UTC. Raises Missing. (datetime takes milliseconds to import.)"""
    day, _, clock = moment.rstrip("Z").partition("T")
    try:
        year, month, date = (int(word) for word in day.split("-"))
        hour, minute, second = (int(word) for word in clock.split(":"))
        if not (1970 <= year < 2100 and 1 <= month <= 12 and max(date, hour, minute, second) < 100):
            raise ValueError
    except ValueError:
        raise Missing("the time of the snapshot is not known") from None
    leap = month > 2 and year % 4 == 0  # as every fourth year from 1901 to 2099
    days = (year - 1970) * 365 + (year - 1969) // 4 + DAYS_BEFORE[month - 1] + leap + date - 1
    return ((days * 24 + hour) * 60 + minute) * 60 + second


def _contradictions(every: Mapping[str, int | float], walked: Mapping[str, int | float]) -> list[Contradiction]:
    figures = {name: value for name, value in every.items() if _is_possible(name, value)}
    impossible = [((name,), f"{name} is {_short(every[name])}") for name in every if name not in figures]
    return [*impossible, *_larger(figures), *_sums(figures), *_not_walked(figures, walked)]


def _is_possible(name: str, value: float) -> bool:
    """Whether a figure of that name can have the value; not a number is none."""
    return (LEAST if name in SIGNED else 0) <= value < MOST


def _short(value: float) -> str:
    """Not its digits where an integer has thousands of them."""
    return str(value) if -MOST < value < MOST or isinstance(value, float) else "a number of more than 64 bits"


def _larger(figures: Mapping[str, int | float]) -> Iterator[Contradiction]:
    for names in (*AT_MOST, *EXACT):
        small, large = (figures.get(name) for name in names)
        skew = names not in EXACT
        if small is not None and large is not None and _above(small, large, skew):
            yield names, f"{names[0]} is {small:.0f} and {names[1]}, which contains it, {large:.0f}"


def _sums(figures: Mapping[str, int | float]) -> Iterator[Contradiction]:
    for names in SUMS:
        if all(name in figures for name in names):
            whole, *parts = (figures[name] for name in names)
            if _apart(whole, sum(parts)):
                yield names, f"{names[0]} is {whole:.0f}, but {' + '.join(names[1:])} is {sum(parts):.0f}"


def _not_walked(figures: Mapping[str, int | float], walked: Mapping[str, int | float]) -> Iterator[Contradiction]:
    """Counters that are another heap's, or another moment's, than what was found page by page."""
    for name in WALKED:
        counted, found = figures.get(name), walked.get(name)
        if counted is not None and found is not None and _is_possible(name, found) and _apart(counted, found):
            yield (name,), f"{name} is {counted:.0f} by the runtime's counter, but {found:.0f} by its spans"


def _above(small: float, large: float, skew: bool) -> bool:
    return small > large + (max(SKEW_BYTES, small / SKEW_SHARE) if skew else 0)


def _apart(one: float, other: float) -> bool:
    return abs(one - other) > max(SKEW_BYTES, max(one, other) / SKEW_SHARE)
