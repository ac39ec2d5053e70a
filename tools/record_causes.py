"""Makes tests/recordings again, all or those named, by real Go programs: the lab program of each cause, and healthy
ones: python tools/record_causes.py [NAME...]

A recording that says of itself that it is documented is another tool's, and stays as it is.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))

from whyrss.errors import WhyrssError  # noqa: E402  (src may have to be put on the path first)
from whyrss.lab.causes import EXPERIMENTS, Experiment  # noqa: E402  (src may have to be put on the path first)
from whyrss.lab.matrix import (  # noqa: E402  (src may have to be put on the path first)
    DOCUMENTED,
    HEALTHY_PROGRAMS,
    run_recording,
)
from whyrss.lab.subject import running  # noqa: E402  (src may have to be put on the path first)
from whyrss.sources.recording import MANIFEST, record  # noqa: E402  (src may have to be put on the path first)

RECORDINGS = ROOT / "tests" / "recordings"
# The first that shows the cause as it should be is taken: a small recording where that will do.
SIZES_MIB = (64, 80, 96, 128)
MAX_BYTES = 100_000
# The same program as that of lazyfree, by a release that gives back with MADV_DONTNEED.
HEALTHY = Experiment("healthy", "memory given back that is gone", program="lazyfree", versions=("1.27",))
# The Go and the sizes, where it is not the newest and SIZES_MIB.
OTHERS = {"lazyfree": ("1.15", (200,)), "healthy": ("1.27", (200,))}


def main(names: list[str]) -> int:
    """How many could not be made."""
    failed = 0
    for name, experiment in wanted(names):
        to = RECORDINGS / name
        if is_documented(to):
            print(f"{name}: documented, left as it is")
            continue
        try:
            size_bytes, wrong = make(experiment, to)
        except (WhyrssError, OSError) as error:
            size_bytes, wrong = 0, [f"not made: {error}"]
        if size_bytes > MAX_BYTES:
            wrong.append(f"more than {MAX_BYTES} bytes")
        print(f"{name}: {size_bytes} bytes", *wrong, sep="; ")
        failed += bool(wrong)
    return failed


def wanted(names: list[str]) -> Iterator[tuple[str, Experiment]]:
    every = EXPERIMENTS | HEALTHY_PROGRAMS | {HEALTHY.name: HEALTHY}
    unknown = [name for name in names if name not in every]
    if unknown:
        raise SystemExit(f"no program {', '.join(unknown)}; there is: {', '.join(every)}")
    yield from ((name, experiment) for name, experiment in every.items() if name in (names or every))


def is_documented(recording: Path) -> bool:
    manifest = recording / MANIFEST
    return manifest.exists() and json.loads(manifest.read_bytes()).get("origin") == DOCUMENTED


def make(experiment: Experiment, to: Path) -> tuple[int, list[str]]:
    """The recording in place of the one that is there, once it is whole; its bytes, and what is wrong with what it
    shows. Raises WhyrssError, OSError."""
    go, sizes = OTHERS.get(experiment.name, (experiment.versions[-1], SIZES_MIB))
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".new-") as scratch:
        for size_mib in sizes:
            fresh = Path(scratch, str(size_mib), to.name)
            fresh.parent.mkdir()
            with running(experiment, go, size_mib) as (child, _):
                record(child.pid, str(fresh))
                generalise(fresh, child.pid)
            wrong = run_recording(str(fresh)).wrong
            if not wrong:
                break
        shutil.rmtree(to, ignore_errors=True)
        fresh.rename(to)
    return sum(path.stat().st_size for path in to.rglob("*") if path.is_file()), wrong


def generalise(recording: Path, pid: int) -> None:
    """Takes out where this machine keeps things: the program's folder and the cgroup's name. No figure changes."""
    files = [path for path in recording.rglob("*") if path.is_file()]
    process = recording / "proc" / str(pid)
    folder = str(Path((process / "exe.link").read_text()).parent)
    cgroup = memory_cgroup((process / "cgroup").read_text())
    for path in files:
        text = path.read_bytes().replace(folder.encode(), b"/opt/lab")
        if cgroup:
            text = text.replace(cgroup.encode(), b"lab")
        if path.name == "mountinfo":
            text = b"".join(line for line in text.splitlines(keepends=True) if b"cgroup" in line)
        path.write_bytes(text)
    if cgroup:
        rename_cgroup(recording / "sys" / "fs" / "cgroup", cgroup)
    manifest = recording / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()), indent=1) + "\n")


def memory_cgroup(text: str) -> str:
    """The path of the group that limits memory, without its slash: of cgroup v1 that of its controller."""
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2].strip("/") for line in text.splitlines()}
    return next((path for names, path in paths.items() if "memory" in names.split(",")), paths.get("", ""))


def rename_cgroup(root: Path, cgroup: str) -> None:
    """The group's files to "lab" right below the root of its hierarchy; those of the groups above it go."""
    for below in (root / "memory", root):
        if (below / cgroup).is_dir():
            (below / cgroup).rename(below / "lab")
            shutil.rmtree(below / cgroup.split("/")[0], ignore_errors=True)
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
