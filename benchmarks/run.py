"""Measures whyrss beside other tools: python benchmarks/run.py [--rounds N] [--quick] [--write FILE].

Exit code 1 where a limit is exceeded (with --quick never: it only shows that all of this works).
Needs Linux, pmap, pip and a network for what is not in the cache yet.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:1] = [str(ROOT), str(ROOT / "src")]

from benchmarks import (  # noqa: E402  (the root has to be on the path first)
    by_page,
    entry_point,
    large_process,
    many_vmas,
    one_process,
    page_heap,
    read_ahead,
    reading,
    startup,
    targets,
)
from benchmarks.bench import Bench  # noqa: E402  (the root has to be on the path first)
from benchmarks.installed import Installed  # noqa: E402  (the root has to be on the path first)
from benchmarks.launcher import Launcher  # noqa: E402  (the root has to be on the path first)
from benchmarks.report import Section, page, show  # noqa: E402  (the root has to be on the path first)

GO_OLD, GO_NEW = "1.15", "1.27"  # frees with MADV_FREE by itself; frees with MADV_DONTNEED unless it is told not to


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="whyrss-bench-") as name:
        folder = Path(name)
        bench = Bench(Installed(folder / "installed"), Launcher(folder), options.rounds, options.quick)
        sections = list(_shown(_measurements(bench)))
    if options.write:
        options.write.write_text(page(sections, options.rounds), encoding="utf-8")
    passed = all(check.passed for section in sections for check in section.checks)
    return 0 if passed or options.quick else 1


def _measurements(bench: Bench) -> list[Callable[[], Section]]:
    return [
        partial(one_process.run, bench, GO_OLD, server=True),
        partial(one_process.run, bench, GO_NEW, server=True),
        partial(one_process.run, bench, GO_OLD),
        partial(one_process.run, bench, GO_NEW),
        partial(large_process.run, bench),
        partial(many_vmas.parsing, bench),
        partial(many_vmas.whole, bench),
        partial(reading.run, bench, targets.go_lazyfree(GO_OLD, 200), f"Go {GO_OLD}, 200 MiB"),
        partial(reading.run, bench, targets.go_lazyfree(GO_NEW, 200), f"Go {GO_NEW}, 200 MiB"),
        partial(reading.run, bench, targets.many_vmas(many_vmas.COUNT), f"{many_vmas.COUNT:,} VMAs"),
        partial(entry_point.run, bench, GO_OLD),
        partial(read_ahead.run, bench, GO_OLD, 200),
        partial(read_ahead.run, bench, GO_OLD, 1024),
        partial(startup.run, bench, GO_OLD),
        partial(page_heap.run, bench),
        partial(by_page.large, bench, GO_NEW),
        partial(by_page.small, bench, GO_OLD),
        partial(by_page.small, bench, GO_NEW),
    ]


def _shown(measurements: list[Callable[[], Section]]) -> Iterator[Section]:
    """Each section is printed as soon as it is known."""
    for measurement in measurements:
        section = measurement()
        print(show(section), flush=True)
        yield section


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("--rounds", type=_positive, default=25, help="default 25")
    parser.add_argument("--quick", action="store_true", help="a smaller large process: to try the benchmarks")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page of the documentation")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
