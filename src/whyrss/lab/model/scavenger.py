"""The scavenger: which free pages are given back, and when (runtime/mgcscavenge.go; before Go 1.13 mheap.go)."""

from __future__ import annotations

from whyrss.environment import NO_LIMIT_BYTES
from whyrss.facts.pageheap import (
    CPU_SHARE,
    IDLE_CHECK_S,
    IDLE_SPAN_S,
    PAGE_BYTES,
    QUANTUM_BYTES,
    RETAIN_EXTRA,
    WORK_S,
)
from whyrss.lab.memory import OS_PAGE_BYTES
from whyrss.lab.model.pace import Pace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from whyrss.lab.model.heap import Heap

# What giving back costs, for the pace of the background scavenger only: a system call, and each page in it. Measured
# beside Go 1.15 and 1.27 on Linux 6.18; the runtime itself measures it anew each time.
CALL_S = 2e-6
PAGE_S = 0.15e-6
EVERYTHING = 1 << 62


class Scavenger:
    """`mapped_ready_bytes` is all memory of the runtime that is not released, what GOMEMLIMIT limits."""

    def __init__(self, heap: Heap, mapped_ready_bytes: Callable[[], int]) -> None:
        self._heap = heap
        self._settings = heap.settings
        self._ready_bytes = mapped_ready_bytes
        self._era = heap.settings.word("scavenger")
        self._step = heap.settings.word("scavenger_step")
        self.goal_bytes: int | None = None  # of retained memory; None: nothing to do
        self.limit_goal_bytes: int | None = None  # of all memory
        self.asleep_until_s = 0.0
        self._pace = Pace()
        self._next_check_s = float(IDLE_CHECK_S)
        heap.before_taking = self.assist

    def pace(self, heap_goal_bytes: int, last_goal_bytes: int, last_in_use_bytes: int) -> None:
        """gcPaceScavenger, at each mark termination: the goals until the next one."""
        share = self._settings.number("limit_goal_share")
        limited = self._settings.limit_bytes < NO_LIMIT_BYTES
        limit_goal = int(self._settings.limit_bytes * share) if limited else None
        self.limit_goal_bytes = limit_goal if limit_goal is not None and self._ready_bytes() > limit_goal else None
        if not last_goal_bytes:
            self.goal_bytes = None
            return
        goal = int(last_in_use_bytes * (heap_goal_bytes / last_goal_bytes))
        goal += int(goal * RETAIN_EXTRA)
        goal = -(-goal // OS_PAGE_BYTES) * OS_PAGE_BYTES
        self.goal_bytes = goal if self._heap.retained_bytes >= goal + OS_PAGE_BYTES else None

    def assist(self, growth_bytes: int, released_bytes: int) -> None:
        """What an allocation that grows the heap or takes released pages gives back first."""
        wanted, force = 0, False
        if self._settings.limit_bytes < NO_LIMIT_BYTES:
            over = released_bytes + self._ready_bytes() - self._settings.limit_bytes
            wanted, force = max(0, over), over > 0
        if self._era == "age and growth":
            wanted = growth_bytes
        elif growth_bytes and self.goal_bytes is not None:
            excess = self._heap.retained_bytes + growth_bytes - self.goal_bytes
            wanted = max(wanted, min(growth_bytes, excess))
        if wanted > 0:
            self.release(wanted, force)

    def release(self, wanted_bytes: int = EVERYTHING, force: bool = True) -> int:
        """Gives back at least so much, if there is as much. Returns the bytes."""
        huge = self._settings.huge_page_bytes // PAGE_BYTES if self._settings.word("huge_pages") == "edges" else 0
        released = 0
        while released < wanted_bytes:
            most = max(1, min(-(-(wanted_bytes - released) // PAGE_BYTES), 1 << 30))
            found = self._heap.pages.candidate(most, huge, force)
            if not found:
                break
            self._heap.release(*found)
            released += found[1] * PAGE_BYTES
        return released

    def background(self, now_s: float, until_s: float) -> None:
        """What the background scavenger does in that span of time."""
        if self._era == "goal":
            self._by_goal(now_s, until_s)
        else:
            self._by_age(until_s)

    @property
    def idle(self) -> bool:
        """Whether it has nothing to do now."""
        retained = self.goal_bytes is None or self._heap.retained_bytes <= self.goal_bytes
        return retained and (self.limit_goal_bytes is None or self._ready_bytes() <= self.limit_goal_bytes)

    @property
    def at_work(self) -> bool:
        """Whether its next round would give something back."""
        return self._era == "goal" and not self.idle and self._heap.pages.candidate(1, 0, force=False) is not None

    def _by_goal(self, now_s: float, until_s: float) -> None:
        at_s = max(now_s, self.asleep_until_s)
        while at_s < until_s and not self.idle:
            worked_s = self._work()
            if not worked_s:
                break
            at_s += worked_s + self._sleep_s(worked_s)
        self.asleep_until_s = at_s

    def _work(self) -> float:
        """One round, as long as the release works before it sleeps. Returns the seconds, 0 where nothing was done."""
        if self._step == "page":
            released = self.release(OS_PAGE_BYTES, force=False)
            return CALL_S + released / OS_PAGE_BYTES * PAGE_S if released else 0.0
        worked_s = 0.0
        while worked_s < WORK_S and not self.idle:
            released = self.release(QUANTUM_BYTES, force=False)
            worked_s += (CALL_S + released / OS_PAGE_BYTES * PAGE_S) if released else 0.0
            if released < QUANTUM_BYTES:
                return max(worked_s, WORK_S) if worked_s else 0.0
        return max(worked_s, WORK_S)

    def _sleep_s(self, worked_s: float) -> float:
        """How long it sleeps after so much work."""
        if self._step == "page":
            return worked_s / CPU_SHARE
        slept_s = worked_s / self._pace.ratio
        self._pace.learn(worked_s / ((worked_s + slept_s) * self._settings.cpus), worked_s + slept_s)
        return slept_s

    def _by_age(self, until_s: float) -> None:
        while self._next_check_s <= until_s:
            old_s = self._next_check_s - IDLE_SPAN_S
            for page, pages in list(self._heap.pages.idle_runs()):
                if max(self._heap.freed_at[page : page + pages]) <= old_s:
                    self._heap.release(page, pages)
            self._next_check_s += IDLE_CHECK_S
