"""What the model's program allocated, as a heap profile has it: a record for each size of object."""

from __future__ import annotations

from whyrss.lab.formats import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from whyrss.lab.model.runtime import Runtime


def records(runtime: Runtime) -> Iterator[Record]:
    """In use are the reachable objects and the garbage that was not swept yet, as in Go's own profile."""
    for pool in runtime.objects.pools():
        if pool.mallocs:
            yield Record(
                pool.objects,
                pool.objects * pool.size_bytes,
                pool.mallocs,
                pool.mallocs * pool.size_bytes,
                (f"model.allocate({pool.size_bytes}B)", "main.main"),
            )
