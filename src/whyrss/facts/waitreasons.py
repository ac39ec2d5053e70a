"""What a goroutine waits for, and its state, by the numbers in its `g`. Data only.

A wait reason's number is its place among the constants waitReason... of runtime/runtime2.go, its text stands in
waitReasonStrings there. Compared with that file of every release from Go 1.12 to 1.25.7, and of 1.26.0, 1.26.6 and
1.27.3: within a minor version none changes, but for one more at the end in 1.23.4 (issue 69803).
"""

from __future__ import annotations

SOURCE = "runtime/runtime2.go, waitReason and waitReasonStrings"

_FIRST = (
    *("", "GC assist marking", "IO wait", "chan receive (nil chan)", "chan send (nil chan)", "dumping heap"),
    *("garbage collection", "garbage collection scan", "panicwait", "select", "select (no cases)"),
    *("GC assist wait", "GC sweep wait"),
)
_SCAVENGE = "GC scavenge wait"
_BLOCKED = ("chan receive", "chan send", "finalizer wait", "force gc (idle)")
_SLEEP = ("semacquire", "sleep", "sync.Cond.Wait")
_TIMER = "timer goroutine (idle)"
_TRACE = ("trace reader (blocked)", "wait for GC cycle", "GC worker (idle)")
_LOCKS = ("sync.Mutex.Lock", "sync.RWMutex.RLock", "sync.RWMutex.Lock")
_WORKERS = (*_TRACE, "GC worker (active)", "preempted", "debug call", "GC mark termination", "stopping the world")
_TRACED = ("flushing proc caches", "trace goroutine status", "trace proc status", "page trace flush", "coroutine")
_WEAK = "GC weak to strong wait"
_SYNCTEST = ("synctest.Run", "synctest.Wait")
_DURABLE = ("chan receive (durable)", "chan send (durable)", "select (durable)", "sync.WaitGroup.Wait (durable)")
_TO_14 = (*_FIRST, _SCAVENGE, *_BLOCKED, *_SLEEP, _TIMER, *_TRACE)
_20 = (*_FIRST, _SCAVENGE, *_BLOCKED, *_SLEEP, *_LOCKS, *_WORKERS)

# (first Go 1.minor, last one, texts by number)
WAIT_REASONS: tuple[tuple[int, int, tuple[str, ...]], ...] = (
    (12, 12, (*_FIRST, *_BLOCKED, *_SLEEP, _TIMER, *_TRACE)),
    (13, 13, _TO_14),
    (14, 14, (*_TO_14, "preempted")),
    (15, 19, (*_TO_14, "preempted", "debug call")),
    (20, 21, _20),
    (22, 22, (*_20, *_TRACED)),
    (23, 23, (*_20, *_TRACED, _WEAK)),
    (
        24,
        24,
        (
            *(*_FIRST, _SCAVENGE, *_BLOCKED, *_SLEEP, *_LOCKS, "sync.WaitGroup.Wait", *_WORKERS, *_TRACED, _WEAK),
            *(*_SYNCTEST, "chan receive (synctest)", "chan send (synctest)", "select (synctest)"),
        ),
    ),
    (
        25,
        25,
        (
            *(*_FIRST, _SCAVENGE, *_BLOCKED, "GOMAXPROCS updater (idle)", *_SLEEP, *_LOCKS, "sync.WaitGroup.Wait"),
            *(*_WORKERS, *_TRACED, _WEAK, *_SYNCTEST, *_DURABLE, "cleanup wait"),
        ),
    ),
    (
        26,
        27,
        (
            *("", "GC assist marking", "IO wait", "dumping heap", "garbage collection", "garbage collection scan"),
            *("panicwait", "GC assist wait", "GC sweep wait", _SCAVENGE, "finalizer wait", "force gc (idle)"),
            *("GOMAXPROCS updater (idle)", "semacquire", "sleep", "chan receive (nil chan)", "chan send (nil chan)"),
            *("select (no cases)", "select", "chan receive", "chan send", "sync.Cond.Wait", *_LOCKS),
            *("sync.WaitGroup.Wait", *_WORKERS, *_TRACED, _WEAK, *_SYNCTEST, *_DURABLE, "cleanup wait"),
        ),
    ),
)

# g.atomicstatus without its bit _Gscan, by the texts of a traceback: runtime/runtime2.go and gStatusStrings of
# runtime/traceback.go, Go 1.12 to 1.27. Preempted exists since 1.14, leaked and the last one since 1.26; no release
# has given another meaning to any of the numbers.
SCAN_BIT = 0x1000
STATES: dict[int, str] = {
    0: "idle",
    1: "runnable",
    2: "running",
    3: "syscall",
    4: "waiting",
    6: "dead",
    8: "copystack",
    9: "preempted",
    10: "leaked",
    11: "waiting for cgo callback",
}
SYSCALL, WAITING, LEAKED = 3, 4, 10
# Not in use: free to be used again, or (since Go 1.26) kept for a thread that C makes.
DEAD = (6, 11)
