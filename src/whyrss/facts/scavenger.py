"""What the scavenger of each Go release wants to keep of free heap. Data only.

A row is (since, before, fact, value, source): the fact has the value from Go 1.`since` to before Go 1.`before`, both
as (minor, patch). It covers Go 1.9.0 to before 1.28.0 without a gap. What a memory limit adds is in
facts/pageheap.py (limit_goal_share), as is how chunks that were dense are treated (keeps_dense_chunks).
"""

from __future__ import annotations

# What the goal of free and used heap together is computed from.
KEEPS = "keeps"
AGE = "age"  # there is no goal: what was unused for 5 minutes is given back
HEAP_GOAL = "heap goal"  # 1.1 * goal of the collector
IN_USE = "in use"  # 1.1 * in use when marking ended * (goal of the collector / the goal before)

ROWS: tuple[tuple[tuple[int, int], tuple[int, int], str, str, str], ...] = (
    ((9, 0), (13, 0), KEEPS, AGE, "runtime/mheap.go, scavengelimit, Go 1.9 to 1.12"),
    ((13, 0), (13, 3), KEEPS, HEAP_GOAL, "runtime/mgcscavenge.go, gcPaceScavenger, Go 1.13.0 to 1.13.2"),
    ((13, 3), (28, 0), KEEPS, IN_USE, "runtime/mgcscavenge.go, gcPaceScavenger, Go 1.13.3; issue 34048"),
)
