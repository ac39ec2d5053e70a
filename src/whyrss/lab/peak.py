"""How much memory a scenario may need at once, told before anything is allocated."""

from __future__ import annotations

from fractions import Fraction

from whyrss.environment import GOGC_OFF, NO_LIMIT_BYTES
from whyrss.facts import pageheap
from whyrss.facts.pageheap import HEAP_MINIMUM_BYTES, PAGE_BYTES
from whyrss.facts.sizeclasses import SIZES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.scenario import Phase, Scenario

POINTER_BYTES = 8
G_BYTES = 512  # runtime/runtime2.go, type g: 376 to 440 bytes, Go 1.15 to 1.27; never freed
CONSTANT_BYTES = 8 << 20  # what a program has before it does anything, and what a cycle begins late by
NO_GOAL_BYTES = 1 << 62


def peak_bytes(scenario: Scenario) -> int:
    """An upper bound, in bytes, of the heap that the scenario has ever mapped and touched at once.

    Memory once mapped stays the heap's, and of a hole that objects left, only objects of the same size are sure
    to fit in. So the bound is the sum, over all sizes of objects, of the most that objects of that size take at
    any time; after a collection of an empty heap the count begins again beside what there is. For one size:

        live + min(garbage since the last gc phase, goal - all live bytes + one object)
        goal = (1 + GOGC / 100) * most live bytes so far, at least 4 MiB * GOGC / 100
        GOGC=off: goal = memory limit, where this Go has one and one is set, else infinite: all garbage stays

    Sizes are rounded as Go does, with an eighth for the ends of spans. Stacks are live until `exit`, garbage until
    the next gc phase. Memory that is allocated and never written (touch = false) counts as if it were.
    """
    extent = _Extent(scenario)
    for phase in scenario.phases:
        extent.follow(phase)
    return extent.bytes + CONSTANT_BYTES


class _Extent:
    """The heap so far. A size is in bytes of one object, rounded; stacks go by their own with a minus."""

    def __init__(self, scenario: Scenario) -> None:
        self._gogc = scenario.gogc
        self._limit_bytes = _limit_bytes(scenario)
        self._groups: list[list[int]] = []  # [rounded size, live objects, bytes of the holder], as allocated
        self._stacks: dict[int, int] = {}
        self._g_bytes = 0
        self._garbage: dict[int, int] = {}
        self._most_live = 0
        self._most: dict[int, int] = {}
        self._before_bytes = 0

    @property
    def bytes(self) -> int:
        return max(self._before_bytes, sum(self._most.values())) + self._g_bytes

    def follow(self, phase: Phase) -> None:
        if phase.do == "allocate":
            self._allocate(phase)
        elif phase.do == "free":
            self._free(phase)
        elif phase.do == "goroutines":
            key = -phase.stack_bytes
            self._stacks[key] = self._stacks.get(key, 0) + phase.count * phase.stack_bytes
            self._g_bytes += phase.count * G_BYTES
        elif phase.do == "exit":
            self._drop(self._stacks)
            self._stacks = {}
        elif phase.do in ("gc", "free-os-memory"):
            self._collect()
        self._count()

    def _allocate(self, phase: Phase) -> None:
        objects = max(1, phase.bytes // phase.size_bytes)
        size = _rounded(phase.size_bytes)
        if phase.keep:
            self._groups.append([size, objects, _rounded(objects * POINTER_BYTES)])
        else:
            self._drop({size: objects * size})

    def _free(self, phase: Phase) -> None:
        """By what is left at most of each group, so that the order among groups need not be followed exactly."""
        objects = sum(group[1] for group in self._groups)
        share = Fraction(str(phase.share))
        gone = int(objects * share)
        groups = self._groups if phase.pattern != "newest" else self._groups[::-1]
        for group in groups:
            here = int(group[1] * share) if phase.pattern == "interleaved" else min(gone, group[1])
            gone -= here
            self._drop({group[0]: here * group[0]})
            group[1] -= here
            if not group[1]:
                self._drop({group[2]: group[2]})
        self._groups = [group for group in self._groups if group[1]]

    def _drop(self, sizes: dict[int, int]) -> None:
        for size, size_bytes in sizes.items():
            self._garbage[size] = self._garbage.get(size, 0) + size_bytes

    def _collect(self) -> None:
        self._garbage = {}
        if not self._groups and not self._stacks:
            self._before_bytes = max(self._before_bytes, sum(self._most.values()))
            self._most = {}

    def _count(self) -> None:
        live = dict(self._stacks)
        for size, objects, holder in self._groups:
            live[size] = live.get(size, 0) + size * objects
            live[holder] = live.get(holder, 0) + holder
        live_bytes = sum(live.values())
        self._most_live = max(self._most_live, live_bytes)
        room = max(0, self._goal_bytes() - live_bytes)
        for size in live.keys() | self._garbage.keys():
            most = room + size if size > 0 else NO_GOAL_BYTES  # stacks do not count towards the goal
            now = live.get(size, 0) + min(self._garbage.get(size, 0), most)
            self._most[size] = max(self._most.get(size, 0), _with_ends(size, now))

    def _goal_bytes(self) -> int:
        if self._gogc == GOGC_OFF:
            return self._limit_bytes
        return max(self._most_live * (100 + self._gogc), HEAP_MINIMUM_BYTES * self._gogc) // 100


def _limit_bytes(scenario: Scenario) -> int:
    if scenario.gomemlimit_bytes == NO_LIMIT_BYTES:
        return NO_GOAL_BYTES
    known = (
        row[3] for row in pageheap.ROWS if row[2] == "has_memory_limit" and row[0] <= scenario.go.minor <= row[1]
    )
    return scenario.gomemlimit_bytes if next(known, False) else NO_GOAL_BYTES


def _rounded(size_bytes: int) -> int:
    """What an object takes: its size class, or whole pages. The largest class of any release is taken."""
    if size_bytes <= SIZES[-1]:
        return next(size for size in SIZES[1:] if size >= size_bytes and size != 24)
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES


def _with_ends(size: int, size_bytes: int) -> int:
    """With the ends of spans that are too short for one more object: at most an eighth (runtime/mksizeclasses.go)."""
    return size_bytes + size_bytes // 8 if 0 < size <= SIZES[-1] else size_bytes
