"""What a memory cgroup counts lazily freed pages as: anonymous by their kind, inactive file by their list.

Hence "working set" (usage less inactive_file) leaves them out, and "rss" (v1) or "anon" (v2) does not.
"""

from __future__ import annotations

import os

from whyrss.errors import FormatError, Missing
from whyrss.lab.group import Group
from whyrss.lab.memory import OS_PAGE_BYTES
from whyrss.lab.semantics.pages import BATCH_PAGES, all_pages, fill, lazily_freed, mapped
from whyrss.lab.semantics.row import LAZY, Experiment
from whyrss.read.cgroup import Cgroup, read_cgroup
from whyrss.read.hierarchy import parse_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.semantics.row import Measured

# A group is charged ahead, and its figures are added up, in batches of 64 pages per CPU; so much once more may
# not have been added up yet (mm/memcontrol.c, MEMCG_CHARGE_BATCH, memcg_rstat_updated). Then the batches of freed
# pages, of which other CPUs have none of ours.
CHARGE_PAGES = 64
TOLERANCE_BYTES = (2 * CHARGE_PAGES * (os.cpu_count() or 1) + BATCH_PAGES) * OS_PAGE_BYTES
SIZE_BYTES = max(32 << 20, 4 * TOLERANCE_BYTES >> 20 << 20)
SIZE_BYTES_MAX = 512 << 20


def measure() -> Measured:
    if SIZE_BYTES > SIZE_BYTES_MAX:
        raise Missing(f"so many CPUs blur a group's figures by {TOLERANCE_BYTES} bytes")
    with Group() as group:
        if group.reason:
            raise Missing(group.reason)
        with mapped(SIZE_BYTES) as memory:
            fill(memory, all_pages(memory))
            before = figures(group)
            lazily_freed(memory)
            return measured(before, figures(group), SIZE_BYTES)


def figures(group: Group) -> Cgroup:
    """The group's own figures. Raises Missing where one of those that are compared is not there."""
    line = f"0::{group.folder}" if group.version == 2 else f"1:memory:{group.folder}"
    try:
        cgroup = read_cgroup(parse_paths(line), group.read)
    except FormatError as error:
        raise Missing(str(error)) from None
    if cgroup.anon_bytes is None or cgroup.working_set_bytes is None:
        raise Missing(f"cgroup v{group.version}: memory.stat has no anon or inactive_file")
    return cgroup


def measured(before: Cgroup, after: Cgroup, freed_bytes: int) -> Measured:
    """How the figures moved, when so much was given to MADV_FREE between the two readings."""
    found: Measured = {"by": f"cgroup v{after.version}", "freed_bytes": freed_bytes}
    moved = {
        "usage": (before.usage_bytes, after.usage_bytes),
        "anon": (before.anon_bytes, after.anon_bytes),
        "inactive_file": (before.figure("inactive_file"), after.figure("inactive_file")),
        "working_set": (before.working_set_bytes, after.working_set_bytes),
    }
    for name, (old, new) in moved.items():
        found[f"{name}_moved_bytes"] = (new or 0) - (old or 0)
    return found


def _moved(it: Measured, name: str, by_bytes: int) -> bool:
    return abs(int(it[f"{name}_moved_bytes"]) - by_bytes) <= TOLERANCE_BYTES


EXPERIMENTS = (
    Experiment(
        name="cgroup-lists",
        what="A memory cgroup's figures after MADV_FREE",
        expected="usage and rss (anon) stay; inactive_file grows by it, the working set falls by it",
        because="The pages are moved to the inactive file list and stay anonymous "
        "[Documentation/admin-guide/cgroup-v1/memory.rst, inactive_file]",
        measure=measure,
        holds=lambda it: (
            _moved(it, "usage", 0)
            and _moved(it, "anon", 0)
            and _moved(it, "inactive_file", int(it["freed_bytes"]))
            and _moved(it, "working_set", -int(it["freed_bytes"]))
        ),
        needs={**LAZY, "free_list": "inactive file"},
    ),
)
