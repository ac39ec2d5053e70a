"""The catalogue, in the order in which causes are looked at and may claim bytes: the special before the general."""

from whyrss.finding import Entry
from whyrss.gates import (
    always,
    both,
    figure,
    kernel_page,
    line,
    memory_limit,
    no_memory_limit,
    peak,
    releases,
    setting,
)

MIB = 1 << 20

GROUPS = {
    "Released, but resident": (
        Entry("lazyfree", always, section="Vmas", any_program=True),
        Entry("runtime-hugepages", line(4 * MIB, "heap/released/hugepage", share=20)),
        Entry("hugepage-refill", line(4 * MIB, "heap/released/hugepage", "heap/released/other", share=20)),
        Entry("locked", line(4 * MIB, "heap/released/locked", share=20)),
        Entry("large-pages", both(kernel_page(8193), line(4 * MIB, "heap/retained", share=20))),
        Entry("madvise-refused", line(4 * MIB, "heap/released/other", share=20)),
    ),
    "Used by Go, where it is known for what": (
        Entry("fragmentation", line(4 * MIB, "heap/slack", share=10)),
        Entry("large-zeroed", both(releases("go1.24"), line(4 * MIB, "heap/live", share=20))),
        Entry("ballast", figure("HeapInuse", 32 * MIB)),
        Entry("goroutine-leak", line(8 * MIB, "heap/stacks", share=20)),
        Entry("dead-goroutines", both(line(4 * MIB, "heap/live", share=20), figure("goroutines_made", 8192))),
        Entry("goroutine-stacks", line(4 * MIB, "heap/stacks", share=20)),
        Entry("profiling-buckets", both(line(16 * MIB, "runtime", share=20), figure("BuckHashSys", 16 * MIB))),
    ),
    "Kept by Go": (
        Entry("scavenger-stuck", line(4 * MIB, "heap/retained", share=20)),
        Entry(
            "limit-goal-bug",
            both(
                releases("go1.19", "go1.20", "go1.21"), both(line(4 * MIB, "heap/retained", share=20), memory_limit)
            ),
        ),
        Entry("external-fragmentation", line(4 * MIB, "heap/retained", share=20)),
        Entry("scavenger-pending", line(4 * MIB, "heap/retained", share=20)),
        Entry("past-spike", both(figure("HeapReleased", 16 * MIB), peak(2))),
        Entry("gogc-headroom", line(4 * MIB, "heap/live", share=20)),
    ),
    "Settings, which claim no bytes": (
        Entry("leftover-madvdontneed", setting("madvdontneed"), section="Vmas"),
        Entry("no-gomemlimit", both(line(16 * MIB, "heap/live"), no_memory_limit)),
        Entry("gomemlimit-too-low", both(line(4 * MIB, "heap/live"), memory_limit)),
    ),
    "Used by Go, honestly": (
        Entry("runtime-metadata", line(8 * MIB, "runtime", share=10)),
        Entry("live-heap", line(4 * MIB, "heap/live", share=5)),
    ),
}

CAUSES = tuple(entry for entries in GROUPS.values() for entry in entries)
