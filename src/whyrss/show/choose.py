"""A list to choose one process from, on a terminal."""

from __future__ import annotations

import sys

from whyrss.errors import UsageError
from whyrss.show.text import WIDTH, clean
from whyrss.show.units import size
from whyrss.sources.names import ambiguous

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.sources.names import Match


def choose(name: str, matches: list[Match]) -> int:
    """The PID that the user picks by its number in the list. Raises UsageError where none is picked, and,
    naming the processes, where nobody is there to be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ambiguous(name, matches)
    print(f"{len(matches)} processes are named {clean(name)}:", file=sys.stderr)
    for number, match in enumerate(matches, 1):
        row = f"{number:>3}  {match.pid:>7} {size(match.rss_bytes):>10}  {clean(match.command)}"
        print(row[:WIDTH], file=sys.stderr)
    print("number: ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip()
    if not answer.isdigit() or not 1 <= int(answer[:6]) <= len(matches):
        raise UsageError(f"{clean(answer) or 'nothing'} is not one of 1 to {len(matches)}")
    return matches[int(answer) - 1].pid
