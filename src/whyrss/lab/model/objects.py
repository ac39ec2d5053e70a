"""The objects of the program: who is reachable, in the order in which they were allocated."""

from __future__ import annotations

from array import array
from fractions import Fraction
from itertools import compress

from whyrss.facts.pageheap import PAGE_BYTES
from whyrss.facts.sizeclasses import ADDED, SIZES, SPAN_PAGES
from whyrss.lab.model.pool import REACHABLE, Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Touch = Callable[[int, int, int], None]  # the first page of a span, bytes from there, bytes

_SIZE_CLASSES_END = SIZES[-1]
OLDEST, NEWEST, INTERLEAVED = "oldest", "newest", "interleaved"


class Group:
    """The reachable objects of one allocation. `holder` is the object that points at them."""

    __slots__ = ("holder", "objects", "pool", "size_bytes")

    def __init__(self, pool: Pool, size_bytes: int) -> None:
        self.pool = pool
        self.size_bytes = size_bytes
        self.objects = array("Q")
        self.holder: tuple[Pool, int] | None = None


class Objects:
    """All pools of one Go release, by size."""

    def __init__(self, go_minor: int) -> None:
        absent = {size for since, size in ADDED if go_minor < since}
        self.classes = [
            Pool(size, pages, pages * PAGE_BYTES // size)
            for size, pages in zip(SIZES[1:], SPAN_PAGES[1:], strict=True)
            if size not in absent
        ]
        self._large: dict[int, Pool] = {}
        self.groups: list[Group] = []
        self.allocated_bytes = self.total_bytes = 0

    def pools(self) -> Iterator[Pool]:
        yield from self.classes
        yield from self._large.values()

    def pool(self, size_bytes: int) -> Pool:
        """Where objects of that size lie."""
        if size_bytes <= _SIZE_CLASSES_END:
            return next(pool for pool in self.classes if pool.size_bytes >= size_bytes)
        pages = -(-size_bytes // PAGE_BYTES)
        if pages not in self._large:
            self._large[pages] = Pool(pages * PAGE_BYTES, pages, 1)
        return self._large[pages]

    def take(self, pool: Pool, count: int, state: int, new_span: Callable[[int], int]) -> tuple[int, int]:
        """As Pool.take, counted."""
        first, taken = pool.take(count, state, new_span)
        self.allocated_bytes += taken * pool.size_bytes
        self.total_bytes += taken * pool.size_bytes
        return first, taken

    def reachable_bytes(self) -> int:
        return sum(pool.count(REACHABLE) * pool.size_bytes for pool in self.pools())

    def sweep(self, free_span: Callable[[int, int], None]) -> None:
        for pool in self.pools():
            self.allocated_bytes -= pool.sweep(free_span) * pool.size_bytes

    def drop(self, share: Fraction, pattern: str) -> None:
        """That share of the reachable objects is dropped: spread evenly over the order of allocation, or the oldest
        or the newest of them."""
        count = sum(len(group.objects) for group in self.groups)
        dropped = _positions(count, share, pattern)
        passed = 0
        for group in self.groups:
            end = passed + len(group.objects)
            self._drop(group, dropped, passed, end)
            passed = end
        self.groups = [group for group in self.groups if group.objects]

    def touch(self, touch: Touch) -> None:
        """The program writes into every reachable object."""
        for group in self.groups:
            for at in group.objects:
                page, offset_bytes = group.pool.place(at)
                touch(page, offset_bytes, group.size_bytes)

    def _drop(self, group: Group, dropped: range | list[int], begin: int, end: int) -> None:
        kept = bytearray(b"\x01") * len(group.objects)
        if isinstance(dropped, range):
            first, last = max(begin, dropped.start), min(end, dropped.stop)
            kept[first - begin : max(first, last) - begin] = bytes(max(0, last - first))
        else:
            for position in _between(dropped, begin, end):
                kept[position - begin] = 0
        group.pool.drop(compress(group.objects, kept.translate(_INVERTED)))
        group.objects = array("Q", compress(group.objects, kept))
        if not group.objects and group.holder:
            pool, at = group.holder
            pool.drop((at,))


_INVERTED = bytes((1, 0)) + bytes(254)


def _positions(count: int, share: Fraction, pattern: str) -> range | list[int]:
    """Which of `count` objects in order are dropped. Spread evenly: i where floor((i + 1) share) > floor(i share)."""
    number = int(count * share)
    if pattern == NEWEST:
        return range(count - number, count)
    if pattern == OLDEST or number == count:
        return range(number)
    return [-(-k * share.denominator // share.numerator) - 1 for k in range(1, number + 1)]


def _between(positions: list[int], begin: int, end: int) -> list[int]:
    from bisect import bisect_left

    return positions[bisect_left(positions, begin) : bisect_left(positions, end)]
