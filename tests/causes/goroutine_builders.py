"""Goroutines for the tests of the causes that read them, and what a check by hand makes of a finding's document."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from whyrss.goroutines import Goroutines, Site
from whyrss.show.json import show
from whyrss.verdict import Diagnosis, Verdict

if TYPE_CHECKING:
    from whyrss.account import Account
    from whyrss.finding import Evidence
    from whyrss.snapshot import Snapshot

SYSTEM = 6


def site_of(
    maker: str, count: int, each_bytes: int, state: str = "chan receive", since: int | None = None, start: str = ""
) -> Site:
    """Goroutines of one maker in one state, all of which wait since before the last collection but for `since`."""
    site = Site(maker, start or f"{maker}.func1")
    site.add(count, count * each_bytes, state, count if since is None else since)
    return site


def goroutines_of(*sites: Site, dead: int = 0, g_bytes: int = 480, dead_stack_bytes: int = 0) -> Goroutines:
    """These, SYSTEM of the runtime's on 2 KiB each, and dead ones."""
    live = SYSTEM + sum(site.count for site in sites)
    found = Goroutines(live + dead, g_bytes)
    found.live, found.system, found.dead, found.dead_stack_bytes = live, SYSTEM, dead, dead_stack_bytes
    found.stack_bytes = SYSTEM * 2048 + sum(site.stack_bytes for site in sites)
    found.rank(list(sites))
    return found


def by_hand(evidence: Evidence, snapshot: Snapshot, account: Account) -> str:
    """What the check prints where `whyrss --json PID` prints the document of that snapshot."""
    command, _, filters = evidence.check.partition(" | ")
    assert command == f"whyrss --json {snapshot.target}"
    document = show(Verdict(snapshot, account, Diagnosis()))
    done = subprocess.run(["sh", "-c", filters], input=document, capture_output=True, text=True, check=True)
    return done.stdout.strip()
