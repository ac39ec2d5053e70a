"""What each Go release does about transparent huge pages on its heap. Data only.

A row is (since, before, fact, value, source): the fact has the value from Go 1.`since` to before Go 1.`before`, both
as (minor, patch). Each fact covers Go 1.9.0 to before 1.28.0 without a gap.
"""

from __future__ import annotations

# What the runtime advises on the heap.
NOHUGEPAGE = "MADV_NOHUGEPAGE"  # on the huge pages at both ends of what it releases
HUGEPAGE = "MADV_HUGEPAGE"  # on all new heap
COLLAPSE = "MADV_COLLAPSE"  # on a chunk of 4 MiB that was released in part and is dense again
NONE = "none"

ROWS: tuple[tuple[tuple[int, int], tuple[int, int], str, str | bool, str], ...] = (
    ((9, 0), (21, 0), "heap_advice", NOHUGEPAGE, "runtime/mem_linux.go, sysUnused, Go 1.9 to 1.20"),
    ((21, 0), (21, 1), "heap_advice", HUGEPAGE, "runtime/mpagealloc.go, grow, Go 1.21.0; commit 8fa9e3beee"),
    ((21, 1), (21, 4), "heap_advice", COLLAPSE, "runtime/mgcscavenge.go, Go 1.21.1; commit 06df3292a8"),
    ((21, 4), (28, 0), "heap_advice", NONE, "runtime/mgcscavenge.go, Go 1.21.4; commit ef6993f327"),
    # GODEBUG=disablethp=1: MADV_NOHUGEPAGE on all that is mapped.
    ((9, 0), (21, 6), "has_disablethp", False, "runtime/runtime1.go, dbgvars, Go 1.9 to 1.21.5"),
    ((21, 6), (28, 0), "has_disablethp", True, "runtime/mem_linux.go, sysMapOS, Go 1.21.6; commit c915215af6"),
)
