"""The collector's settings that are in force, as far as they can be seen."""

from __future__ import annotations

from whyrss.environment import GOGC_OFF, NO_LIMIT_BYTES, gogc
from whyrss.runtime import Runtime
from whyrss.snapshot import Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.snapshot import Snapshot

# With GOGC=off the goal is 2^64 - 1 up to Go 1.18, about 2^63 from the memory limit on later.
OFF_GOAL_BYTES = 1 << 62
# Below it the goal is the minimum of a heap (4 MiB * GOGC / 100), which says little about the percentage.
SMALL_HEAP_BYTES = 8 << 20


def gc_percent(snapshot: Snapshot) -> int:
    """GOGC in force, -1 for off: what the collector holds, up to Go 1.17 what follows from its goal (runtime/mgc.go,
    gcSetTriggerRatio: heap_marked * (1 + GOGC / 100)), else the environment's. Raises Missing."""
    runtime = snapshot[Runtime]
    percent = runtime.get("gc_percent")
    if percent is not None:
        return percent
    goal_bytes, marked_bytes = runtime["goal_bytes"], runtime.get("heap_marked_bytes") or 0
    if goal_bytes > OFF_GOAL_BYTES:
        return GOGC_OFF
    if marked_bytes >= SMALL_HEAP_BYTES:
        return round((goal_bytes / marked_bytes - 1) * 100)
    return gogc(snapshot[Process].environ)


def memory_limit_bytes(snapshot: Snapshot) -> int | None:
    """The soft limit in force (GOMEMLIMIT, debug.SetMemoryLimit), None where there is none."""
    limit_bytes = snapshot[Runtime].get("memory_limit_bytes")
    return limit_bytes if limit_bytes is not None and limit_bytes < NO_LIMIT_BYTES else None
