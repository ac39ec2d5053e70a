"""A Go process as far as its memory goes: a program allocates and drops, the collector and the scavenger follow."""

from __future__ import annotations

from fractions import Fraction

from whyrss.environment import NO_LIMIT_BYTES
from whyrss.facts.pageheap import FORCED_GC_S, PAGE_BYTES
from whyrss.lab.memory import madvise
from whyrss.lab.model.collector import NEVER, Load, Pacer
from whyrss.lab.model.heap import Heap
from whyrss.lab.model.objects import INTERLEAVED, Group, Objects
from whyrss.lab.model.pool import GARBAGE, REACHABLE
from whyrss.lab.model.scavenger import EVERYTHING, Scavenger
from whyrss.lab.model.stacks import Stacks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.lab.memory import Madvise
    from whyrss.lab.model.pool import Pool
    from whyrss.lab.model.settings import Settings

# What a program has before it does anything: its goroutines' stacks, and a few objects of most small classes
# (measured: HeapInuse 0.4 to 0.7 MiB, StackInuse 0.25 MiB, Go 1.15 to 1.27).
START_STACKS = 32
START_STACK_BYTES = 8 << 10
START_CLASSES = 40
START_OBJECTS = 12
FILL_BYTES_PER_S = 1 << 30  # how fast the model's clock runs while memory is filled
G_BYTES = 416  # runtime/runtime2.go, type g: 376 to 440 bytes, Go 1.15 to 1.27
POINTER_BYTES = 8
# With a memory limit the goal moves with every span; it is looked at again after so much.
LIMITED_STEP_BYTES = 1 << 20


