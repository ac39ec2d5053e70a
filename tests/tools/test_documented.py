"""Documented recordings: made from measured ones, by what the sources say, and nothing else about them changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.documented import RECIPES, another_go
from tools.moved import Space, with_values
from tools.repaged import repage
from whyrss.goheap.bits import IDLE, IN_USE, RELEASED
from whyrss.goheap.heap import Heap
from whyrss.lab.causes import EXPERIMENTS
from whyrss.read.pagemap import Pages
from whyrss.runtime import Runtime
from whyrss.snapshot import Build, Snapshot, Vmas
from whyrss.sources import open_source
from whyrss.sources.recording import MANIFEST
from whyrss.verdict import Verdict, why

RECORDINGS = Path(__file__).parent.parent / "recordings"
MEASURED = ("fragmentation", "healthy-churn", "runtime-metadata")
LARGE = 64 << 10
FIELDS = "Rss: {0} kB\nPss: {0} kB\nAnonymous: {0} kB\nVmFlags: rd wr\n"


def large(name: str, to: Path) -> Path:
    """A copy with pages of 64 KiB."""
    shutil.copytree(RECORDINGS / name, to / name)
    (process,) = (path for path in (to / name / "proc").iterdir() if path.name.isdigit())
    repage(process, LARGE, "arm64")
    manifest = to / name / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"page_bytes": LARGE}))
    return to / name


def verdict_of(path: Path) -> Verdict:
    return why(open_source(str(path)))


@pytest.fixture(scope="module", params=MEASURED)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Verdict, Verdict]:
    """A measured recording, and what becomes of it."""
    return verdict_of(RECORDINGS / request.param), verdict_of(large(request.param, tmp_path_factory.mktemp("large")))


def free_bytes(snapshot: Snapshot, *kinds: int) -> int:
    return sum(end - start for start, end, kind in snapshot[Heap].pages if kind in kinds)


def test_only_whole_pages_of_the_kernels_are_released(pair: tuple[Verdict, Verdict]) -> None:
    before, after = (verdict.snapshot for verdict in pair)
    runs = list(after[Heap].pages)
    assert all(start % LARGE == end % LARGE == 0 for start, end, kind in runs if kind == RELEASED)
    assert free_bytes(after, RELEASED, IDLE) == free_bytes(before, RELEASED, IDLE)
    assert free_bytes(after, IN_USE) == free_bytes(before, IN_USE)
    page = 8192
    kept = {at for start, end, kind in runs if kind == RELEASED for at in range(start, end, page)}
    was = {at for start, end, kind in before[Heap].pages if kind == RELEASED for at in range(start, end, page)}
    whole = {at for at in was if {at // LARGE * LARGE + page * number for number in range(8)} <= was}
    assert kept == whole


def test_the_figures_follow(pair: tuple[Verdict, Verdict]) -> None:
    before, after = (verdict.snapshot[Runtime] for verdict in pair)
    more = free_bytes(pair[1].snapshot, IDLE) - free_bytes(pair[0].snapshot, IDLE)
    assert after["HeapReleased"] == before["HeapReleased"] - more
    assert after["mapped_ready_bytes"] == before["mapped_ready_bytes"] + more
    assert [after[name] for name in ("HeapIdle", "HeapAlloc", "Sys")] == [
        before[name] for name in ("HeapIdle", "HeapAlloc", "Sys")
    ]
    assert not after.contradictions


def test_it_adds_up(pair: tuple[Verdict, Verdict]) -> None:
    before, after = pair
    assert (after.account.basis, after.account.residue_bytes) == ("page", 0)
    assert after.account.rss_bytes == after.snapshot[Pages].resident_bytes == after.snapshot[Vmas].total_bytes("Rss")
    assert after.account.rss_bytes % LARGE == 0
    assert after.account.root.bytes_of("heap/live") >= before.account.root.bytes_of("heap/live")
    assert after.account.unattributed_bytes == 0
    assert after.snapshot[Build].arch == "arm64"


def test_mappings_begin_and_end_at_pages(pair: tuple[Verdict, Verdict]) -> None:
    before, after = (verdict.snapshot[Vmas] for verdict in pair)
    assert all(vma.start % LARGE == vma.end % LARGE == 0 for vma in after)
    assert [vma.path for vma in after] == [vma.path for vma in before if vma.path != "[vsyscall]"]
    ends = [0, *(vma.end for vma in after)]
    assert all(end <= vma.start < vma.end or vma.perms[:3] == "---" for end, vma in zip(ends, after, strict=False))


def test_what_was_resident_still_is(pair: tuple[Verdict, Verdict]) -> None:
    """The arenas do not move: each of their resident pages lies in one that is."""
    before, after = (verdict.snapshot for verdict in pair)
    for start, end in before[Heap].arenas:
        there = {at // LARGE for low, high, _ in after[Pages].within(start, end) for at in range(low, high, LARGE)}
        was = {at // LARGE for low, high, _ in before[Pages].within(start, end) for at in range(low, high, 4096)}
        assert was <= there


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 40), st.booleans()), min_size=1, max_size=12),
    st.integers(0, 31),
)
def test_addresses_keep_their_order(shapes: list[tuple[int, int, bool]], first: int) -> None:
    """Mappings of so many pages of 4 KiB, with gaps before them; some only reserved."""
    at, text, edges = 0x10000 + first * 4096, "", []
    for size, gap, reserved in shapes:
        start, end = at + gap * 4096, at + (gap + size) * 4096
        perms = "---p" if reserved else "rw-p"
        text += (
            f"{start:x}-{end:x} {perms} 00000000 00:00 0 \nSize: {size * 4} kB\n{FIELDS.format(0 if reserved else 4)}"
        )
        edges += [start, end - 1]
        at = end
    space = Space(text, LARGE)
    placed = [space.place(edge) for edge in edges]
    assert placed == sorted(placed)
    assert all(mapping.start % LARGE == mapping.end % LARGE == 0 for mapping in space.mappings)
    kept = [(mapping, shape[0]) for mapping, shape in zip(space.mappings, shapes, strict=True) if not shape[2]]
    assert all(mapping.end - mapping.start == -(-size // 16) * LARGE for mapping, size in kept)


def test_numbers_stay_in_their_columns() -> None:
    line = "Rss:                   4 kB\nVmRSS:\t   13920 kB\nOther:                 1 kB\n"
    wanted = "Rss:               66048 kB\nVmRSS:\t      99 kB\nOther:                 1 kB\n"
    assert with_values(line, {"Rss": 66048, "VmRSS": 99}).split() == wanted.split()
    assert [len(each) for each in with_values(line, {"Rss": 66048}).splitlines()] == [27, 18, 27]


def test_another_go(tmp_path: Path) -> None:
    """Only the release changes."""
    shutil.copytree(RECORDINGS / "large-zeroed", tmp_path / "copy")
    (process,) = (path for path in (tmp_path / "copy" / "proc").iterdir() if path.name.isdigit())
    before = verdict_of(tmp_path / "copy")
    another_go(tmp_path / "copy", process, "1.24.4", "1.24.5")
    after = verdict_of(tmp_path / "copy")
    assert after.snapshot[Build].go_version == "go1.24.5"
    assert after.snapshot[Heap].layout == "go1.24.5 amd64"
    assert after.account.rss_bytes == before.account.rss_bytes
    assert [found.bytes for found in after.diagnosis.findings] == [found.bytes for found in before.diagnosis.findings]


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_a_cause_and_sources(name: str) -> None:
    recipe = RECIPES[name]
    assert f"{name}-".startswith(f"{recipe.cause}-")
    assert recipe.cause in EXPERIMENTS
    manifest = json.loads((RECORDINGS / name / MANIFEST).read_text())
    assert (manifest["origin"], manifest["changed"]) == ("documented", list(recipe.because))
