"""Go's runtime.MemStats as a record, and what always holds in it.

Fields and their order: runtime/mstats.go, MemStats, the same in Go 1.9 to 1.27. Sizes are bytes, times nanoseconds,
LastGC and PauseEnd since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict

from whyrss.facts.go import LAST_MINOR
from whyrss.facts.sizeclasses import ADDED, SIZES

PAUSES = 256  # runtime/mstats.go, MemStats.PauseNs and PauseEnd: rings
BY_SIZE_CLASSES = 61  # runtime/mstats.go, MemStats.BySize: fewer than there are size classes, for compatibility


class SizeClass(TypedDict):
    """One class of BySize: the bytes of an object, and cumulative counts of objects."""

    Size: int
    Mallocs: int
    Frees: int


class MemStats(TypedDict):
    """The fields by their Go names, in Go's order, which is the order of JSON."""

    Alloc: int
    TotalAlloc: int
    Sys: int
    Lookups: int
    Mallocs: int
    Frees: int
    HeapAlloc: int
    HeapSys: int
    HeapIdle: int
    HeapInuse: int
    HeapReleased: int
    HeapObjects: int
    StackInuse: int
    StackSys: int
    MSpanInuse: int
    MSpanSys: int
    MCacheInuse: int
    MCacheSys: int
    BuckHashSys: int
    GCSys: int
    OtherSys: int
    NextGC: int
    LastGC: int
    PauseTotalNs: int
    PauseNs: list[int]
    PauseEnd: list[int]
    NumGC: int
    NumForcedGC: int
    GCCPUFraction: float
    EnableGC: bool
    DebugGC: bool
    BySize: list[SizeClass]


Invariant = tuple[str, Callable[[MemStats], bool]]

# Each was measured under load on Go 1.12, 1.15, 1.18, 1.19, 1.21, 1.22, 1.24 and 1.27 without a violation, or follows
# from how runtime/mstats.go, readmemstats_m computes the figures. What people take for one and is none:
# HeapAlloc <= NextGC, "HeapSys never falls", "Sys never falls".
INVARIANTS: tuple[Invariant, ...] = (
    (
        "Sys == HeapSys + StackSys + MSpanSys + MCacheSys + BuckHashSys + GCSys + OtherSys",
        lambda s: s["Sys"]
        == s["HeapSys"]
        + s["StackSys"]
        + s["MSpanSys"]
        + s["MCacheSys"]
        + s["BuckHashSys"]
        + s["GCSys"]
        + s["OtherSys"],
    ),
    ("HeapSys == HeapIdle + HeapInuse", lambda s: s["HeapSys"] == s["HeapIdle"] + s["HeapInuse"]),
    ("HeapReleased <= HeapIdle", lambda s: s["HeapReleased"] <= s["HeapIdle"]),
    ("HeapAlloc == Alloc", lambda s: s["HeapAlloc"] == s["Alloc"]),
    ("HeapAlloc <= HeapInuse", lambda s: s["HeapAlloc"] <= s["HeapInuse"]),
    ("Alloc <= TotalAlloc", lambda s: s["Alloc"] <= s["TotalAlloc"]),
    ("HeapObjects == Mallocs - Frees", lambda s: s["HeapObjects"] == s["Mallocs"] - s["Frees"]),
    ("StackInuse <= StackSys", lambda s: s["StackInuse"] <= s["StackSys"]),
    ("MSpanInuse <= MSpanSys", lambda s: s["MSpanInuse"] <= s["MSpanSys"]),
    ("MCacheInuse <= MCacheSys", lambda s: s["MCacheInuse"] <= s["MCacheSys"]),
    ("Lookups == 0", lambda s: s["Lookups"] == 0),  # since Go 1.11; before, it counted
    ("NumForcedGC <= NumGC", lambda s: s["NumForcedGC"] <= s["NumGC"]),
    ("no figure is negative", lambda s: min(_figures(s)) >= 0),
    (
        f"PauseNs and PauseEnd have {PAUSES} entries",
        lambda s: len(s["PauseNs"]) == len(s["PauseEnd"]) == PAUSES,
    ),
    (f"BySize has {BY_SIZE_CLASSES} classes", lambda s: len(s["BySize"]) == BY_SIZE_CLASSES),
    ("Frees <= Mallocs in each class of BySize", lambda s: all(c["Frees"] <= c["Mallocs"] for c in s["BySize"])),
    # Large and tiny objects are in no class of BySize.
    ("Mallocs of BySize <= Mallocs", lambda s: sum(c["Mallocs"] for c in s["BySize"]) <= s["Mallocs"]),
    ("Frees of BySize <= Frees", lambda s: sum(c["Frees"] for c in s["BySize"]) <= s["Frees"]),
)


def violated(stats: MemStats) -> list[str]:
    """The invariants that do not hold, as they are written in INVARIANTS; [] where all hold."""
    return [name for name, holds in INVARIANTS if not holds(stats)]


def empty(minor: int = LAST_MINOR) -> MemStats:
    """All figures 0 (in Go EnableGC is always true, here it is not), BySize with the classes of Go 1.`minor`."""
    return MemStats(
        Alloc=0,
        TotalAlloc=0,
        Sys=0,
        Lookups=0,
        Mallocs=0,
        Frees=0,
        HeapAlloc=0,
        HeapSys=0,
        HeapIdle=0,
        HeapInuse=0,
        HeapReleased=0,
        HeapObjects=0,
        StackInuse=0,
        StackSys=0,
        MSpanInuse=0,
        MSpanSys=0,
        MCacheInuse=0,
        MCacheSys=0,
        BuckHashSys=0,
        GCSys=0,
        OtherSys=0,
        NextGC=0,
        LastGC=0,
        PauseTotalNs=0,
        PauseNs=[0] * PAUSES,
        PauseEnd=[0] * PAUSES,
        NumGC=0,
        NumForcedGC=0,
        GCCPUFraction=0.0,
        EnableGC=False,
        DebugGC=False,
        BySize=[SizeClass(Size=size, Mallocs=0, Frees=0) for size in _sizes(minor)],
    )


def _sizes(minor: int) -> list[int]:
    """Bytes of an object of each class that BySize covers, class 0 included."""
    later = {size for since, size in ADDED if since > minor}
    return [size for size in SIZES if size not in later][:BY_SIZE_CLASSES]


def _figures(stats: MemStats) -> list[float]:
    figures: list[float] = [value for value in stats.values() if isinstance(value, (int, float))]
    counts = [count for each in stats["BySize"] for count in (each["Size"], each["Mallocs"], each["Frees"])]
    return figures + stats["PauseNs"] + stats["PauseEnd"] + counts
