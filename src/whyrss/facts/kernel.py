"""What Linux knows of returned memory, and since when. Data only.

A row is (since, until, fact, value, source): the fact has the value from Linux `since` to before `until`, as
(major, minor); None is no bound. Distributions carry changes back to older releases; these are kernel.org's.
"""

from __future__ import annotations

# include/uapi/asm-generic/mman-common.h; the same on every architecture that Go runs on.
MADV_DONTNEED = 4
MADV_FREE = 8
MADV_HUGEPAGE = 14
MADV_NOHUGEPAGE = 15
MADV_COLD = 20
MADV_PAGEOUT = 21
MADV_DONTNEED_LOCKED = 24
MADV_COLLAPSE = 25

# include/uapi/asm-generic/unistd.h; the same on every architecture.
SYS_PIDFD_OPEN = 434
SYS_PROCESS_MADVISE = 440

ROWS: tuple[tuple[tuple[int, int] | None, tuple[int, int] | None, str, str | bool, str], ...] = (
    (None, (4, 5), "MADV_FREE", False, "madvise(2): since Linux 4.5"),
    ((4, 5), None, "MADV_FREE", True, "madvise(2): since Linux 4.5; commit 854e9ed09d"),
    # What becomes of pages after MADV_FREE. The list is that of the classic LRU, not of CONFIG_LRU_GEN.
    ((4, 5), (4, 12), "free_pages", "lazy with swap, at once without", "madvise(2): before Linux 4.12"),
    ((4, 12), None, "free_pages", "lazy", "madvise(2); commits f7ad2a6cb9, 802a3a92ad"),
    ((4, 5), (4, 12), "free_list", "inactive anon", "madvise(2): before Linux 4.12"),
    ((4, 12), None, "free_list", "inactive file", "Documentation/admin-guide/cgroup-v1/memory.rst"),
    (None, None, "dontneed_pages", "at once", "madvise(2), MADV_DONTNEED"),
    (None, (4, 12), "smaps_lazyfree", False, "fs/proc/task_mmu.c: since Linux 4.12"),
    ((4, 12), None, "smaps_lazyfree", True, "Documentation/filesystems/proc.rst, LazyFree"),
    (None, (4, 13), "memcg_pglazyfree", False, "mm/memcontrol.c: since Linux 4.13; commit 2262185c5b28"),
    ((4, 13), None, "memcg_pglazyfree", True, "Documentation/admin-guide/cgroup-v2.rst, pglazyfree"),
    (None, (3, 18), "madvise_optional", False, "init/Kconfig, CONFIG_ADVISE_SYSCALLS: since Linux 3.18"),
    ((3, 18), None, "madvise_optional", True, "init/Kconfig, CONFIG_ADVISE_SYSCALLS: since Linux 3.18"),
    (None, (5, 4), "MADV_COLD", False, "madvise(2): since Linux 5.4"),
    ((5, 4), None, "MADV_COLD", True, "madvise(2): since Linux 5.4"),
    (None, (5, 4), "MADV_PAGEOUT", False, "madvise(2): since Linux 5.4"),
    ((5, 4), None, "MADV_PAGEOUT", True, "madvise(2): since Linux 5.4"),
    (None, (5, 10), "process_madvise", "none", "process_madvise(2): since Linux 5.10"),
    ((5, 10), (5, 12), "process_madvise", "PTRACE_MODE_ATTACH_FSCREDS", "process_madvise(2), VERSIONS"),
    ((5, 12), None, "process_madvise", "PTRACE_MODE_READ_FSCREDS, CAP_SYS_NICE", "process_madvise(2)"),
    (None, (5, 18), "MADV_DONTNEED_LOCKED", False, "mm/madvise.c: since Linux 5.18"),
    ((5, 18), None, "MADV_DONTNEED_LOCKED", True, "mm/madvise.c: since Linux 5.18"),
    (None, (5, 19), "memory_reclaim", False, "Documentation/admin-guide/cgroup-v2.rst: since Linux 5.19"),
    ((5, 19), None, "memory_reclaim", True, "Documentation/admin-guide/cgroup-v2.rst, memory.reclaim"),
    (None, (6, 1), "MADV_COLLAPSE", False, "madvise(2): since Linux 6.1"),
    ((6, 1), None, "MADV_COLLAPSE", True, "madvise(2): since Linux 6.1"),
)
