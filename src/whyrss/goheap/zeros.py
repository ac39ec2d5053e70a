"""How much of the large objects with pointers is resident and holds nothing but zeros: see whyrss.shape.Zeros.

Only pages that are resident are read: both when the account was made and at the moment of reading.
"""

from __future__ import annotations

from whyrss.goheap.bits import PAGE_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.goheap.memory import Paged
    from whyrss.read.pagemap import Pages
    from whyrss.shape import LargeObject, Shape, Zeros

    Range = tuple[int, int]

WINDOW_BYTES = 1 << 20
# Together 256 MiB, which takes about 0.1 s to read; of more, windows at equal distances.
WINDOWS_MAX = 256


def zeros_of(memory: Paged, shape: Shape, pages: Pages) -> Zeros:
    """By pages of the kernel's, or of Go's where those are smaller. Raises Unreadable where the process ended, or a
    page went to swap meanwhile."""
    from whyrss.shape import Zeros

    unit_bytes = min(pages.page_bytes, PAGE_BYTES)
    found = Zeros(0, 0)
    for low, high in _chosen(shape, pages):
        for start, end in memory.resident(low, high):
            data = memory.read(start, end - start)
            found.looked_bytes += len(data)
            found.zero_bytes += _zero_bytes(data, unit_bytes)
    return found


def _chosen(shape: Shape, pages: Pages) -> Iterator[Range]:
    """The runs of at most WINDOWS_MAX windows. Counted first, so that those of a heap of TiB need no room."""
    count = sum(1 for _ in _windows(shape, pages))
    for number, runs in enumerate(_windows(shape, pages)):
        if number * WINDOWS_MAX // count > (number - 1) * WINDOWS_MAX // count:
            yield from runs


def _windows(shape: Shape, pages: Pages) -> Iterator[list[Range]]:
    """The resident runs of these objects by aligned windows of WINDOW_BYTES, each object's in ascending order; those
    without a resident page are left out."""
    runs: list[Range] = []
    for low, high in _cut(_resident(shape, pages)):
        if runs and runs[0][0] // WINDOW_BYTES != low // WINDOW_BYTES:
            yield runs
            runs = []
        runs.append((low, high))
    if runs:
        yield runs


def _cut(runs: Iterator[Range]) -> Iterator[Range]:
    """In pieces that lie in one window each."""
    for start, end in runs:
        for window in range(start // WINDOW_BYTES * WINDOW_BYTES, end, WINDOW_BYTES):
            yield max(start, window), min(end, window + WINDOW_BYTES)


def _resident(shape: Shape, pages: Pages) -> Iterator[Range]:
    """No byte twice, also where objects overlap, which they do only in a heap that lies."""
    end_before = 0
    for each in sorted((each for each in shape.large if not each.noscan), key=_address):
        start, end = max(end_before, each.address), each.address + each.size_bytes
        for low, high, _ in pages.within(start, end):
            yield low, high
        end_before = max(end_before, end)


def _address(each: LargeObject) -> int:
    return each.address


def _zero_bytes(data: bytes, unit_bytes: int) -> int:
    """What lies in units that hold nothing but zeros. Compared as blocks: to count or strip bytes takes 10 times as
    long where most are zero."""
    zeros = bytes(unit_bytes)
    units = (data[at : at + unit_bytes] for at in range(0, len(data), unit_bytes))
    return sum(len(unit) for unit in units if unit == zeros[: len(unit)])
