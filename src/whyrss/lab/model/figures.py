"""MemStats of the model. Of what the runtime has beside the heap there are no pages here: those figures are worked
out from the heap by the sizes of the runtime's own structures."""

from __future__ import annotations

import time

from whyrss.facts.pageheap import ARENA_BYTES, PAGE_BYTES
from whyrss.lab.memstats import MemStats, empty
from whyrss.lab.model.collector import NEVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.model.runtime import Runtime

MSPAN_BYTES = 160  # runtime/mheap.go, type mspan: 136 to 160, Go 1.15 to 1.27
MCACHE_BYTES = 1208  # runtime/mcache.go, type mcache: 1,200 to 1,792
FIXALLOC_BYTES = 16 << 10  # runtime/mfixalloc.go, _FixAllocChunk
BUCKETS_BYTES = 4 << 10  # runtime/mprof.go, before the first sample
GC_BYTES = 1_600_000  # page summaries and work buffers of a small program, Go 1.14 and later
OTHER_BYTES = 600_000  # persistentalloc chunks of a small program
PAUSE_NS = 60_000  # a stop of the world, for PauseNs: the model stops nothing
OFF_BYTES = (1 << 64) - 1  # NextGC where there is no goal, Go 1.18 and earlier


def metadata(runtime: Runtime) -> dict[str, int]:
    """The *Sys figures beside HeapSys and StackSys, in bytes."""
    divisor = int(runtime.settings.number("bitmap_divisor"))
    arenas = -(-runtime.heap.mapped_bytes // ARENA_BYTES)
    runtime.most_spans = max(runtime.most_spans, runtime.spans)
    return {
        "MSpanSys": _chunks(runtime.most_spans * MSPAN_BYTES),
        "MCacheSys": _chunks(runtime.settings.cpus * MCACHE_BYTES),
        "BuckHashSys": BUCKETS_BYTES,
        "GCSys": GC_BYTES + (arenas * ARENA_BYTES // divisor if divisor else 0),
        "OtherSys": OTHER_BYTES,
    }


def memstats(runtime: Runtime) -> MemStats:
    """All figures at this moment of the model's clock; LastGC and PauseEnd count from the Unix epoch."""
    heap, objects = runtime.heap, runtime.objects
    beside = metadata(runtime)
    stack_bytes = runtime.stacks.pages * PAGE_BYTES
    in_use_bytes = heap.pages.used_pages * PAGE_BYTES - stack_bytes
    sys_bytes = heap.mapped_bytes - stack_bytes
    stats = empty()
    stats.update(
        {
            "Alloc": objects.allocated_bytes,
            "HeapAlloc": objects.allocated_bytes,
            "TotalAlloc": objects.total_bytes,
            "Mallocs": sum(pool.mallocs for pool in objects.pools()),
            "Frees": sum(pool.frees for pool in objects.pools()),
            "HeapObjects": sum(pool.objects for pool in objects.pools()),
            "HeapSys": sys_bytes,
            "HeapInuse": in_use_bytes,
            "HeapIdle": sys_bytes - in_use_bytes,
            "HeapReleased": heap.released_bytes,
            "StackInuse": stack_bytes,
            "StackSys": stack_bytes,
            "MSpanInuse": runtime.spans * MSPAN_BYTES,
            "MSpanSys": beside["MSpanSys"],
            "MCacheInuse": runtime.settings.cpus * MCACHE_BYTES,
            "MCacheSys": beside["MCacheSys"],
            "BuckHashSys": beside["BuckHashSys"],
            "GCSys": beside["GCSys"],
            "OtherSys": beside["OtherSys"],
            "Sys": sys_bytes + stack_bytes + sum(beside.values()),
            "NextGC": runtime.pacer.goal_bytes if runtime.pacer.goal_bytes < NEVER else OFF_BYTES,
            "NumGC": runtime.collections,
            "NumForcedGC": runtime.forced_collections,
            "EnableGC": True,
        }
    )
    _pauses(stats, runtime)
    _by_size(stats, runtime)
    return stats


def _pauses(stats: MemStats, runtime: Runtime) -> None:
    """Rings of 256, the newest at (NumGC + 255) % 256; the model knows when the last one was."""
    if not runtime.collections:
        return
    last_ns = int((time.time() - runtime.now_s + runtime.last_gc_s) * 1e9)
    stats["LastGC"] = last_ns
    stats["PauseTotalNs"] = runtime.collections * PAUSE_NS
    for number in range(min(runtime.collections, 256)):
        stats["PauseNs"][(runtime.collections + 255 - number) % 256] = PAUSE_NS
    stats["PauseEnd"][(runtime.collections + 255) % 256] = last_ns


def _by_size(stats: MemStats, runtime: Runtime) -> None:
    by_size = {pool.size_bytes: pool for pool in runtime.objects.classes}
    for row in stats["BySize"]:
        pool = by_size.get(row["Size"])
        if pool:
            row["Mallocs"], row["Frees"] = pool.mallocs, pool.frees


def _chunks(size_bytes: int) -> int:
    return -(-size_bytes // FIXALLOC_BYTES) * FIXALLOC_BYTES
