"""`whyrss reclaim TARGET`: the command's name is the consent; it acts at once."""

from __future__ import annotations

import argparse
import sys

from whyrss.errors import RefusedError, UsageError
from whyrss.live import reclaim
from whyrss.show.choose import choose
from whyrss.show.progress import Progress
from whyrss.show.units import size
from whyrss.snapshot import Host, Vmas
from whyrss.sources import open_source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.live.reclaim import Figures, Outcome
    from whyrss.snapshot import Snapshot


def run(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    source = open_source(options.target, pid=options.pid, choose=choose)
    if not source.files.live:
        raise UsageError(f"{options.target} is a recording", "only a running process can give memory back")
    snapshot = source.collect()
    if "LazyFree" not in snapshot[Vmas].fields:
        raise RefusedError("this kernel does not say which pages are lazily freed", "needs Linux 4.12 or later")
    if options.dry_run:
        return _dry_run(snapshot, source.pid, options.json)
    progress = Progress()
    try:
        outcome = reclaim.reclaim(snapshot, source.pid, progress)
    finally:
        progress.close()
    _print(source.pid, outcome, options.json)
    return 0 if outcome.worked else RefusedError.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="whyrss reclaim",
        description="Have the kernel take the lazily freed pages of a process now, by process_madvise(MADV_PAGEOUT). "
        "The process is not stopped; memory that it uses is not touched. Needs CAP_SYS_NICE and CAP_SYS_PTRACE.",
    )
    parser.add_argument("target", help="a PID or a process name")
    parser.add_argument(
        "-p", "--pid", action="store_true", help="TARGET is a PID or a name, whatever else it could be"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser


def _dry_run(snapshot: Snapshot, pid: int, as_json: bool) -> int:
    ranges = reclaim.plan(pid, snapshot[Vmas], snapshot[Host])
    planned_bytes = sum(end - start for start, end in ranges)
    before = reclaim.Figures(snapshot[Vmas])
    if as_json:
        _print_json({"pid": pid, "before": _figures(before), "planned_bytes": planned_bytes, "ranges": len(ranges)})
        return 0
    calls = sum(1 for _ in reclaim.batches(ranges))
    print(f"Would ask for {size(planned_bytes)} in {len(ranges)} ranges by {calls} calls; nothing was done.")
    print(f"RSS {size(before.rss_bytes)}, lazily freed {size(before.lazyfree_bytes)}.")
    return 0


def _print(pid: int, outcome: Outcome, as_json: bool) -> None:
    before, after = outcome.before, outcome.after
    if as_json:
        _print_json(
            {
                "pid": pid,
                "before": _figures(before),
                "after": _figures(after),
                "reclaimed_bytes": outcome.reclaimed_bytes,
            }
        )
        return
    if before.lazyfree_bytes < reclaim.DRAINED_BYTES:
        found = f"only {size(before.lazyfree_bytes)}" if before.lazyfree_bytes else "no page"
        print(f"Nothing to reclaim: {found} of process {pid} is lazily freed. RSS {size(before.rss_bytes)}.")
        return
    print(f"{'':<14}{'before':>12}{'after':>12}")
    print(f"{'RSS':<14}{size(before.rss_bytes):>12}{size(after.rss_bytes):>12}")
    print(f"{'lazily freed':<14}{size(before.lazyfree_bytes):>12}{size(after.lazyfree_bytes):>12}")
    if outcome.worked:
        print(f"The kernel took {size(outcome.reclaimed_bytes)}; the process was not stopped.")
    else:
        print("The kernel did not take these pages. The process may free memory faster than it is taken,")
        print("or it is locked in memory (VmLck in /proc/PID/status).")


def _figures(figures: Figures) -> dict[str, int]:
    return {"rss_bytes": figures.rss_bytes, "lazyfree_bytes": figures.lazyfree_bytes}


def _print_json(document: dict[str, object]) -> None:
    import json

    sys.stdout.write(json.dumps(document, indent=2) + "\n")
