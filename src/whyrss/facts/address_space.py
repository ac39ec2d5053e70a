"""Where things lie in the address space, by architecture. Data only."""

from __future__ import annotations

# Go reserves its heap in arenas of this size on 64-bit Linux (runtime/malloc.go, heapArenaBytes, Go 1.11 to 1.27).
GO_ARENA_BYTES = 64 << 20

# An arena is made accessible in steps of this size: all of it at once up to Go 1.16, 4 MiB at a time from
# Go 1.17 on (runtime/mpagealloc.go, pallocChunkBytes; commit bd6aeca968).
GO_ARENA_STEP_BYTES = 4 << 20

# The runtime of Go <= 1.20 marks parts of the heap with MADV_(NO)HUGEPAGE, which splits VMAs at huge pages
# (runtime/mem_linux.go, sysUnused and sysUsed).
HUGE_PAGE_BYTES = 2 << 20

# Hints for heap arenas end here: i<<40 | 0xc0<<32 with i <= 0x3f up to Go 1.25, and from Go 1.26 on a random
# base of 46 (amd64) or 47 (arm64) bits (runtime/malloc.go, mallocinit: randHeapAddrBits, arenaHints). The
# kernel's own choices for mmap lie far above, below the stack.
GO_HEAP_HINT_END = {"amd64": 1 << 46, "arm64": 1 << 47}

# glibc's malloc makes its non-main arenas as reservations of this size and alignment, of which a part is
# readable (malloc/arena.c, HEAP_MAX_SIZE = 2 * DEFAULT_MMAP_THRESHOLD_MAX on 64 bits).
GLIBC_ARENA_BYTES = 64 << 20

# The runtime's own memory beside the heap, at most, as measured: 112 MiB for 2 GiB of small objects in Go 1.15
# (heapArena structs with pointer bitmaps, mspans, mark bits), less in every later version, and about 3 MiB in an
# idle process (memory profile hash, persistentalloc chunks).
GO_METADATA_SHARE = 16
GO_METADATA_BASE_BYTES = 4 << 20

# A guard below a thread's stack is one page, or 64 KiB where pages are that large (pthread_attr_setguardsize).
STACK_GUARD_MAX_BYTES = 64 << 10

# glibc gives a thread RLIMIT_STACK, and this where it is unlimited (nptl, ARCH_STACK_DEFAULT_SIZE on amd64, arm64).
STACK_DEFAULT_BYTES = 2 << 20
