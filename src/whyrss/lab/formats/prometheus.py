"""/metrics: MemStats under the names that client_golang gives it, in Prometheus' text format.

Names and types: prometheus/go_collector.go of client_golang. go_memstats_lookups_total, which it dropped in 2024
(client_golang #1577), is not served. Format: prometheus.io, "Exposition formats", version 0.0.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from whyrss.lab.memstats import MemStats
from whyrss.policy import GoVersion

GAUGE, COUNTER, SUMMARY = "gauge", "counter", "summary"

# (field, name behind go_memstats_, type, help).
METRICS: tuple[tuple[str, str, str, str], ...] = (
    ("Alloc", "alloc_bytes", GAUGE, "Bytes of heap objects that are allocated and not yet swept."),
    ("TotalAlloc", "alloc_bytes_total", COUNTER, "Bytes of heap objects allocated since the start, freed ones too."),
    ("Sys", "sys_bytes", GAUGE, "Bytes of address space obtained from the system."),
    ("Mallocs", "mallocs_total", COUNTER, "Heap objects allocated since the start."),
    ("Frees", "frees_total", COUNTER, "Heap objects freed since the start."),
    ("HeapAlloc", "heap_alloc_bytes", GAUGE, "Bytes of heap objects, the same as alloc_bytes."),
    ("HeapSys", "heap_sys_bytes", GAUGE, "Bytes of address space of the heap."),
    ("HeapIdle", "heap_idle_bytes", GAUGE, "Bytes of heap pages without an object, released or not."),
    ("HeapInuse", "heap_inuse_bytes", GAUGE, "Bytes of heap spans with at least one object."),
    ("HeapReleased", "heap_released_bytes", GAUGE, "Bytes of heap pages given back to the system or never used."),
    ("HeapObjects", "heap_objects", GAUGE, "Heap objects that are allocated."),
    ("StackInuse", "stack_inuse_bytes", GAUGE, "Bytes of spans of goroutine stacks."),
    ("StackSys", "stack_sys_bytes", GAUGE, "Bytes obtained from the system for stacks."),
    ("MSpanInuse", "mspan_inuse_bytes", GAUGE, "Bytes of mspan structures in use."),
    ("MSpanSys", "mspan_sys_bytes", GAUGE, "Bytes obtained from the system for mspan structures."),
    ("MCacheInuse", "mcache_inuse_bytes", GAUGE, "Bytes of mcache structures in use."),
    ("MCacheSys", "mcache_sys_bytes", GAUGE, "Bytes obtained from the system for mcache structures."),
    ("BuckHashSys", "buck_hash_sys_bytes", GAUGE, "Bytes of the hash table of profiling buckets."),
    ("GCSys", "gc_sys_bytes", GAUGE, "Bytes of the garbage collector's own data."),
    ("OtherSys", "other_sys_bytes", GAUGE, "Bytes of the runtime's other allocations."),
    ("NextGC", "next_gc_bytes", GAUGE, "The heap size at which the next collection is to be complete."),
)
NS_PER_S = 1e9


def exposition(stats: MemStats, go: GoVersion, rss_bytes: int, start_s: float) -> bytes:
    """All families, sorted by name. `start_s` is the start of the process, seconds since the Unix epoch."""
    figures = {name: value for name, value in stats.items() if isinstance(value, (int, float))}
    families = [_single(f"go_memstats_{name}", text, figures[field], kind) for field, name, kind, text in METRICS]
    families += [*_collections(stats), *_process(go, rss_bytes, start_s)]
    return "".join(sorted(families, key=_name)).encode()


def _collections(stats: MemStats) -> list[str]:
    last = "When the last garbage collection ended, seconds since 1970."
    pauses = {"_sum": stats["PauseTotalNs"] / NS_PER_S, "_count": stats["NumGC"]}
    return [
        _single("go_memstats_last_gc_time_seconds", last, stats["LastGC"] / NS_PER_S),
        _family("go_gc_duration_seconds", SUMMARY, "Pauses of garbage collections.", pauses),
    ]


def _process(go: GoVersion, rss_bytes: int, start_s: float) -> list[str]:
    return [
        _family("go_info", GAUGE, "The Go version.", {f'{{version="{go}"}}': 1}),
        _single("process_resident_memory_bytes", "Resident memory in bytes.", rss_bytes),
        _single("process_start_time_seconds", "Start of the process, seconds since 1970.", start_s),
    ]


def _single(name: str, text: str, value: float, kind: str = GAUGE) -> str:
    return _family(name, kind, text, {"": value})


def _family(name: str, kind: str, text: str, samples: Mapping[str, float]) -> str:
    """One metric with its HELP and TYPE; a sample is what follows the name, and the value."""
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    lines += [f"{name}{rest} {number(value)}" for rest, value in samples.items()]
    return "\n".join(lines) + "\n"


def _name(family: str) -> str:
    return family.split(" ", 3)[2]


def number(value: float) -> str:
    """A float64 as strconv.FormatFloat(value, 'g', -1, 64) writes it: the fewest digits that give the same
    float64 again, and an exponent from 1e+06 and below 1e-04 on."""
    digits = Decimal(repr(float(value))).normalize()
    exponent = digits.adjusted()
    if not digits or -4 <= exponent < 6:
        return f"{digits:f}"
    mantissa = f"{digits.scaleb(-exponent):f}"
    return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
