"""Makes the recordings of tests/recordings that no machine at hand can measure, all or those named, from measured
ones of the same program: python tools/documented.py [NAME...]

Each is a real recording in which is changed what the sources named say is different; its manifest has "origin":
"documented", what was changed, and by which source.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tools.record_causes import MAX_BYTES, RECORDINGS, generalise  # noqa: E402  (the path has to be set first)
from tools.repaged import repage  # noqa: E402  (as above)
from whyrss.errors import WhyrssError  # noqa: E402  (as above)
from whyrss.lab.causes import EXPERIMENTS, Experiment  # noqa: E402  (as above)
from whyrss.lab.matrix import DOCUMENTED, run_recording  # noqa: E402  (as above)
from whyrss.lab.subject import running  # noqa: E402  (as above)
from whyrss.sources.recording import MANIFEST, record  # noqa: E402  (as above)

SIZE_MIB = 64
LARGE_PAGE_BYTES = 64 << 10
LARGE_PAGE_KERNEL = "6.8.0-generic-64k"
THP = Path("sys", "kernel", "mm", "transparent_hugepage")


class Recipe:
    """The program of a cause as this Go measures it, what `change` does to it (folder, files of the process), and why
    that is how it would be: "what: source"."""

    def __init__(self, cause: str, go: str, change: Callable[[Path, Path], None], *because: str) -> None:
        self.cause = cause
        self.go = go
        self.change = change
        self.because = because


def another_go(recording: Path, process: Path, old: str, new: str) -> None:
    """The release by which it was built, where it does the same as this one."""
    build = process / "exe.build"
    build.write_text(build.read_text().replace(f'"go_version": "go{old}"', f'"go_version": "go{new}"'))
    line, _, columns = (process / "heap").read_bytes().partition(b"\n")
    head = json.loads(line)
    head["layout"] = head["layout"].replace(f"go{old} ", f"go{new} ")
    (process / "heap").write_bytes(json.dumps(head, separators=(",", ":")).encode() + b"\n" + columns)


def go_1_21_3(recording: Path, process: Path) -> None:
    another_go(recording, process, "1.21.13", "1.21.3")
    (recording / THP / "enabled").write_text("[always] madvise never\n")


def go_1_24_5(recording: Path, process: Path) -> None:
    another_go(recording, process, "1.24.4", "1.24.5")


def large_pages(recording: Path, process: Path) -> None:
    repage(process, LARGE_PAGE_BYTES, "arm64")
    manifest = recording / MANIFEST
    found = json.loads(manifest.read_text())
    found |= {"page_bytes": LARGE_PAGE_BYTES, "kernel": LARGE_PAGE_KERNEL, "residue_bytes": 0}
    manifest.write_text(json.dumps(found))


RECIPES = {
    "runtime-hugepages": Recipe(
        "runtime-hugepages",
        "1.21.13",
        go_1_21_3,
        "go1.21.13 became go1.21.3: neither keeps huge pages off what it releases (runtime/mem_linux.go, "
        "sysUnusedOS; golang/go issue 64332), and no chunk of this program is dense again after a release, "
        "which is where 1.21.3 would call MADV_COLLAPSE (runtime/mgcscavenge.go, scavengeIndex.alloc; commit "
        "06df3292a8)",
        "transparent_hugepage/enabled became always: the huge pages were made by process_madvise(MADV_COLLAPSE), as "
        "khugepaged makes them with max_ptes_none at 511 (Documentation/admin-guide/mm/transhuge.rst)",
    ),
    "large-zeroed-go1.24.5": Recipe(
        "large-zeroed",
        "1.24.4",
        go_1_24_5,
        "go1.24.4 became go1.24.5: the correction is in 1.24.6 (commit 390ffce7d60a, golang/go issue 73800; the tags "
        "that contain it begin with go1.24.6)",
    ),
    "large-pages": Recipe(
        "large-pages",
        "1.27",
        large_pages,
        "amd64 with pages of 4 KiB became arm64 with pages of 64 KiB, as golang/go issue 78962 has it: 'retains "
        "nearly all idle heap memory', where the same program on 4 KiB 'releases 100 %'",
        "free pages that do not fill a page of the kernel's are idle instead of released, in the page map, in "
        "HeapReleased and in mappedReady (runtime/mgcscavenge.go, scavengeOne and fillAligned: physPageSize)",
        "every page of the kernel's with anything resident, or idle, is resident as a whole; mappings begin and end "
        "at such pages, those outside of the heap moved up where two would share one (mm/mmap.c)",
        "[vsyscall] is gone, which only amd64 has (arch/x86/entry/vsyscall)",
    ),
}


def main(names: list[str]) -> int:
    """How many could not be made."""
    unknown = [name for name in names if name not in RECIPES]
    if unknown:
        raise SystemExit(f"no recipe {', '.join(unknown)}; there is: {', '.join(RECIPES)}")
    failed = 0
    for name in names or RECIPES:
        try:
            size_bytes, wrong = make(RECIPES[name], RECORDINGS / name)
        except (WhyrssError, OSError) as error:
            size_bytes, wrong = 0, [f"not made: {error}"]
        wrong += [f"more than {MAX_BYTES} bytes"] if size_bytes > MAX_BYTES else []
        print(f"{name}: {size_bytes} bytes", *wrong, sep="; ")
        failed += bool(wrong)
    return failed


def make(recipe: Recipe, to: Path) -> tuple[int, list[str]]:
    """The recording in place of the one that is there; its bytes, and what is wrong with what it shows. Raises
    WhyrssError, OSError."""
    experiment: Experiment = EXPERIMENTS[recipe.cause]
    with tempfile.TemporaryDirectory(dir=to.parent, prefix=".new-") as scratch:
        fresh = Path(scratch, to.name)
        with running(experiment, recipe.go, SIZE_MIB) as (child, _):
            record(child.pid, str(fresh))
            generalise(fresh, child.pid)
            process = fresh / "proc" / str(child.pid)
        recipe.change(fresh, process)
        document(fresh / MANIFEST, recipe)
        wrong = run_recording(str(fresh)).wrong
        shutil.rmtree(to, ignore_errors=True)
        fresh.rename(to)
    return sum(path.stat().st_size for path in to.rglob("*") if path.is_file()), wrong


def document(manifest: Path, recipe: Recipe) -> None:
    found = json.loads(manifest.read_text())
    found |= {"origin": DOCUMENTED, "measured_with": f"Go {recipe.go}", "changed": list(recipe.because)}
    manifest.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
