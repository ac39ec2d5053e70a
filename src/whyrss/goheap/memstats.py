"""runtime.MemStats, and where the collector stands, without asking the program.

Two ways to the same figures: by walking the heap, and from the counters that the runtime keeps for itself, where
the layout knows them (runtime/mstats.go, readmemstats_m; mgcpacer.go).
"""

from __future__ import annotations

from whyrss.goheap.bits import IDLE, PAGE_BYTES, RELEASED, STACK, TRANSITION, UNMAPPED, WORKBUF

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.goheap.counters import Counters
    from whyrss.goheap.spans import Spans

    Figures = dict[str, int | float]

# Up to Go 1.16 the rest of the current arena counts as idle and released (runtime/mheap.go, grow); later it is
# counted when it is used (commit bd6aeca968).
REST_IS_RELEASED_UNTIL = 16
# From Go 1.26 on the first pages of the heap are skipped to make its base random, and stay released
# (runtime/mheap.go, allocNeedsZero and grow with GOEXPERIMENT randomizedheapbase64).
PADDED_SINCE = 26

# Up to Go 1.15 stacks_inuse and gc_sys are kept up to date; later mstats.stacks_inuse is written by ReadMemStats
# alone, if there is one, and heapStats holds the truth (runtime/mstats.go).
COUNTS_MANUAL_UNTIL = 15

# Field of MemStats: (structure, field) of a plain counter, the first that the release has.
PLAIN: dict[str, tuple[tuple[str, str], ...]] = {
    "MSpanSys": (("mstats", "mspan_sys"),),
    "MCacheSys": (("mstats", "mcache_sys"),),
    "BuckHashSys": (("mstats", "buckhash_sys"),),
    "OtherSys": (("mstats", "other_sys"),),
    "NumGC": (("mstats", "numgc"),),
    "NumForcedGC": (("mstats", "numforcedgc"),),
    "LastGC": (("mstats", "last_gc_unix"),),
    "PauseTotalNs": (("mstats", "pause_total_ns"),),
    "HeapSys": (("mstats", "heap_sys"),),
    "HeapInuse": (("pacer", "heapInUse"), ("mstats", "heap_inuse")),
    "HeapReleased": (("pacer", "heapReleased"), ("mstats", "heap_released")),
    "TotalAlloc": (("pacer", "totalAlloc"),),
    "NextGC": (("mstats", "next_gc"), ("pacer", "heapGoal")),
}
PACING: dict[str, tuple[tuple[str, str], ...]] = {
    "heap_minimum_bytes": (("pacer", "heapMinimum"),),
    "heap_marked_bytes": (("pacer", "heapMarked"), ("mstats", "heap_marked")),
    "heap_live_bytes": (("pacer", "heapLive"), ("mstats", "heap_live")),
    "gc_percent_goal_bytes": (("pacer", "gcPercentHeapGoal"),),
    "goal_bytes": (("pacer", "heapGoal"), ("mstats", "next_gc")),
    "last_goal_bytes": (("pacer", "lastHeapGoal"), ("mstats", "last_next_gc")),
    "last_heap_in_use_bytes": (("mstats", "lastHeapInUse"), ("mstats", "last_heap_inuse")),
    "triggered_bytes": (("pacer", "triggered"),),
    "mapped_ready_bytes": (("pacer", "mappedReady"),),
    "scavenge_goal_bytes": (("mheap", "scavengeGoal"),),
    "stack_scan_bytes": (("pacer", "lastStackScan"), ("pacer", "maxStackScan")),
    "globals_scan_bytes": (("pacer", "globalsScan"),),
}
OFF = (1 << 64) - 1
# Overwritten by what the runtime computes anew each time.
COMPUTED = ("NextGC",)

