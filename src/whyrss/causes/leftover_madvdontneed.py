"""madvdontneed=0 is set on a Go that gives memory back at once without it.

Why it is resident
    GODEBUG=madvdontneed=0 (or -ldflags "-X runtime.godebugDefault=madvdontneed=0") makes Go 1.16 and later release
    memory with MADV_FREE, as Go 1.12 to 1.15 did by themselves. It is often left from a guide for those, where it was
    about madvdontneed=1. Released memory then stays in RSS until the kernel needs it.

How it is measured
    By the settings: what the release makes of GODEBUG in the environment and of what was linked in (`whyrss policy
    PID`, step by step). The finding itself holds no bytes; those are lazyfree's. Known error: the environment is that
    of the start, which is the one that counts; what -trimpath took out of the build information is not seen.
    By hand: `xargs -0 -n 1 < /proc/PID/environ | grep GODEBUG`, and `go version -m` of the executable.

When it is no problem
    Where the pages are used again soon it saves page faults. It is a problem where lazyfree is one (16 MiB and a
    twentieth of RSS), else a note.

Fix
    Take madvdontneed=0 away.

References
    go.dev/doc/go1.16 (Runtime); runtime/runtime1.go, parsegodebug; golang/go issues 42330, 44554.
"""

from __future__ import annotations

from whyrss.errors import Missing, UsageError
from whyrss.facts.go import DONTNEED, FREE
from whyrss.finding import NOTE, PROBLEM, Cause, Evidence, Finding
from whyrss.fix import Fix
from whyrss.policy import GoVersion, decide, fact_of, parse_godebug, parse_ldflags
from whyrss.snapshot import Build, Host, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.policy import Policy
    from whyrss.snapshot import Snapshot

LINE = "heap/released/lazyfree"
VARIABLE = "GODEBUG="
# Where lazyfree is a problem, by the same thresholds for the same reasons.
PROBLEM_BYTES = 16 << 20
PROBLEM_SHARE = 20


def look(snapshot: Snapshot, account: Account) -> Finding | None:
    policy = _policy(snapshot)
    if policy.advice != FREE or fact_of(policy.go.minor, "default_advice")[0] != DONTNEED:
        return None
    free_bytes = account.root.bytes_of(LINE)
    problem = free_bytes >= PROBLEM_BYTES and free_bytes * PROBLEM_SHARE >= account.rss_bytes
    return Finding(
        cause="leftover-madvdontneed",
        weight=PROBLEM if problem else NOTE,
        line=LINE,
        size_bytes=0,
        reclaimable_bytes=0,
        affects=("rss",),
        confidence="certain",
        summary=f"{policy.chosen_by} makes {policy.go} keep freed memory in RSS until the kernel needs it; without "
        "that it leaves at once. No danger: the kernel takes it before any OOM kill.",
        evidence=[_evidence(snapshot, policy)],
        fixes=[_fix(policy)],
    )


def _policy(snapshot: Snapshot) -> Policy:
    """What the settings make of this release on this kernel. Raises Missing."""
    build = snapshot[Build]
    go = GoVersion.parse(build.go_version or "")
    godebug = parse_godebug(snapshot[Process].environ.get("GODEBUG", ""), go)
    linked = parse_ldflags(build.settings.get("-ldflags", ""), go)
    try:
        return decide(go, snapshot[Host].kernel or "", godebug, linked)
    except UsageError as error:
        raise Missing(str(error)) from None


def _evidence(snapshot: Snapshot, policy: Policy) -> Evidence:
    if policy.chosen_by.startswith(VARIABLE):
        value = policy.chosen_by.removeprefix(VARIABLE)
        fields = f"tr '\\0' '\\n' | sed -n 's/^GODEBUG=//p' | tr , '\\n' | grep -m 1 -x '{value}'"
        return Evidence("in GODEBUG of its environment", value, "", f"{snapshot.cat.format('environ')} | {fields}")
    sed = """sed -n 's/^ *"advice": "\\(.*\\)",*$/\\1/p'"""
    what = "what it asks for by what was linked in"
    return Evidence(what, policy.advice, "", f"whyrss policy --json {snapshot.target} | {sed}")


def _fix(policy: Policy) -> Fix:
    cost = "page faults where freed memory is used again"
    if policy.chosen_by.startswith(VARIABLE):
        return Fix("env", "take madvdontneed=0 out of GODEBUG", "costs", cost, "GODEBUG=madvdontneed=1")
    text = "build without -X runtime.godebugDefault=madvdontneed=0; until then GODEBUG=madvdontneed=1"
    return Fix("env", text, "costs", cost, "GODEBUG=madvdontneed=1")


CAUSE = Cause("leftover-madvdontneed", "madvdontneed=0 is set on a Go that would do better without", look)
