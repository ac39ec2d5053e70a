"""lazyfree without Go: the model of Go 1.15's page heap is filled, dropped, given back, and waits for commands.

Speaks like lazyfree.go: prints `READY {MemStats}`, then answers `check` and `stats` on stdin, ends at its end.
"""

from __future__ import annotations

import json
import os
import sys
import zlib
from fractions import Fraction

from whyrss.lab.model.figures import memstats
from whyrss.lab.model.objects import NEWEST
from whyrss.lab.model.runtime import Runtime
from whyrss.lab.model.settings import Settings
from whyrss.policy import GoVersion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.lab.model.objects import Group

BLOCK_BYTES = 1 << 20
LIVE_BLOCK_BYTES = 64 << 10


def main() -> None:
    size_bytes = int(sys.argv[1]) << 20
    live_bytes = int(sys.argv[2]) << 20
    with Runtime(Settings(GoVersion.parse("go1.15.15"))) as runtime:
        runtime.allocate(live_bytes, LIVE_BLOCK_BYTES)
        live = runtime.objects.groups[0]
        checksums = _fill(runtime, live)
        runtime.allocate(size_bytes, BLOCK_BYTES)
        dropped = size_bytes // BLOCK_BYTES
        runtime.drop(Fraction(dropped, dropped + len(checksums)), NEWEST)
        runtime.free_os_memory()
        print(f"READY {_stats(runtime)}", flush=True)
        for line in sys.stdin:
            if line.strip() == "stats":
                print(f"STATS {_stats(runtime)}", flush=True)
            elif line.strip() == "check":
                bad = sum(
                    zlib.crc32(found) != crc for found, crc in zip(_read(runtime, live), checksums, strict=True)
                )
                print(f"BAD {bad}" if bad else f"OK {len(checksums)} blocks", flush=True)


def _fill(runtime: Runtime, live: Group) -> list[int]:
    """Writes each live block; returns the checksums."""
    checksums = []
    for number, at in enumerate(live.objects):
        page, offset_bytes = live.pool.place(at)
        data = _content(number)
        runtime.heap.memory.write(runtime.heap.address(page) + offset_bytes, data)
        checksums.append(zlib.crc32(data))
    return checksums


def _read(runtime: Runtime, live: Group) -> list[bytes]:
    places = [live.pool.place(at) for at in live.objects]
    return [runtime.heap.memory.read(runtime.heap.address(page) + at, LIVE_BLOCK_BYTES) for page, at in places]


def _stats(runtime: Runtime) -> str:
    figures = {name: value for name, value in memstats(runtime).items() if isinstance(value, int)}
    return json.dumps({"pid": os.getpid(), **figures})


def _content(number: int) -> bytes:
    """A block that is different for each number, and that no page of zeros passes for."""
    seed = number.to_bytes(4, "little") + b"whyrss!\xff\x01\x02\x03\x04"
    return (seed * (LIVE_BLOCK_BYTES // len(seed) + 1))[:LIVE_BLOCK_BYTES]


if __name__ == "__main__":
    main()