# The goal under a memory limit leaves room: 1 MiB, and from Go 1.21 on at least 3 % of it (runtime/mgcpacer.go,
# memoryLimitHeapGoal).
HEADROOM_BYTES = 1 << 20
HEADROOM_PERCENT = 3
HEADROOM_PERCENT_SINCE = 21
MIN_RUNWAY_BYTES = 64 << 10


def walked(minor: int, spans: Spans, pages: dict[int, int], padding_pages: int) -> Figures:
    """The figures that follow from the spans and the pages of each kind."""
    sums = spans.sums()
    released = pages[RELEASED]
    released += pages[UNMAPPED] if minor <= REST_IS_RELEASED_UNTIL else 0
    released += min(padding_pages, pages[TRANSITION]) if minor >= PADDED_SINCE else 0
    in_use, idle = sums.in_use_pages * PAGE_BYTES, (pages[IDLE] + released) * PAGE_BYTES
    return {
        "HeapAlloc": sums.allocated_bytes,
        "HeapInuse": in_use,
        "HeapIdle": idle,
        "HeapReleased": released * PAGE_BYTES,
        "HeapSys": in_use + idle,
        "HeapObjects": sums.objects,
        "StackInuse": pages[STACK] * PAGE_BYTES,
        "WorkBufs": pages[WORKBUF] * PAGE_BYTES,
    }


def memstats(counters: Counters, walk: Figures, minor: int) -> Figures:
    """MemStats by Go's names; a field that cannot be read is absent. Counters go before the walk, which a running
    program may have changed on the way; only objects are counted by the walk, for the runtime itself counts them
    when it has stopped the program."""
    stats = counters.stats()
    found: Figures = {name: value for name, value in walk.items() if name != "WorkBufs"}
    found.update({name: value for name, choices in PLAIN.items() if (value := counters.get(*choices)) is not None})
    found.update(_given_out(counters))
    _idle(counters, found, walk)
    _manual(counters, found, stats, int(walk["WorkBufs"]), minor)
    _objects(found, stats)
    goal = heap_goal(counters, int(walk["HeapAlloc"]), minor)
    if goal is not None:
        found["NextGC"] = goal
    fraction = counters.real("mstats", "gc_cpu_fraction")
    if fraction is not None:
        found["GCCPUFraction"] = fraction
    parts = ("HeapSys", "StackSys", "MSpanSys", "MCacheSys", "BuckHashSys", "GCSys", "OtherSys")
    if all(part in found for part in parts):
        found["Sys"] = sum(found[part] for part in parts)
    return {**found, "Alloc": found["HeapAlloc"], "Lookups": 0}


def pacing(counters: Counters) -> dict[str, int]:
    """Where the collector stands; what cannot be read is absent. `gc_percent` is -1 for off, `memory_limit_bytes`
    absent where the release has none and math.MaxInt64 for none."""
    found = {name: value for name, choices in PACING.items() if (value := counters.get(*choices)) is not None}
    for name, field in (("gc_percent", "gcPercent"), ("memory_limit_bytes", "memoryLimit")):
        value = counters.signed("pacer", field)
        if value is not None:
            found[name] = value
    return found


def places(counters: Counters, found: Figures) -> dict[str, tuple[int, int]]:
    """(address, width in bytes) of the figures that are one number in memory, so that anyone can look at them."""
    settings = {"memory_limit_bytes": (("pacer", "memoryLimit"),), "gc_percent": (("pacer", "gcPercent"),)}
    tables = {**PLAIN, **PACING, **settings}
    at = {name: counters.place(*choices) for name, choices in tables.items() if name in found}
    return {name: place for name, place in at.items() if place and place[1] in (4, 8) and name not in COMPUTED}


