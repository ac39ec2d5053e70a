"""The goroutines of a Go process at one moment, as plain data: how many, on how much stack, who made them, what
they wait for. No I/O."""

from __future__ import annotations

MOST_SITES = 100
MAKER_CHARACTERS = 120


class Site:
    """The goroutines that one function made and that began in the same function.

    created_by        the function that holds the `go` statement, as behind "created by" in a traceback; "" where it
                      is unknown, and for goroutine 1 and for threads of C that called into Go, which nobody made
    start             the function that they began in. Go 1.17 and later begin a `go f(x)` with arguments in a
                      function of the compiler's, which tracebacks hide: "main.serve.gowrap1", up to Go 1.21
                      "main.serve.func1" or "main.serve.func1·dwrap·1"
    count, stack_bytes
                      how many there are, and the sum of their stacks
    states            how many by state, see Goroutines
    waiting_since_gc  how many block since before the last collection began: g.waitsince is set where the collector
                      meets a goroutine that waits (runtime/mgcmark.go, markroot), and cleared when it goes on
    """

    __slots__ = ("count", "created_by", "stack_bytes", "start", "states", "waiting_since_gc")

    def __init__(self, created_by: str, start: str) -> None:
        self.created_by = created_by
        self.start = start
        self.count = 0
        self.stack_bytes = 0
        self.states: dict[str, int] = {}
        self.waiting_since_gc = 0

    def add(self, count: int, stack_bytes: int, state: str, waiting_since_gc: int) -> None:
        """Add `count` goroutines in one state, with `stack_bytes` in all."""
        self.count += count
        self.stack_bytes += stack_bytes
        self.states[state] = self.states.get(state, 0) + count
        self.waiting_since_gc += waiting_since_gc

    @property
    def maker(self) -> str:
        """Who made them, or where they began, for a sentence: without control characters and the braces of a
        template, and not longer than a line."""
        name = self.created_by or self.start or "a function without a name"
        return "".join(char if char.isprintable() and char not in "{}" else "?" for char in name[:MAKER_CHARACTERS])


class Goroutines:
    """All goroutines of a process; the runtime never forgets one that it has made (runtime/proc.go, allgs).

    total             the structures that exist: the most goroutines there ever were at once
    dead              not in use, kept for the next `go` statement, with dead_stack_bytes of stack that they have kept
    unread            whose structure could not be read, for it is in swap
    live              all others, with stack_bytes of stack; `live - system` is what pprof's goroutine profile counts,
                      and runtime.NumGoroutine() but for a goroutine that calls finalizers or cleanups at the moment
    system            those of `live` that the runtime made for itself, by the rule of runtime.isSystemGoroutine
    g_bytes           what one structure takes of the heap, rounded up to its size class
    states            how many of `live - system` by the state that a traceback shows: "running", "chan receive", ...
    sites             `live - system` by who made them and where they began, the most first, at most MOST_SITES:
                      what tracebacks and pprof's goroutine profile show. Beyond it other_sites more sites with
                      other_count goroutines on other_stack_bytes
    unnamed           why no function has a name; all goroutines are of one site then, also the runtime's own, for
                      these are told by name. "" where they have one
    """

    __slots__ = (
        "dead", "dead_stack_bytes", "g_bytes", "live", "other_count", "other_sites", "other_stack_bytes", "sites",
        "stack_bytes", "states", "system", "total", "unnamed", "unread",
    )  # fmt: skip

    def __init__(self, total: int, g_bytes: int) -> None:
        self.total = total
        self.g_bytes = g_bytes
        self.live = self.dead = self.system = self.unread = 0
        self.stack_bytes = self.dead_stack_bytes = 0
        self.states: dict[str, int] = {}
        self.sites: list[Site] = []
        self.other_sites = self.other_count = self.other_stack_bytes = 0
        self.unnamed = ""

    def rank(self, sites: list[Site]) -> None:
        """Keep the largest of the sites, add up the rest, and count the states of all."""
        ranked = sorted(sites, key=lambda site: (-site.count, -site.stack_bytes, site.created_by, site.start))
        self.sites = ranked[:MOST_SITES]
        for site in ranked[MOST_SITES:]:
            self.other_sites += 1
            self.other_count += site.count
            self.other_stack_bytes += site.stack_bytes
        for site in ranked:
            for state, count in site.states.items():
                self.states[state] = self.states.get(state, 0) + count
