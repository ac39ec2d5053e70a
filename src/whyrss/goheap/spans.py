"""The spans of the Go heap: runs of pages for objects of one size, for stacks, or for the collector's queues.

mheap.allspans points to every mspan that ever was (runtime/mheap.go, recordspan); dead ones have state 0. What is
done once per span exists twice, with the same results: in `rows` without numpy, whose import alone takes longer
than all of a small heap, and in `arrays` with it.
"""

from __future__ import annotations

from array import array

from whyrss.errors import Missing
from whyrss.goheap import rows, rules
from whyrss.goheap.rules import IN_USE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from typing import Any, Protocol

    from whyrss.goheap.bits import PageMap
    from whyrss.goheap.memory import Memory
    from whyrss.goheap.values import Values

    Column = Any  # array.array or numpy.ndarray, of integers
    Columns = dict[str, Column]

    class Engine(Protocol):
        """What `rows` and `arrays` offer."""

        def collect(self, memory: Memory, pointers: bytes, record: Record, states: Collection[int]) -> Collected: ...

        def count_marks(self, memory: Memory, columns: Columns, sweepgen: int, inline: bool) -> Marked: ...

        def paint(self, pagemap: PageMap, columns: Columns) -> None: ...

        def page_runs(self, pagemap: PageMap) -> tuple[Column, Column, Column]: ...

        def sums(self, columns: Columns) -> Sums: ...

        def occupancy(
            self, columns: Columns, resident: bytearray, start: int, page_bytes: int
        ) -> tuple[int, int]: ...

        def by_class(self, columns: Columns) -> list[ClassSum]: ...

        def large(self, columns: Columns, least_bytes: int) -> list[tuple[int, int, int]]: ...

        def used(self, pointers: bytes, size_bytes: int) -> list[tuple[int, int]]: ...

    Collected = tuple[Columns, int]  # the columns, and how many spans made no sense
    ClassSum = tuple[int, ...]  # see Spans.by_class
    Marked = tuple[Column, int]  # live slots of each span, and of how many spans the marks were not read

SMALL = 20_000  # mspans, dead ones too; about where importing numpy begins to pay
MOST_SPANS = 1 << 22  # of at least one page: 32 GiB of the smallest

# Width of the fields in bytes, the same in every layout, but for nelems (runtime/mheap.go, mspan).
WIDTHS = {
    "startAddr": 8, "npages": 8, "state": 1, "spanclass": 1, "elemsize": 8, "nelems": 8,
    "allocCount": 2, "sweepgen": 4, "gcmarkBits": 8,
}  # fmt: skip


# What a row of Spans holds, and the type code of each for array.array.
ROW = {
    "starts": "Q", "pages": "Q", "states": "B", "classes": "B", "elem_bytes": "Q", "elems": "Q",
    "allocated": "Q", "live": "Q", "sweepgens": "I",
}  # fmt: skip


class Record:
    """Where the fields of an mspan are: (offset, width), in the order of rules.CODES, and the structure's size. A
    field at -1 is not there."""

    def __init__(self, values: Values) -> None:
        layout = values.layout
        self.size_bytes = layout.size("mspan")
        self.fields = [(layout.offset(f"mspan.{name}"), width) for name, width in WIDTHS.items()]
        for name, width in WIDTHS.items():
            if name != "nelems" and layout.width(f"mspan.{name}") not in (0, width):
                raise Missing(f"the layout of {layout.name} has another width of mspan.{name}")
        if layout.has("mspan.nelems"):
            self.fields[5] = (self.fields[5][0], layout.width("mspan.nelems") or 8)
        scavenged = layout.has("mspan.scavenged")
        self.fields.append((layout.offset("mspan.scavenged"), 1) if scavenged else (-1, 1))
        if any(offset + width > self.size_bytes for offset, width in self.fields):
            raise Missing(f"the layout of {layout.name} puts a field outside of the mspan")


class Sums:
    """Totals over all spans; `pages`, of 8 KiB, are those of spans in use, of manual and of free ones together."""

    __slots__ = ("allocated_bytes", "in_use_pages", "live_bytes", "objects", "pages")

    def __init__(self, pages: int, in_use_pages: int, objects: int, allocated_bytes: int, live_bytes: int) -> None:
        self.pages = pages
        self.objects = objects
        self.in_use_pages = in_use_pages
        self.allocated_bytes = allocated_bytes
        self.live_bytes = live_bytes


