"""Memory pressure on this process alone: the kernel takes what it can take without swap, lazily freed pages.

By a limit on a memory cgroup of its own (`Group`), as in a container that comes near its limit. Where no group
can be made: by madvise(MADV_PAGEOUT), but only where there is no swap, since it would swap out everything else.
"""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, ENOMEM

from whyrss.errors import FormatError, Missing, RefusedError
from whyrss.facts.kernel import MADV_PAGEOUT
from whyrss.lab.memory import madvise
from whyrss.read.smaps import parse_smaps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from whyrss.lab.group import Group

    Ranges = Sequence[tuple[int, int]]  # (address, size in bytes)

RESERVE_BYTES = 16 << 20  # what the limit always leaves to be taken: a page more is then no reason for an OOM kill
STEP_BYTES = 8 << 20  # of MADV_PAGEOUT between two looks at what is left
BY_GROUP, BY_PAGEOUT, NO_WAY = "cgroup", "MADV_PAGEOUT", "none"


class Resident:
    """Of the mappings that the ranges lie in: what is resident and what of it is lazily freed, in bytes."""

    __slots__ = ("lazyfree_bytes", "rss_bytes")

    def __init__(self, rss_bytes: int, lazyfree_bytes: int) -> None:
        self.rss_bytes = rss_bytes
        self.lazyfree_bytes = lazyfree_bytes


class Pressed:
    """What was done. `way`: "cgroup v1", "cgroup v2", "MADV_PAGEOUT" or "none". `limit_bytes` is the limit that
    was set, `wanted_bytes` the one that was asked for; `notes` say why they differ, and why no better way."""

    __slots__ = ("after", "before", "limit_bytes", "notes", "wanted_bytes", "way")

    def __init__(self, wanted_bytes: int, before: Resident) -> None:
        self.way = NO_WAY
        self.wanted_bytes = wanted_bytes
        self.limit_bytes = wanted_bytes
        self.before = before
        self.after = before
        self.notes: list[str] = []

    @property
    def taken_bytes(self) -> int:
        return max(0, self.before.rss_bytes - self.after.rss_bytes)


def press(limit_bytes: int, ranges: Ranges, group: Group | None = None, swaps: str = "/proc/swaps") -> Pressed:
    """Has the kernel take memory of this process until what is resident in `ranges` fits into `limit_bytes`, as
    far as it is lazily freed. `ranges` are anonymous memory, touched since `group` was entered.

    The limit of a group is never below what cannot be taken, and RESERVE_BYTES more. What the kernel refuses is
    said in `Pressed.notes`. Raises RefusedError where a limit was set and cannot be lifted.
    """
    pressed = Pressed(limit_bytes, resident(ranges))
    if group is not None and not group.reason:
        _by_group(pressed, group)
    elif group is not None:
        pressed.notes.append(group.reason)
    if pressed.way == NO_WAY:
        _by_pageout(pressed, ranges, swaps)
    pressed.after = resident(ranges)
    return pressed


def resident(ranges: Ranges) -> Resident:
    with open("/proc/self/smaps", "rb") as file:
        vmas = parse_smaps(file.read())
    ours = [vma for vma in vmas if any(vma.start < at + size and vma.end > at for at, size in ranges)]
    return Resident(sum(vma.get_bytes("Rss") for vma in ours), sum(vma.get_bytes("LazyFree") for vma in ours))


def has_swap(swaps: str = "/proc/swaps") -> bool:
    """Whether a page could be swapped out: a line below the heading (proc(5)). Where it cannot be read, it may."""
    try:
        with open(swaps, encoding="ascii", errors="replace") as file:
            return len(file.read().splitlines()) > 1
    except FileNotFoundError:
        return False  # a kernel without CONFIG_SWAP
    except OSError:
        return True


def _by_group(pressed: Pressed, group: Group) -> None:
    pressed.way = f"{BY_GROUP} v{group.version}"
    try:
        usage_bytes = group.usage_bytes()
        lazy_bytes = min(pressed.before.lazyfree_bytes, group.lazyfree_upper_bytes())
    except (OSError, FormatError, Missing) as error:
        pressed.way = NO_WAY
        pressed.notes.append(f"the group's figures cannot be read: {error}")
        return
    floor_bytes = pressed.before.rss_bytes - lazy_bytes + RESERVE_BYTES
    if pressed.wanted_bytes < floor_bytes:
        pressed.limit_bytes = floor_bytes
        pressed.notes.append(
            f"the limit was raised from {pressed.wanted_bytes} to {floor_bytes} bytes: what is in use cannot be "
            f"taken, and {RESERVE_BYTES} bytes more keep the OOM killer away"
        )
    take_bytes = pressed.before.rss_bytes - pressed.limit_bytes
    if take_bytes > 0:
        _limit(pressed, group, max(0, usage_bytes - take_bytes))


def _limit(pressed: Pressed, group: Group, limit_bytes: int) -> None:
    """Sets the limit, and lifts it at once: what could be taken was taken while it was being set."""
    is_set = False
    try:
        group.limit(limit_bytes)
        is_set = True
    except OSError as error:
        if error.errno != EBUSY:  # EBUSY comes after the kernel has taken what it could
            pressed.way = NO_WAY
        pressed.notes.append(f"the kernel refused the group's limit of {limit_bytes} bytes: {error.strerror}")
    finally:
        _lift(group, is_set)


def _lift(group: Group, is_set: bool) -> None:
    try:
        group.unlimit()
    except OSError as error:
        if is_set:
            raise RefusedError(
                f"the limit of the cgroup {group.folder} could not be lifted: {error.strerror}",
                "end this process before it needs more memory",
            ) from error


def _by_pageout(pressed: Pressed, ranges: Ranges, swaps: str) -> None:
    if has_swap(swaps):
        pressed.notes.append("there is swap, so MADV_PAGEOUT would write to it what is in use: not done")
        return
    pressed.way = BY_PAGEOUT
    for address, size_bytes in _steps(ranges):
        if resident(ranges).rss_bytes <= pressed.wanted_bytes:
            return
        error = madvise(address, size_bytes, MADV_PAGEOUT)
        if error not in (0, ENOMEM):  # ENOMEM: a part of it is not mapped, the rest was done (madvise(2))
            why = "needs Linux 5.4, and memory that is not locked" if error == EINVAL else os.strerror(error)
            pressed.notes.append(f"MADV_PAGEOUT at {address:#x} failed: {why}")
            return


def _steps(ranges: Ranges) -> list[tuple[int, int]]:
    return [
        (address + at, min(STEP_BYTES, size_bytes - at))
        for address, size_bytes in ranges
        for at in range(0, size_bytes, STEP_BYTES)
    ]
