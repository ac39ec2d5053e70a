"""What has to be there before a cause is worth a look: cheap tests, so that most causes need not be imported."""

from __future__ import annotations

from whyrss.errors import Missing
from whyrss.snapshot import Build, Host, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from whyrss.account import Account
    from whyrss.snapshot import Snapshot

    Gate = Callable[[Snapshot, Account], bool]


def always(snapshot: Snapshot, account: Account) -> bool:
    """It has to look by itself."""
    return True


def line(least_bytes: int, *paths: str) -> Gate:
    """One of the lines of the account holds as much."""
    return lambda snapshot, account: any(account.root.bytes_of(path) >= least_bytes for path in paths)


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
