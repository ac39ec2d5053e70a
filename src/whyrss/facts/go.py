"""How each Go release returns memory to Linux. Data only.

A row is (since, until, fact, value, source): the fact has the value in Go 1.`since` to Go 1.`until`, both
included, in every patch release. Each fact covers FIRST_MINOR to LAST_MINOR without a gap. A source names a
file of the Go source tree, with the versions in which it says so, a commit or an issue of golang/go.
"""

from __future__ import annotations

FIRST_MINOR = 9
LAST_MINOR = 27

DONTNEED = "MADV_DONTNEED"
FREE = "MADV_FREE"
MMAP = "mmap(MAP_FIXED)"

# GODEBUG variables that the runtime keeps as int32: where such a key is repeated, the last *number* counts;
# of any other key the last value counts (runtime/runtime1.go, dbgvars, parsegodebug).
INTEGER_VARIABLES = ("madvdontneed", "disablethp", "harddecommit", "decoratemappings", "gctrace", "scavtrace")

NO_VARIABLE = "runtime/runtime1.go, dbgvars, Go 1.9 to 1.11: not listed"

ROWS: tuple[tuple[int, int, str, str | bool | tuple[str, ...] | None, str], ...] = (
    # What sysUnused advises where nothing is set.
    (9, 11, "default_advice", DONTNEED, "runtime/mem_linux.go, sysUnused, Go 1.9 to 1.11"),
    (12, 15, "default_advice", FREE, "runtime/mem_linux.go, sysUnused, Go 1.12 to 1.15; issue 23687"),
    (16, 27, "default_advice", DONTNEED, "runtime/runtime1.go, Go 1.16; commit 05e6d28849; issue 42330"),
    # GODEBUG=madvdontneed.
    (9, 11, "has_madvdontneed", False, NO_VARIABLE),
    (12, 27, "has_madvdontneed", True, "runtime/runtime1.go, Go 1.12; commit 22738f07c8; issue 28466"),
    (9, 11, "advice_if_zero", None, NO_VARIABLE),
    (12, 20, "advice_if_zero", FREE, "runtime/mem_linux.go, adviseUnused, Go 1.12 to 1.20"),
    (21, 27, "advice_if_zero", FREE, "runtime/mem_linux.go, sysUnusedOS, Go 1.21 to 1.27"),
    (9, 11, "advice_if_not_zero", None, NO_VARIABLE),
    (12, 20, "advice_if_not_zero", DONTNEED, "runtime/mem_linux.go, sysUnused, Go 1.12 to 1.20"),
    (21, 27, "advice_if_not_zero", DONTNEED, "runtime/mem_linux.go, sysUnusedOS, Go 1.21 to 1.27"),
    # How its value is read: a decimal int32; what is none is ignored, and of several numbers the last counts.
    (9, 11, "plus_is_number", None, NO_VARIABLE),
    (12, 25, "plus_is_number", False, "runtime/runtime1.go, atoi32, Go 1.12 to 1.25"),
    (26, 27, "plus_is_number", True, "runtime/runtime1.go, strconv.ParseInt, Go 1.26.0 and 1.27.3"),
    (9, 11, "bare_minus_is_zero", None, NO_VARIABLE),
    (12, 25, "bare_minus_is_zero", True, "runtime/runtime1.go, atoi32, Go 1.12 to 1.25"),
    (26, 27, "bare_minus_is_zero", False, "runtime/runtime1.go, strconv.ParseInt, Go 1.26.0 and 1.27.3"),
    (9, 11, "repeated_key", None, NO_VARIABLE),
    (12, 19, "repeated_key", "last number", "runtime/runtime1.go, parsedebugvars, Go 1.12 to 1.19"),
    (20, 27, "repeated_key", "last number", "runtime/runtime1.go, parsegodebug, Go 1.20 to 1.27"),
    # Where else it can be set, and when.
    (9, 19, "has_godebug_default", False, "runtime/runtime1.go, Go 1.9 to 1.19: no such variable"),
    (20, 27, "has_godebug_default", True, "runtime/runtime1.go, godebugDefault, Go 1.20 to 1.27"),
    (9, 20, "by_go_debug_line", False, "cmd/go, Go 1.9 to 1.20: no //go:debug lines"),
    (21, 27, "by_go_debug_line", False, "internal/godebugs/table.go, Go 1.21 to 1.27: not listed"),
    (9, 11, "by_setenv", None, NO_VARIABLE),
    (12, 19, "by_setenv", False, "runtime/runtime1.go, parsedebugvars, Go 1.12 to 1.19: read at start only"),
    (20, 27, "by_setenv", False, "runtime/runtime1.go, dbgvars, Go 1.20 to 1.27: a value, not an atomic"),
    # What is tried in turn where an advice fails; what failed once is not tried again in that process.
    (9, 11, "chain", (DONTNEED,), "runtime/mem_linux.go, sysUnused, Go 1.9 to 1.11: the result is ignored"),
    (12, 20, "chain", (FREE, DONTNEED), "runtime/mem_linux.go, sysUnused, Go 1.12 to 1.20"),
    (21, 27, "chain", (FREE, DONTNEED, MMAP), "runtime/mem_linux.go, Go 1.21; commit 5ffdc1f15c"),
    # GODEBUG=harddecommit=1 also takes the access rights away (a tool for debugging).
    (9, 17, "has_harddecommit", False, "runtime/runtime1.go, dbgvars, Go 1.9 to 1.17"),
    (18, 27, "has_harddecommit", True, "runtime/runtime1.go, dbgvars, Go 1.18 to 1.27"),
    # Whether the runtime zeroes returned memory when it uses it again with madvdontneed != 0. Where it does
    # not, switching the variable on in a running process hands out what MADV_FREE left there.
    (9, 25, "zeroes_again", True, "runtime/mheap.go, Go 1.9 to 1.25"),
    (26, 27, "zeroes_again", False, "runtime/mem_linux.go, Go 1.26; commit 27937289dc"),
)
