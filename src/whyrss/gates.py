"""What has to be there before a cause is worth a look: cheap tests, so that most causes need not be imported."""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.read.status import size_bytes
from whyrss.snapshot import Build, Host, Process, Status

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

    Gate = Callable[[Snapshot, Account], bool]

LIMIT_SINCE = 19  # go.dev/doc/go1.19


def always(snapshot: Snapshot, account: Account) -> bool:
    """It has to look by itself."""
    return True


def line(least_bytes: int, *paths: str, share: int = 0) -> Gate:
    """One of the lines of the account holds as much, and is one `share`-th of RSS."""

    def holds(snapshot: Snapshot, account: Account) -> bool:
        size_bytes = max(account.root.bytes_of(path) for path in paths)
        return size_bytes >= least_bytes and (not share or size_bytes * share >= account.rss_bytes)

    return holds


def peak(times: int) -> Gate:
    """RSS was so many times what it is, or that cannot be told."""

    def holds(snapshot: Snapshot, account: Account) -> bool:
        status = snapshot.get(Status)
        peak_bytes = size_bytes(status.fields, "VmHWM") if status else None
        return peak_bytes is None or peak_bytes >= times * account.rss_bytes

    return holds


def figure(name: str, least: int) -> Gate:
    """A figure of the runtime is as large, or cannot be told, which the cause then says."""

    def holds(snapshot: Snapshot, account: Account) -> bool:
        from whyrss.runtime import Runtime  # an account by VMA does without

        runtime = snapshot.get(Runtime)
        value = runtime.get(name) if runtime else None
        return value is None or value >= least

    return holds


def memory_limit(snapshot: Snapshot, account: Account) -> bool:
    """A soft memory limit is set, or cannot be told."""
    from whyrss.environment import NO_LIMIT_BYTES
    from whyrss.runtime import Runtime

    runtime = snapshot.get(Runtime)
    if runtime and 0 < runtime.go_minor < LIMIT_SINCE:
        return False
    return runtime is None or runtime.get("memory_limit_bytes") != NO_LIMIT_BYTES


def no_memory_limit(snapshot: Snapshot, account: Account) -> bool:
    """No soft memory limit is set, or that cannot be told."""
    from whyrss.environment import NO_LIMIT_BYTES

    return figure("memory_limit_bytes", NO_LIMIT_BYTES)(snapshot, account)


def kernel_page(least_bytes: int) -> Gate:
    """The kernel's pages are as large, or that cannot be told."""

    def holds(snapshot: Snapshot, account: Account) -> bool:
        host = snapshot.get(Host)
        return host is None or host.page_bytes >= least_bytes

    return holds


def setting(name: str) -> Gate:
    """A word stands in the environment's GODEBUG, or in what was linked in; or the environment cannot be read."""

    def holds(snapshot: Snapshot, account: Account) -> bool:
        process, build = snapshot.get(Process), snapshot.get(Build)
        linked = build.settings.get("-ldflags", "") if build else ""
        try:
            return name in linked or process is None or name in process.environ.get("GODEBUG", "")
        except Missing:
            return True

    return holds


def releases(*starts: str) -> Gate:
    """The program was built by a Go whose version begins so."""

    def holds(snapshot: Snapshot, account: Account) -> bool:
        build = snapshot.get(Build)
        return build is None or (build.go_version or "").startswith(starts)

    return holds


def both(one: Gate, other: Gate) -> Gate:
    return lambda snapshot, account: one(snapshot, account) and other(snapshot, account)