class Spans:
    """The spans as columns, ascending by address; what is no object span has no `elems`.

    starts          address of the first page
    pages           how many pages of 8 KiB
    states          IN_USE, MANUAL (stacks, the collector's queues), in Go 1.12 and 1.13 also FREE
    classes         size class * 2, plus 1 where the objects hold no pointers
    elem_bytes      of one slot; of a manual span that of its stacks, 0 where it holds none
    elems           slots
    allocated       slots that hold an object, or garbage that is not swept yet
    live            of these the ones marked by the last collection where the span is not swept yet, else all
    sweepgens       the span's sweepgen

    Columns are array.array, or numpy's for a large heap: take `rows()` for plain integers.
    """

    __slots__ = ("_engine", "columns", "large", "odd", "unmarked")

    def __init__(self, engine: Engine, columns: Columns, odd: int, unmarked: int) -> None:
        self._engine = engine
        self.large = engine is not rows
        self.columns = columns
        self.odd = odd
        self.unmarked = unmarked

    @classmethod
    def of(cls, spans: Iterable[Sequence[int]], odd: int = 0, unmarked: int = 0) -> Spans:
        """From what `rows()` gives."""
        columns = list(zip(*spans, strict=True)) or [()] * len(ROW)
        named = zip(ROW.items(), columns, strict=True)
        return cls(rows, {name: array(code, column) for (name, code), column in named}, odd, unmarked)

    def __len__(self) -> int:
        return len(self.columns["starts"])

    def __getattr__(self, name: str) -> Column:
        if name not in ROW:
            raise AttributeError(name)
        return self.columns[name]

    def rows(self) -> Iterator[tuple[int, ...]]:
        """(start, pages, state, class, elem_bytes, elems, allocated, live, sweepgen) of each span."""
        return zip(*(self.columns[name].tolist() for name in ROW), strict=True)

    def in_use(self) -> Iterator[tuple[int, int, int]]:
        """(start, pages, bytes of allocated slots) of each span in use."""
        names = ("starts", "pages", "states", "elem_bytes", "allocated")
        columns = zip(*(self.columns[name].tolist() for name in names), strict=True)
        return ((start, pages, size * count) for start, pages, state, size, count in columns if state == IN_USE)

    def occupancy(self, resident: bytearray, start: int, page_bytes: int) -> tuple[int, int]:
        """(resident pages of the kernel's, bytes of allocated slots in them) of the spans in use; `resident` has a
        byte for each of these pages from the address `start` on, 0 where there is none. Slots are handed out from
        the first one on, so what is absent of a span was never used."""
        return self._engine.occupancy(self.columns, resident, start, page_bytes)

    def by_class(self) -> list[ClassSum]:
        """(class, bytes of a slot, spans, pages, slots, objects, their bytes) of the object spans in use, by class.
        In the classes 0 and 1 each slot has its own size; there it is that of one of them."""
        return self._engine.by_class(self.columns)

    def large_objects(self, least_bytes: int) -> list[tuple[int, int, int]]:
        """(bytes, address, class) of each allocated object with a span of its own and at least that size."""
        return self._engine.large(self.columns, least_bytes)

    def sums(self) -> Sums:
        return self._engine.sums(self.columns)

    def paint(self, pagemap: PageMap) -> None:
        """Give the spans' pages their kind; what lies outside of the arenas has no page to paint."""
        self._engine.paint(pagemap, self.columns)

    def page_runs(self, pagemap: PageMap) -> tuple[Column, Column, Column]:
        """Starts, ends and kinds of the runs of equal pages, ascending."""
        return self._engine.page_runs(pagemap)


def read_spans(values: Values, mheap: int, states: Collection[int], inline_marks: bool) -> Spans:
    """Every span whose state is one of `states`. `inline_marks`: whether this collector keeps the marks of small
    objects in their span. Raises Missing."""
    pointers = allspans(values, mheap)
    engine = engine_for(len(pointers) // 8)
    sweepgen = values.field(mheap, "mheap.sweepgen") & 0xFFFF_FFFF
    columns, odd = engine.collect(values.memory, pointers, Record(values), states)
    if not len(columns["starts"]):
        raise Missing(rules.NO_SPAN)
    live, unmarked = engine.count_marks(values.memory, columns, sweepgen, inline_marks)
    columns["live"] = live
    del columns["marks"]
    return Spans(engine, columns, odd, unmarked)


def allspans(values: Values, mheap: int) -> bytes:
    """The addresses of all mspans, as they lie in memory. Raises Missing."""
    header = mheap + values.layout.offset("mheap.allspans")
    pointer, count, _ = values.slice(header, "mheap.allspans", MOST_SPANS)
    if not count:
        raise Missing(rules.NO_SPAN)
    return values.memory.read(pointer, count * 8)


def engine_for(count: int) -> Engine:
    """The faster one for that many spans; without numpy always the plain one."""
    if count < SMALL:
        return rows
    try:
        from whyrss.goheap import arrays
    except ImportError:
        return rows
    return arrays
