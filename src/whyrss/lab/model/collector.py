"""The collector's pace: when a cycle starts, and what it makes the next goal (runtime/mgc.go, mgcpacer.go)."""

from __future__ import annotations

from whyrss.environment import GOGC_OFF, NO_LIMIT_BYTES
from whyrss.facts.pageheap import HEAP_MINIMUM_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.model.settings import Settings

NEVER = 1 << 62
_LATEST = 0.95  # of the way to the goal; runtime/mgc.go, maxTriggerRatio; mgcpacer.go, maxTriggerRatioNum
_FIRST_RATIO = 7 / 8  # runtime/mgc.go, gcinit
_LIMIT_HEADROOM_BYTES = 1 << 20  # runtime/mgcpacer.go, memoryLimitMinHeapGoalHeadroom


class Load:
    """What the pacer looks at, in bytes: `roots` are goroutine stacks and globals, `ready` all memory that is not
    released, `idle` the free pages in it, `allocated` the objects."""

    __slots__ = ("allocated_bytes", "idle_bytes", "ready_bytes", "roots_bytes")

    def __init__(self, allocated_bytes: int, idle_bytes: int, ready_bytes: int, roots_bytes: int) -> None:
        self.allocated_bytes = allocated_bytes
        self.idle_bytes = idle_bytes
        self.ready_bytes = ready_bytes
        self.roots_bytes = roots_bytes


class Pacer:
    """`goal_bytes` is MemStats.NextGC."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._percent = settings.gogc
        self.marked_bytes = int(self._minimum_bytes() / (1 + _FIRST_RATIO))
        self.last_goal_bytes = 0
        self._percent_goal_bytes = NEVER if self._percent == GOGC_OFF else self._grown(self.marked_bytes, 0)
        self.goal_bytes = self._percent_goal_bytes

    def trigger_bytes(self, load: Load) -> int:
        """How much may be allocated until the next cycle starts, NEVER where none will."""
        goal = self.goal(load)
        if goal >= NEVER:
            return NEVER
        distance = int(self._settings.number("trigger_distance_bytes"))
        latest = self.marked_bytes + int((goal - self.marked_bytes) * _LATEST)
        return max(latest, goal - distance) if distance else latest

    def goal(self, load: Load) -> int:
        """The goal now; with a memory limit it moves with what the rest of the runtime takes."""
        self.goal_bytes = min(self._percent_goal_bytes, self._limit_goal(load))
        return self.goal_bytes

    def marked(self, reachable_bytes: int, load: Load) -> None:
        """The end of a mark: so much is reachable."""
        self.last_goal_bytes = self.goal(load)
        self.marked_bytes = reachable_bytes
        if self._percent != GOGC_OFF:
            roots = load.roots_bytes if self._settings.flag("goal_counts_roots") else 0
            self._percent_goal_bytes = self._grown(reachable_bytes, roots)
        self.goal(load)

    def _grown(self, reachable_bytes: int, roots_bytes: int) -> int:
        grown = reachable_bytes + (reachable_bytes + roots_bytes) * self._percent // 100
        return max(grown, self._minimum_bytes())

    def _minimum_bytes(self) -> int:
        return HEAP_MINIMUM_BYTES * max(self._percent, 0) // 100

    def _limit_goal(self, load: Load) -> int:
        """memoryLimitHeapGoal: what the limit leaves for objects."""
        limit = self._settings.limit_bytes
        if limit >= NO_LIMIT_BYTES:
            return NEVER
        others = load.ready_bytes - load.idle_bytes - load.allocated_bytes
        taken = others + max(0, load.ready_bytes - limit)
        if taken >= limit:
            return self.marked_bytes
        goal = limit - taken
        headroom = max(_LIMIT_HEADROOM_BYTES, int(goal * self._settings.number("limit_headroom_share")))
        goal = goal - headroom if goal >= 2 * headroom else headroom
        return max(goal, self.marked_bytes)
