"""Random programs: the invariants always hold, no page is in two states, and the kernel agrees about each page."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from whyrss.environment import NO_LIMIT_BYTES
from whyrss.facts.pageheap import PAGE_BYTES
from whyrss.lab.memory import OS_PAGE_BYTES
from whyrss.lab.memstats import violated
from whyrss.lab.model.figures import memstats
from whyrss.lab.model.runtime import Runtime
from whyrss.lab.model.settings import Settings
from whyrss.policy import GoVersion

MIB = 1 << 20
PR_SET_THP_DISABLE = 41  # include/uapi/linux/prctl.h
# Folios that each CPU may still hold back from the list of lazily freed ones (mm/swap.c).
BATCHES_BYTES = 64 * 31 * OS_PAGE_BYTES

RELEASES = ["go1.10.8", "go1.11.13", "go1.12.17", "go1.13.15", "go1.15.15", "go1.18.10", "go1.19.8", "go1.21.13"]
RELEASES += ["go1.24.11", "go1.27.3"]

sizes = st.sampled_from([8, 24, 64, 500, 1024, 6000, 8192, 20000, 32768, 33000, 65536, 300_000, MIB, 3 * MIB])
allocate = st.tuples(
    st.just("allocate"), st.integers(1, 12 * MIB), sizes, st.booleans(), st.booleans()
)  # bytes, size, keep, touch
drop = st.tuples(
    st.just("drop"),
    st.fractions(Fraction(1, 100), Fraction(1)),
    st.sampled_from(["interleaved", "oldest", "newest"]),
)
plain = st.sampled_from(
    [
        ("touch",),
        ("gc",),
        ("free-os-memory",),
        ("end-goroutines",),
        ("goroutines", 3000, 8192),
        ("goroutines", 50, 65536),
    ]
)
wait = st.tuples(st.just("wait"), st.floats(0, 400))
programs = st.lists(st.one_of(allocate, allocate, drop, plain, wait), min_size=1, max_size=12)


@pytest.fixture(scope="module", autouse=True)
def no_huge_pages() -> Iterator[None]:
    """The model counts the kernel's base pages; where a touch brings 2 MiB, the counts differ by right."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    yield
    libc.prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0)


def step(runtime: Runtime, operation: tuple[object, ...]) -> None:
    name, *arguments = operation
    methods = {
        "allocate": runtime.allocate,
        "drop": runtime.drop,
        "touch": runtime.touch,
        "gc": runtime.collect,
        "free-os-memory": runtime.free_os_memory,
        "goroutines": runtime.start_goroutines,
        "end-goroutines": runtime.end_goroutines,
        "wait": runtime.advance,
    }
    methods[str(name)](*arguments)  # type: ignore[operator]  # each operation carries its own arguments


def check(runtime: Runtime) -> None:
    pages = runtime.heap.pages
    assert pages.used_pages + pages.idle_pages + pages.released_pages == len(pages)
    spans = sorted((start, start + pool.pages) for pool in runtime.objects.pools() for start in pool.span_starts())
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    in_spans = sum(end - start for start, end in spans)
    assert in_spans + runtime.stacks.pages == pages.used_pages
    for start, end in spans:
        assert pages.is_used(start, end - start)
    kernel = runtime.heap.memory.kernel_figures()
    assert kernel["Rss"] == runtime.heap.resident_bytes
    assert runtime.heap.lazyfree_bytes - BATCHES_BYTES <= kernel["LazyFree"] <= runtime.heap.lazyfree_bytes
    stats = memstats(runtime)
    assert violated(stats) == []
    assert stats["HeapInuse"] == in_spans * PAGE_BYTES


@given(
    go=st.sampled_from(RELEASES),
    gogc=st.sampled_from([100, 10, 400, -1]),
    limit=st.sampled_from([NO_LIMIT_BYTES, 24 * MIB, 200 * MIB]),
    lazy=st.booleans(),
    program=programs,
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_the_model_and_the_kernel_agree(
    go: str, gogc: int, limit: int, lazy: bool, program: list[tuple[object, ...]]
) -> None:
    godebug = {"madvdontneed": "0" if lazy else "1"}
    with Runtime(Settings(GoVersion.parse(go), godebug, gogc, limit)) as runtime:
        check(runtime)
        for operation in program:
            step(runtime, operation)
            check(runtime)
