"""lazyfree without Go: fills a page heap, drops it, gives it back with MADV_FREE, and waits for commands.

Speaks like lazyfree.go: prints `READY {MemStats}`, then answers `check` and `stats` on stdin, ends at its end.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import zlib

from whyrss.lab.pageheap import PageHeap

BLOCK_BYTES = 1 << 20
LIVE_BLOCK_BYTES = 64 << 10


def main() -> None:
    size_bytes = int(sys.argv[1]) << 20
    live_bytes = int(sys.argv[2]) << 20
    heap = PageHeap(size_bytes + live_bytes, mmap.MADV_FREE)
    live = []
    for number in range(live_bytes // LIVE_BLOCK_BYTES):
        data = _content(number)
        span = heap.allocate(len(data))
        heap.write(span, data)
        live.append((span, zlib.crc32(data)))
    dropped = [heap.allocate(BLOCK_BYTES) for _ in range(size_bytes // BLOCK_BYTES)]
    for span in dropped:
        heap.touch(span)
    for span in dropped:
        heap.free(span, BLOCK_BYTES)
    heap.release()
    print(f"READY {json.dumps({'pid': os.getpid(), **heap.stats()})}", flush=True)
    for line in sys.stdin:
        if line.strip() == "stats":
            print(f"STATS {json.dumps(heap.stats())}", flush=True)
        elif line.strip() == "check":
            bad = sum(zlib.crc32(heap.read(span, LIVE_BLOCK_BYTES)) != crc for span, crc in live)
            print(f"BAD {bad}" if bad else f"OK {len(live)} blocks", flush=True)


def _content(number: int) -> bytes:
    """A block that is different for each number, and that no page of zeros passes for."""
    seed = number.to_bytes(4, "little") + b"whyrss!\xff\x01\x02\x03\x04"
    return (seed * (LIVE_BLOCK_BYTES // len(seed) + 1))[:LIVE_BLOCK_BYTES]


if __name__ == "__main__":
    main()
