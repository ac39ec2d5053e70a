"""runtime-metadata at its thresholds, beside profiling buckets and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import CAUSES, runtime_metadata
from whyrss.errors import Missing
from whyrss.finding import NOTE, Finding
from whyrss.read.smaps import Vmas, parse_smaps

FIGURES = {"GCSys": 3 * MIB, "MSpanSys": 10 * MIB, "OtherSys": MIB, "BuckHashSys": 0}
GATE = next(entry.gate for entry in CAUSES if entry.name == "runtime-metadata")


def look(rss_bytes: int = 0, profiles_bytes: int = 0, **children: int) -> Finding | None:
    lines = {f"runtime/{name.replace('_', ' ')}": size for name, size in children.items()}
    return runtime_metadata.look(
        snapshot_of({**FIGURES, "BuckHashSys": profiles_bytes}), account_of(lines, rss_bytes)
    )


@pytest.mark.parametrize(
    ("size_bytes", "rss_bytes", "mentioned"),
    [
        (8 * MIB - 1, 10 * MIB, False),
        (8 * MIB, 10 * MIB, True),
        (8 * MIB, 80 * MIB, True),
        (8 * MIB, 80 * MIB + 1, False),
        (400 * MIB, 400 * MIB, True),
    ],
)
def test_thresholds(size_bytes: int, rss_bytes: int, mentioned: bool) -> None:
    finding = look(rss_bytes, spans=size_bytes - MIB, gcBits=MIB)
    assert (finding is not None) == mentioned
    if finding:
        assert (finding.weight, finding.bytes, finding.reclaimable_bytes) == (NOTE, size_bytes, 0)
        assert finding.line == "runtime"


@pytest.mark.parametrize(
    ("buckets_bytes", "left_bytes"),
    [
        # nothing but the table, of which some was never touched
        (0, 30 * MIB),
        (10 * MIB, 20 * MIB),
        (22 * MIB - 1, 8 * MIB + 1),
        (22 * MIB + 1, None),
        # more than is resident: some are in swap
        (500 * MIB, None),
    ],
)
def test_records_of_profiles_are_another_cause(buckets_bytes: int, left_bytes: int | None) -> None:
    """BuckHashSys is the table, of 179,999 pointers, and the buckets, which lie among what is allocated for good."""
    finding = look(0, 1_439_992 + buckets_bytes, profiling_buckets=MIB, persistent=25 * MIB, spans=5 * MIB)
    assert (finding.bytes if finding else None) == left_bytes
    if finding and buckets_bytes > 20 * MIB:
        assert "above all spans and persistent:" in finding.summary


def test_the_largest_are_named() -> None:
    finding = look(0, caches=MIB, spans=20 * MIB, gcBits=30 * MIB, persistent=9 * MIB, workbufs=8 * MIB)
    assert finding and "above all gcBits, spans and persistent:" in finding.summary
    figures = {each.what: each.value for each in finding.evidence}
    assert list(figures.items())[:3] == [("gcBits", 30 * MIB), ("spans", 20 * MIB), ("persistent", 9 * MIB)]
    assert [name.split(",")[0] for name in list(figures)[3:]] == ["GCSys", "MSpanSys", "OtherSys"]


def test_small_ones_are_not_named() -> None:
    finding = look(0, spans=20 * MIB, gcBits=MIB)
    assert finding and "above all spans:" in finding.summary
    both = look(0, spans=20 * MIB, heap_bitmap=30 * MIB)
    assert both and "above all heap bitmap and spans:" in both.summary


def test_a_program_that_locks_its_memory() -> None:
    def smaps(flags: str) -> Vmas:
        text = f"7f0000000000-7f0004000000 rw-p 00000000 00:00 0 \nRss: 65536 kB\nVmFlags: rd wr {flags}\n"
        return parse_smaps(text.encode())

    account = account_of({"runtime/arena index": 32 * MIB})
    locked = runtime_metadata.look(snapshot_of(FIGURES, smaps("lo")), account)
    other = runtime_metadata.look(snapshot_of(FIGURES, smaps("ac")), account)
    assert locked and "locks its memory" in locked.summary
    assert other and "at its largest" in other.summary


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        (Missing("not read"), "not read"),
        ({"GCSys": MIB}, "BuckHashSys"),
        ({"BuckHashSys": -1}, "BuckHashSys is -1"),
    ],
)
def test_without_the_runtimes_figures(figures: dict[str, int] | Missing, reason: str) -> None:
    with pytest.raises(Missing, match=reason):
        runtime_metadata.look(snapshot_of(figures), account_of({"runtime/spans": 20 * MIB}))


def test_a_figure_that_contradicts_another_is_left_out() -> None:
    found = snapshot_of({**FIGURES, "MSpanInuse": 100 * MIB})
    finding = runtime_metadata.look(found, account_of({"runtime/spans": 20 * MIB}))
    assert finding and [each.what.split(",")[0] for each in finding.evidence] == ["spans", "GCSys", "OtherSys"]


def test_an_account_without_the_line() -> None:
    assert runtime_metadata.look(snapshot_of(FIGURES), account_of({}, 100 * MIB)) is None
    assert not GATE(snapshot_of(FIGURES), account_of({"runtime/spans": 8 * MIB - 1}))
    assert GATE(snapshot_of(FIGURES), account_of({"runtime/spans": 8 * MIB}))
