"""The stacks of the program's threads, as its runtime knows them.

Each m has a g0, on whose stack the scheduler and calls of C run, and a gsignal. Those of the main thread and of
threads that C made lie on the thread's own stack, the others in the heap (runtime/proc.go, allocm; g.stack).
"""

from __future__ import annotations

from whyrss.errors import Missing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.goheap.bits import PageMap
    from whyrss.goheap.values import Values

    Range = tuple[int, int]

MOST_THREADS = 1 << 17
MOST_STACK_BYTES = 1 << 34
FIELDS = ("m.g0", "m.gsignal")


def thread_stacks(values: Values, allm: int | None, pagemap: PageMap) -> list[Range]:
    """The stacks outside of the heap, as (lowest address, end), ascending. What cannot be read is left out: the
    names of stacks are not worth the rest of the heap."""
    found: set[Range] = set()
    if allm is not None:
        try:
            for m in _threads(values, allm):
                found.update(_stacks(values, m))
        except Missing:
            pass
    return sorted(stack for stack in found if pagemap.place(stack[1] - 8, stack[1]) is None)


def _threads(values: Values, allm: int) -> list[int]:
    """All m's, by their links; a loop ends them."""
    found: dict[int, None] = {}
    m = values.word(allm)
    while m and m not in found and len(found) < MOST_THREADS:
        found[m] = None
        m = values.field(m, "m.alllink")
    return list(found)


def _stacks(values: Values, m: int) -> list[Range]:
    found = []
    for field in FIELDS:
        g = values.field(m, field)
        if g:
            low, high = values.words(g + values.layout.offset("g.stack"), 2)
            if 0 < low < high <= low + MOST_STACK_BYTES:
                found.append((low, high))
    return found