class Runtime:
    """Use as a context manager: the memory goes at its end. `now_s` is the model's clock, in seconds."""

    def __init__(self, settings: Settings, advise: Madvise = madvise) -> None:
        self.settings = settings
        self.heap = Heap(settings, advise)
        self.objects = Objects(settings.go.minor)
        self.stacks = Stacks(self.heap)
        self.pacer = Pacer(settings)
        self.scavenger = Scavenger(self.heap, self.mapped_ready_bytes)
        self.now_s = self.last_gc_s = 0.0
        self.collections = self.forced_collections = 0
        self.most_spans = 0
        self.goroutines = self.most_goroutines = 0
        self._start()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.heap.memory.free()

    @property
    def spans(self) -> int:
        return sum(pool.spans for pool in self.objects.pools())

    def metadata_bytes(self) -> int:
        """Everything of the runtime's that is not heap."""
        from whyrss.lab.model.figures import metadata

        return sum(metadata(self).values())

    def mapped_ready_bytes(self) -> int:
        """Sys - HeapReleased: what the memory limit limits."""
        return self.heap.retained_bytes + self.metadata_bytes()

    def allocate(self, total_bytes: int, size_bytes: int, keep: bool = True, touch: bool = True) -> None:
        """Objects of one size, as many as make up that many bytes: reachable from then on, or garbage at once."""
        count = max(1, total_bytes // size_bytes)
        pool = self.objects.pool(size_bytes)
        group = Group(pool, size_bytes)
        if keep:
            self.objects.groups.append(group)
            group.holder = self._holder(count)
        state = REACHABLE if keep else GARBAGE
        while count:
            before = count
            for first, taken in self._take(pool, count, size_bytes if touch else 0, state):
                count -= taken
                if keep:
                    group.objects.extend(range(first, first + taken))
            self.advance((before - count) * size_bytes / FILL_BYTES_PER_S)

    def drop(self, share: Fraction = Fraction(1), pattern: str = INTERLEAVED) -> None:
        """That share of what is reachable is garbage now."""
        self.objects.drop(share, pattern)

    def touch(self) -> None:
        """The program writes into every page of every reachable object."""
        self.objects.touch(self.heap.touch)

    def start_goroutines(self, count: int, stack_bytes: int) -> None:
        """Parked goroutines; their g structures are never freed again."""
        new = max(0, count - max(0, self.most_goroutines - self.goroutines))
        self.goroutines += count
        pool = self.objects.pool(G_BYTES)
        while new:
            new -= sum(taken for _, taken in self._take(pool, new, G_BYTES, REACHABLE))
        self.stacks.start(count, stack_bytes)
        self.most_goroutines = max(self.most_goroutines, self.goroutines)

    def end_goroutines(self) -> None:
        self.stacks.end_all(self.now_s)
        self.goroutines = 0

    def collect(self, forced: bool = False) -> None:
        """One whole cycle: mark, pace, sweep."""
        in_use_bytes = (self.heap.pages.used_pages - self.stacks.pages) * PAGE_BYTES
        self.pacer.marked(self.objects.reachable_bytes(), self._load())
        self.scavenger.pace(self.pacer.goal_bytes, self.pacer.last_goal_bytes, in_use_bytes)
        self.heap.pages.next_generation()
        self.objects.sweep(self._free_span)
        self.stacks.collect(self.now_s)
        self.collections += 1
        self.forced_collections += forced
        self.last_gc_s = self.now_s

    def free_os_memory(self) -> None:
        """debug.FreeOSMemory: a collection, then everything that is free is given back."""
        self.collect(forced=True)
        self.scavenger.release(EVERYTHING, force=True)

    def advance(self, seconds: float) -> None:
        """Time goes by: the background scavenger works, and after two minutes without a collection there is one."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            forced_s = self.last_gc_s + FORCED_GC_S if self.settings.gogc >= 0 else float("inf")
            until_s = min(end_s, max(forced_s, self.now_s))
            self.scavenger.background(self.now_s, until_s)
            self.now_s = until_s
            if until_s == forced_s:
                self.collect()

    def scavenge(self, longest_s: float) -> None:
        """Time goes by until the background scavenger has nothing to do, at most so long."""
        end_s = self.now_s + longest_s
        while self.now_s < end_s and not self.scavenger.idle:
            before = self.heap.pages.released_pages
            self.advance(min(1.0, end_s - self.now_s))
            if self.heap.pages.released_pages == before and self.scavenger.asleep_until_s <= self.now_s:
                return

    def _start(self) -> None:
        self.stacks.start(START_STACKS, START_STACK_BYTES)
        self.stacks.keep()
        for pool in self.objects.classes[:START_CLASSES]:
            list(self._take(pool, min(START_OBJECTS, pool.slots), pool.size_bytes, REACHABLE))

    def _holder(self, count: int) -> tuple[Pool, int]:
        pool = self.objects.pool(count * POINTER_BYTES)
        (first, _), *_ = self._take(pool, 1, pool.size_bytes, REACHABLE)
        return pool, first

    def _take(self, pool: Pool, count: int, touched_bytes: int, state: int) -> Iterator[tuple[int, int]]:
        """As many of the objects as the collector allows before its next cycle, in runs of neighbours: (the first,
        how many). `touched_bytes` of each are written."""
        room = self._room()
        if room <= 0:
            self.collect()
            room = self._room()
        most = max(1, min(count, -(-room // pool.size_bytes)))
        while most:
            first, taken = self.objects.take(pool, most, state, self.heap.take)
            most -= taken
            if touched_bytes:
                page, offset_bytes = pool.place(first)
                self.heap.touch(page, offset_bytes, (taken - 1) * pool.size_bytes + touched_bytes)
            yield first, taken

    def _room(self) -> int:
        """Bytes until the collector has to be asked again."""
        trigger = self.pacer.trigger_bytes(self._load()) if self._may_collect() else NEVER
        room = trigger - self.objects.allocated_bytes
        return min(room, LIMITED_STEP_BYTES) if self.settings.limit_bytes < NO_LIMIT_BYTES else room

    def _may_collect(self) -> bool:
        return self.settings.gogc >= 0 or self.settings.limit_bytes < NO_LIMIT_BYTES

    def _load(self) -> Load:
        return Load(
            self.objects.allocated_bytes,
            self.heap.pages.idle_pages * PAGE_BYTES,
            self.mapped_ready_bytes() if self.settings.limit_bytes < NO_LIMIT_BYTES else 0,
            self.stacks.pages * PAGE_BYTES,
        )

    def _free_span(self, page: int, pages: int) -> None:
        self.heap.free(page, pages, self.now_s)
