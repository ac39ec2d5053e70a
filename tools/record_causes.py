"""Makes tests/recordings again: the lab program of each cause, and a healthy process, by real Go programs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.support import go_program, running  # noqa: E402  (the root has to be on the path first)
from whyrss.sources.recording import record  # noqa: E402  (the root has to be on the path first)

# name of the recording: the Go that builds the program, and its environment
RECORDINGS = {
    "lazyfree": ("1.15", {"GODEBUG": ""}),
    "healthy": ("1.27", {"GODEBUG": ""}),
}


def main() -> None:
    for name, (version, environ) in RECORDINGS.items():
        to = ROOT / "tests" / "recordings" / name
        shutil.rmtree(to, ignore_errors=True)
        with running([go_program(version), "200", "8"], environ) as program:
            record(program.pid, str(to))
            generalise(to, program.pid)


def generalise(recording: Path, pid: int) -> None:
    """Takes out where this machine keeps things: the program's folder and the cgroup's name. No figure changes."""
    files = [path for path in recording.rglob("*") if path.is_file()]
    process = recording / "proc" / str(pid)
    folder = str(Path((process / "exe.link").read_text()).parent)
    memory = next(line for line in (process / "cgroup").read_text().splitlines() if ":memory:" in line)
    cgroup = memory.split(":", 2)[2].lstrip("/")
    for path in files:
        text = path.read_bytes().replace(folder.encode(), b"/opt/lab")
        if cgroup:
            text = text.replace(cgroup.encode(), b"lab")
        if path.name == "mountinfo":
            text = b"".join(line for line in text.splitlines(keepends=True) if b"cgroup" in line)
        path.write_bytes(text)
    below = recording / "sys" / "fs" / "cgroup" / "memory"
    if cgroup:
        (below / cgroup).rename(below / "lab")
        shutil.rmtree(below / cgroup.split("/")[0], ignore_errors=True)
    manifest = recording / "whyrss-recording.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()), indent=1) + "\n")


if __name__ == "__main__":
    main()
