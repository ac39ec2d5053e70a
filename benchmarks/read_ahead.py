"""What reading smaps in a thread, while the program is imported, brings: the PID first makes the script do it."""

from __future__ import annotations

from benchmarks import targets
from benchmarks.bench import Bench
from benchmarks.report import Section, skipped
from whyrss.errors import TargetError

TIMES = 2  # as many rounds: the difference is near the noise


def run(bench: Bench, go_version: str, size_mib: int) -> Section:
    title = f"Reading ahead: Go {go_version}, {size_mib} MiB"
    try:
        with targets.go_lazyfree(go_version, size_mib) as pid:
            plain = [bench.installed.whyrss, "-p", str(pid), "--basis", "vma"]
            commands = {
                "not ahead (-p PID)": plain,
                "the same again": plain,
                "ahead (PID -p)": bench.explain(pid, "-p"),
            }
            section = bench.commands(title, "not ahead (-p PID)", commands, TIMES * bench.rounds)
    except TargetError as error:
        return skipped(title, error)
    section.notes.append("`The same again` shows the noise: its ratios are 1 but for it.")
    return section