def heap_goal(counters: Counters, allocated_bytes: int, minor: int) -> int | None:
    """The goal of Go 1.19 and later, which the runtime computes anew each time (runtime/mgcpacer.go,
    heapGoalInternal)."""
    goal, limit = counters.get(("pacer", "gcPercentHeapGoal")), counters.signed("pacer", "memoryLimit")
    if goal is None or limit is None:
        return None
    limited = limit_goal(counters, limit, allocated_bytes, minor)
    if limited is not None and limited < goal:
        return limited
    goal = max(goal, counters.get(("pacer", "sweepDistMinTrigger")) or 0)
    triggered = counters.get(("pacer", "triggered"))
    if triggered is not None and triggered != OFF:
        goal = max(goal, triggered + MIN_RUNWAY_BYTES)
    return goal


def limit_goal(counters: Counters, limit: int, allocated_bytes: int, minor: int) -> int | None:
    """The goal that the memory limit sets (runtime/mgcpacer.go, memoryLimitHeapGoal)."""
    mapped, free = counters.get(("pacer", "mappedReady")), counters.get(("pacer", "heapFree"))
    marked = counters.get(("pacer", "heapMarked"))
    if mapped is None or free is None or marked is None:
        return None
    taken, freed = counters.get(("pacer", "totalAlloc")), counters.get(("pacer", "totalFree"))
    in_use = allocated_bytes if taken is None or freed is None else taken - freed
    other = max(mapped - free - in_use, 0) + max(mapped - limit, 0)
    if other >= limit:
        return marked
    goal = limit - other
    room = HEADROOM_BYTES
    if minor >= HEADROOM_PERCENT_SINCE:
        room = max(goal // 100 * HEADROOM_PERCENT, room)
    return max(room if goal < 2 * room else goal - room, marked)


def _given_out(counters: Counters) -> Figures:
    pairs = (("MSpanInuse", "spanalloc"), ("MCacheInuse", "cachealloc"))
    return {name: value for name, allocator in pairs if (value := counters.fixalloc_in_use(allocator)) is not None}


def _idle(counters: Counters, found: Figures, walk: Figures) -> None:
    """HeapIdle and HeapSys: from Go 1.19 on free + released, before that heap_sys - heap_inuse."""
    free = counters.get(("pacer", "heapFree"))
    if free is not None:
        found["HeapIdle"] = free + found["HeapReleased"]
        found["HeapSys"] = found["HeapInuse"] + found["HeapIdle"]
    elif counters.get(*PLAIN["HeapInuse"]) is not None and counters.get(*PLAIN["HeapSys"]) is not None:
        found["HeapIdle"] = found["HeapSys"] - found["HeapInuse"]
    else:
        found.update({name: walk[name] for name in ("HeapSys", "HeapIdle")})


def _manual(counters: Counters, found: Figures, stats: dict[str, int], workbufs_bytes: int, minor: int) -> None:
    """What manual spans are counted in: StackInuse and StackSys, GCSys."""
    stacks = counters.get(("mstats", "stacks_inuse")) if minor <= COUNTS_MANUAL_UNTIL else stats.get("inStacks")
    if stacks is not None:
        found["StackInuse"] = stacks
    own = counters.get(("mstats", "stacks_sys"))
    if own is not None:
        found["StackSys"] = found["StackInuse"] + own
    whole, rest = counters.get(("mstats", "gc_sys")), counters.get(("mstats", "gcMiscSys"))
    if rest is not None:
        in_queues = stats["inWorkBufs"] + stats.get("inPtrScalarBits", 0) if "inWorkBufs" in stats else workbufs_bytes
        found["GCSys"] = rest + in_queues
    elif whole is not None:
        found["GCSys"] = whole


def _objects(found: Figures, stats: dict[str, int]) -> None:
    """Mallocs and Frees, without what the processors' caches have not handed in."""
    parts = [[stats.get(f"{size}{what}Count") for size in ("large", "small")] for what in ("Alloc", "Free")]
    for name, counts in zip(("Mallocs", "Frees"), parts, strict=True):
        if None not in counts and "tinyAllocCount" in stats:
            found[name] = sum(count or 0 for count in counts) + stats["tinyAllocCount"]
