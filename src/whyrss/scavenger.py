"""Where the background scavenger stands: how much it wants to keep, how much there is, and since when.

It works towards two goals at once (runtime/mgcscavenge.go, gcPaceScavenger): of the heap that is not released, and,
from Go 1.19 on, of all memory, where a limit is set. Both are set when a collection ends.
"""

from __future__ import annotations

from whyrss.environment import NO_LIMIT_BYTES
from whyrss.facts import pageheap
from whyrss.facts.scavenger import AGE, HEAP_GOAL, KEEPS, ROWS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.policy import GoVersion
    from whyrss.runtime import Runtime

# retainExtraPercent is 10 (runtime/mgcscavenge.go): a tenth is added in whole numbers.
EXTRA_SHARE = 10
# What the goal of a memory limit was meant to be: reduceExtraPercent is 5 (runtime/mgcscavenge.go).
LIMIT_PERCENT = 95


class Standing:
    """In bytes: `retained_bytes` of heap, used and free, are not released, and `goal_bytes` of them may stay (None
    where there is no goal); `ready_bytes` of all memory, and `limit_goal_bytes` of them by the memory limit (None
    where none is set). `by_age`: the release has no goal, it gives back what was unused for 5 minutes."""

    __slots__ = ("by_age", "goal_bytes", "limit_goal_bytes", "ready_bytes", "retained_bytes")

    def __init__(
        self,
        retained_bytes: int,
        goal_bytes: int | None,
        ready_bytes: int = 0,
        limit_goal_bytes: int | None = None,
        *,
        by_age: bool = False,
    ) -> None:
        self.retained_bytes = retained_bytes
        self.goal_bytes = goal_bytes
        self.ready_bytes = ready_bytes
        self.limit_goal_bytes = limit_goal_bytes
        self.by_age = by_age

    @property
    def due_bytes(self) -> int:
        """What is above a goal, and will be given back as far as it is free."""
        by_goal = self.retained_bytes - self.goal_bytes if self.goal_bytes is not None else 0
        by_limit = self.ready_bytes - self.limit_goal_bytes if self.limit_goal_bytes is not None else 0
        return max(0, by_goal, by_limit)


def standing(runtime: Runtime, go: GoVersion) -> Standing:
    """By the runtime's own figures, in its own arithmetic but for the rounding up to a page of the kernel. The
    collector's goal is that of now, which under a memory limit has moved since the collection. Raises Missing."""
    retained_bytes = max(0, runtime["HeapSys"] - runtime["HeapReleased"])
    keeps = _keeps(go)
    goal_bytes = None if keeps == AGE else _goal_bytes(runtime, keeps)
    limit_bytes = limit(runtime, go)
    if limit_bytes is None:
        return Standing(retained_bytes, goal_bytes, by_age=keeps == AGE)
    limit_goal_bytes = int(limit_bytes * limit_goal_share(go))
    return Standing(retained_bytes, goal_bytes, runtime["mapped_ready_bytes"], limit_goal_bytes)


def limit(runtime: Runtime, go: GoVersion) -> int | None:
    """The memory limit in force in bytes, None where there is none. Raises Missing where that cannot be told."""
    if not _fact(go, "has_memory_limit") or runtime["memory_limit_bytes"] >= NO_LIMIT_BYTES:
        return None
    return runtime["memory_limit_bytes"]


def limit_goal_share(go: GoVersion) -> float:
    """Of the memory limit: 0.95; 95 in the releases that compute it wrongly; 0 where there is no limit."""
    return float(_fact(go, "limit_goal_share"))


def keeps_dense_chunks(go: GoVersion) -> bool:
    """Whether chunks of 4 MiB that were full stay for one or two further collections."""
    return bool(_fact(go, "keeps_dense_chunks"))


def _goal_bytes(runtime: Runtime, keeps: str) -> int | None:
    """None before the first collection has ended."""
    if not runtime["NumGC"]:
        return None
    if keeps == HEAP_GOAL:
        goal_bytes = runtime["NextGC"]
    elif not runtime["last_goal_bytes"]:
        return None
    else:
        ratio = runtime["NextGC"] / runtime["last_goal_bytes"]
        goal_bytes = int(runtime["last_heap_in_use_bytes"] * ratio)
    return goal_bytes + goal_bytes // EXTRA_SHARE


def _keeps(go: GoVersion) -> str:
    release = (go.minor, go.patch)
    return next(value for since, before, fact, value, _ in ROWS if fact == KEEPS and since <= release < before)


def _fact(go: GoVersion, name: str) -> int | float | str | bool:
    rows = pageheap.ROWS
    return next(value for since, until, fact, value, _ in rows if fact == name and since <= go.minor <= until)
