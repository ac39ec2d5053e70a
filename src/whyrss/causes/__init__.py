"""The catalogue, in the order in which causes are looked at and may claim bytes: the special before the general."""

from whyrss.finding import Entry
from whyrss.gates import always, both, figure, kernel_page, line, memory_limit, no_memory_limit, releases, setting

MIB = 1 << 20

GROUPS = {
    "Released, but resident": (
        Entry("lazyfree", always, section="Vmas", any_program=True),
        Entry("runtime-hugepages", line(4 * MIB, "heap/released/hugepage")),
        Entry("hugepage-refill", line(4 * MIB, "heap/released/hugepage", "heap/released/other")),
        Entry("locked", line(4 * MIB, "heap/released/locked")),
        Entry("large-pages", both(kernel_page(8193), line(4 * MIB, "heap/retained"))),
        Entry("madvise-refused", line(4 * MIB, "heap/released/other")),
    ),
    "Used by Go, where it is known for what": (
        Entry("fragmentation", line(4 * MIB, "heap/slack")),
        Entry("large-zeroed", both(releases("go1.24"), line(4 * MIB, "heap/live"))),
        Entry("ballast", figure("HeapInuse", 32 * MIB)),
        Entry("goroutine-leak", line(8 * MIB, "heap/stacks")),
        Entry("dead-goroutines", line(4 * MIB, "heap/live")),
        Entry("goroutine-stacks", line(4 * MIB, "heap/stacks")),
        Entry("profiling-buckets", both(line(16 * MIB, "runtime"), figure("BuckHashSys", 16 * MIB))),
    ),
    "Kept by Go": (
        Entry("scavenger-stuck", line(4 * MIB, "heap/retained")),
        Entry(
            "limit-goal-bug",
            both(releases("go1.19", "go1.20", "go1.21"), both(line(4 * MIB, "heap/retained"), memory_limit)),
        ),
        Entry("external-fragmentation", line(4 * MIB, "heap/retained")),
        Entry("scavenger-pending", line(4 * MIB, "heap/retained")),
        Entry("past-spike", figure("HeapReleased", 16 * MIB)),
        Entry("gogc-headroom", line(4 * MIB, "heap/live")),
    ),
    "Settings, which claim no bytes": (
        Entry("leftover-madvdontneed", setting("madvdontneed"), section="Vmas"),
        Entry("no-gomemlimit", both(line(16 * MIB, "heap/live"), no_memory_limit)),
        Entry("gomemlimit-too-low", both(line(4 * MIB, "heap/live"), memory_limit)),
    ),
    "Used by Go, honestly": (
        Entry("runtime-metadata", line(8 * MIB, "runtime")),
        Entry("live-heap", line(4 * MIB, "heap/live")),
    ),
}

CAUSES = tuple(entry for entries in GROUPS.values() for entry in entries)
