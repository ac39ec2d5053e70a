"""Small snapshots and accounts for the tests of causes: a section is there only where it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whyrss.account import TOP_GO, Account, Line
from whyrss.errors import Missing
from whyrss.runtime import Runtime
from whyrss.snapshot import Process, Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

MIB = 1 << 20
TAKEN_AT = "2026-01-01T00:00:00Z"
TAKEN_AT_UNIX = 1767225600  # date -u -d 2026-01-01 +%s


def account_of(lines: Mapping[str, int], rss_bytes: int = 0) -> Account:
    """An account by page with these lines, in bytes by path; what is missing to `rss_bytes` is image."""
    root = Line("rss")
    for name in TOP_GO:
        root.child(name)
    for path, size_bytes in lines.items():
        root.add(tuple(path.split("/")), size_bytes)
    root.add(("image",), max(0, rss_bytes - root.bytes))
    return Account(root, "page", "", None)


def snapshot_of(
    figures: Mapping[str, int] | Missing,
    *sections: object,
    go_minor: int = 27,
    environ: dict[str, str] | Missing | None = None,
    target: str = "7",
    missing: Mapping[str, Missing] | None = None,
) -> Snapshot:
    """A snapshot with these figures of the runtime, or the reason why there are none; `sections` by their type,
    `missing` by name."""
    found: dict[str, object] = {type(section).__name__: section for section in sections}
    found["Runtime"] = figures if isinstance(figures, Missing) else Runtime(figures, "memory", go_minor)
    found["Process"] = Process(7, "prog", "/bin/prog", 1, "S", {} if environ is None else environ)
    return Snapshot(TAKEN_AT, target, "cat /proc/7/{}", {**found, **(missing or {})})
