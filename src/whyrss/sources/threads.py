"""Where the threads of a live process have their stacks, by /proc/PID/task/TID/syscall."""

from __future__ import annotations

import os

from whyrss.sources.files import read_file

THREADS_MAX = 1024  # 15 microseconds each; the shape of their mappings tells the stacks of the others


def stack_pointers(pid: int, proc: str = "/proc") -> list[int]:
    """The stack pointers of the threads that wait in the kernel; a running one shows none (proc_pid_syscall(5)).
    Empty where the right is missing (PTRACE_MODE_ATTACH_FSCREDS), or where the process has ended."""
    try:
        threads = os.listdir(f"{proc}/{pid}/task")
    except OSError:
        return []
    found = []
    for thread in threads[:THREADS_MAX]:
        try:
            pointer = parse_syscall(read_file(f"{proc}/{pid}/task/{thread}/syscall", 4096))
        except PermissionError:
            break
        except OSError:
            continue
        if pointer:
            found.append(pointer)
    return sorted(found)


def parse_syscall(line: bytes) -> int | None:
    """The last but one word: `running`, `-1 SP PC`, or `NUMBER ARGUMENT... SP PC`."""
    words = line.split()
    try:
        return int(words[-2], 16) if len(words) >= 3 else None
    except ValueError:
        return None
