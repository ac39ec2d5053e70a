"""What each Go release does with a fresh object that has a span of its own and pointers in it. Data only.

A row is (since, before, fact, value, source): the fact has the value from Go 1.`since` to before Go 1.`before`, both
as (minor, patch). It covers Go 1.9.0 to before 1.28.0 without a gap.
"""

from __future__ import annotations

# Whether it is cleared also where its memory comes fresh from the kernel, and is zero already.
CLEARS = "clears_zero_memory"

ROWS: tuple[tuple[tuple[int, int], tuple[int, int], str, bool, str], ...] = (
    ((9, 0), (24, 0), CLEARS, False, "runtime/malloc.go, mallocgc, Go 1.9 to 1.23: needzero && span.needzero != 0"),
    ((24, 0), (24, 6), CLEARS, True, "runtime/malloc.go, mallocgcLarge, Go 1.24.0; CL 614257; issue 72991"),
    ((24, 6), (25, 0), CLEARS, False, "runtime/malloc.go, Go 1.24.6; commit 390ffce7d60a; issue 73800"),
    ((25, 0), (28, 0), CLEARS, False, "runtime/malloc.go, Go 1.25; commit df9888ea4e; CL 659956"),
)
