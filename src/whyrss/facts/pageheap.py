"""How the page heap, the collector and the scavenger of each Go release work, as far as the lab models them.

Data only, in the rows of facts/go.py: (since, until, fact, value, source), by Go 1.minor, both included.
"""

from __future__ import annotations

PAGE_BYTES = 8 << 10  # runtime/sizeclasses.go, _PageShift = 13
ARENA_BYTES = 64 << 20  # runtime/malloc.go, heapArenaBytes, 64-bit Linux
CHUNK_PAGES = 512  # runtime/mpagealloc.go, pallocChunkPages: 4 MiB
HEAP_BASE = 0xC000000000  # runtime/malloc.go, mallocinit: the first hint of linux/amd64
DENSE_PAGES = 496  # runtime/mgcscavenge.go, scavChunkHiOccFrac = 0.96875 of a chunk
HEAP_MINIMUM_BYTES = 4 << 20  # runtime/mgc.go and mgcpacer.go, defaultHeapMinimum, at GOGC=100
FORCED_GC_S = 120  # runtime/proc.go, forcegcperiod
IDLE_SPAN_S = 300  # runtime/proc.go, scavengelimit, Go 1.9 to 1.12
IDLE_CHECK_S = 150  # runtime/proc.go, scavengelimit / 2
QUANTUM_BYTES = 64 << 10  # runtime/mgcscavenge.go, scavengeQuantum, Go 1.18 and later
WORK_S = 0.001  # runtime/mgcscavenge.go, minScavWorkTime, Go 1.18 and later
CPU_SHARE = 0.01  # runtime/mgcscavenge.go, scavengePercent
RETAIN_EXTRA = 0.1  # runtime/mgcscavenge.go, retainExtraPercent
STACK_SPAN_BYTES = 32 << 10  # runtime/malloc.go, _StackCacheSize: a span of small stacks

ROWS: tuple[tuple[int, int, str, int | float | str | bool, str], ...] = (
    # In which steps address space becomes heap, and whether what was never touched counts as released.
    (9, 10, "map_bytes", 1 << 20, "runtime/mheap.go, _HeapAllocChunk, Go 1.9 and 1.10"),
    (11, 16, "map_bytes", 64 << 20, "runtime/malloc.go, sysAlloc, Go 1.11 to 1.16"),
    (17, 27, "map_bytes", 4 << 20, "runtime/mheap.go, grow, Go 1.17; commit bd6aeca968"),
    (9, 12, "fresh_is_released", False, "runtime/mheap.go, grow, Go 1.9 to 1.12"),
    (13, 27, "fresh_is_released", True, "runtime/mheap.go, grow, Go 1.13"),
    # Of a random heap base: what its padding adds to HeapSys and HeapReleased. It takes 0 to 4 MiB of a chunk,
    # and with that a chunk more or none: -2 to +4 MiB, so the middle.
    (9, 25, "padding_bytes", 0, "runtime/malloc.go, Go 1.25 and earlier: the heap begins at a fixed address"),
    (26, 27, "padding_bytes", 1 << 20, "runtime/malloc.go, randomizeHeapBase, Go 1.26; internal/buildcfg/exp.go"),
    # Who gives free pages back, and when.
    (9, 11, "scavenger", "age", "runtime/mheap.go, scavenge, Go 1.9 to 1.11: unused for 5 minutes"),
    (12, 12, "scavenger", "age and growth", "runtime/mheap.go, scavengeLargest, Go 1.12"),
    (13, 27, "scavenger", "goal", "runtime/mgcscavenge.go, bgscavenge, Go 1.13"),
    (
        9,
        17,
        "scavenger_step",
        "page",
        "runtime/mgcscavenge.go, bgscavenge, Go 1.13 to 1.17: a physical page, huge or not",
    ),
    (18, 27, "scavenger_step", "quantum", "runtime/mgcscavenge.go, scavengerState.run, Go 1.18"),
    (9, 20, "keeps_dense_chunks", False, "runtime/mgcscavenge.go, Go 1.20 and earlier"),
    (21, 27, "keeps_dense_chunks", True, "runtime/mgcscavenge.go, shouldScavenge, Go 1.21; commit 8fa9e3beee"),
    (
        9,
        20,
        "searches_from",
        "top",
        "runtime/mgcscavenge.go, scavengeStartGen and scavengeIndex.mark, Go 1.14 to 1.20",
    ),
    (21, 27, "searches_from", "last generation", "runtime/mgcscavenge.go, nextGen, freeHWM, Go 1.21"),
    # The memory limit, and the goal of the background scavenger for it.
    (9, 18, "has_memory_limit", False, "runtime/mgcpacer.go: since Go 1.19"),
    (19, 27, "has_memory_limit", True, "runtime/mgcpacer.go, readGOMEMLIMIT, Go 1.19"),
    (9, 18, "limit_goal_share", 0.0, "no memory limit before Go 1.19"),
    (19, 21, "limit_goal_share", 95.0, "runtime/mgcscavenge.go, Go 1.19 to 1.21; issue 62449: 95 times the limit"),
    (22, 27, "limit_goal_share", 0.95, "runtime/mgcscavenge.go, Go 1.22; commit 729f214e3a"),
    (9, 20, "limit_headroom_share", 0.0, "runtime/mgcpacer.go, memoryLimitHeapGoalHeadroom, Go 1.19 and 1.20"),
    (21, 27, "limit_headroom_share", 0.03, "runtime/mgcpacer.go, memoryLimitHeapGoalHeadroomPercent, Go 1.21"),
    # The pacer: what the goal counts, and how late in the way to it the collector starts.
    (9, 17, "goal_counts_roots", False, "runtime/mgc.go, gcSetTriggerRatio, Go 1.17 and earlier"),
    (18, 27, "goal_counts_roots", True, "runtime/mgcpacer.go, commit, Go 1.18; issue 44167"),
    (9, 18, "trigger_distance_bytes", 0, "runtime/mgc.go, gcSetTriggerRatio: 95 % of the way, Go 1.18 and earlier"),
    (
        19,
        27,
        "trigger_distance_bytes",
        4 << 20,
        "runtime/mgcpacer.go, trigger: defaultHeapMinimum before the goal, Go 1.19",
    ),
    # Whether new goroutines begin with a stack of the average size.
    (9, 18, "stacks_adapt", False, "runtime/proc.go, malg, Go 1.18 and earlier: 2 KiB"),
    (19, 27, "stacks_adapt", True, "runtime/stack.go, startingStackSize, adaptivestackstart, Go 1.19"),
    # What huge pages are advised where memory is given back and used again.
    (9, 20, "huge_pages", "edges", "runtime/mem_linux.go, sysUnused and sysUsed, Go 1.9 to 1.20"),
    (21, 27, "huge_pages", "none", "runtime/mem_linux.go, Go 1.21.4; 1.21.0 to 1.21.3 differ, see docs/lab.md"),
    # Structures beside the heap, for the figures of MemStats only: bytes of heap for each byte of bitmap (0: none).
    (9, 19, "bitmap_divisor", 32, "runtime/mbitmap.go, Go 1.19 and earlier"),
    (20, 21, "bitmap_divisor", 64, "runtime/mbitmap.go, Go 1.20 and 1.21"),
    (22, 27, "bitmap_divisor", 0, "runtime/mbitmap.go, allocation headers, Go 1.22"),
)
