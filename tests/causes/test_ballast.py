"""ballast at its thresholds, beside its neighbours and without its figures."""

from __future__ import annotations

import pytest

from tests.causes.builders import MIB, account_of, snapshot_of
from whyrss.causes import ballast
from whyrss.errors import Missing
from whyrss.finding import NOTE, Finding
from whyrss.shape import LargeObject, Shape, SizeClass

AT = 0xC000400000


def large(size_bytes: int, resident_bytes: int, noscan: bool = True) -> LargeObject:
    return LargeObject(AT, size_bytes, noscan, resident_bytes)


def shape(*objects: LargeObject) -> Shape:
    of_their_own = SizeClass(0, True)
    of_their_own.object_bytes = sum(each.size_bytes for each in objects)
    return Shape([of_their_own, SizeClass(64, True)], {}, list(objects))


def look(
    *objects: LargeObject, in_use_bytes: int = 0, alive_bytes: int = 0, go_minor: int = 27, target: str = "7"
) -> Finding | None:
    sizes = sum(each.size_bytes for each in objects)
    found = {"HeapInuse": in_use_bytes or sizes, "heap_marked_bytes": alive_bytes or sizes}
    resident = sum(each.resident_bytes for each in objects)
    snapshot = snapshot_of(found, shape(*objects), go_minor=go_minor, target=target)
    return ballast.look(snapshot, account_of({"heap/live": resident + MIB}))


@pytest.mark.parametrize(
    ("size_bytes", "in_use_bytes", "mentioned"),
    [
        (32 * MIB, 0, True),
        (32 * MIB - 1, 40 * MIB, False),
        (32 * MIB, 320 * MIB, True),
        (32 * MIB, 320 * MIB + 10, False),
    ],
)
def test_an_untouched_one(size_bytes: int, in_use_bytes: int, mentioned: bool) -> None:
    finding = look(large(size_bytes, 0), in_use_bytes=in_use_bytes)
    assert (finding is not None) == mentioned
    if finding:
        assert (finding.weight, finding.bytes, finding.reclaimable_bytes) == (NOTE, 0, 0)
        assert "no danger" in finding.summary and not finding.affects


@pytest.mark.parametrize(("resident_bytes", "size_bytes"), [(32 * MIB - 1, 0), (32 * MIB, 32 * MIB)])
def test_resident_from_a_sixteenth_on(resident_bytes: int, size_bytes: int) -> None:
    finding = look(large(512 * MIB, resident_bytes))
    assert finding and (finding.bytes, finding.weight, finding.confidence) == (size_bytes, NOTE, "possible")
    assert finding.affects == (("rss", "working_set", "limit") if size_bytes else ())
    assert "possibly" in finding.summary


@pytest.mark.parametrize(
    ("objects", "alive_bytes", "mentioned"),
    [
        # half of what is alive
        ((large(100 * MIB, 100 * MIB),), 200 * MIB, True),
        ((large(100 * MIB, 100 * MIB),), 200 * MIB + 2, False),
        # one of several buffers
        ((large(100 * MIB, 100 * MIB), large(25 * MIB - 1, MIB)), 0, True),
        ((large(100 * MIB, 100 * MIB), large(25 * MIB, MIB)), 0, False),
        ((large(100 * MIB, 100 * MIB), large(100 * MIB, MIB, noscan=False)), 0, False),
        # less than would be mentioned by itself
        ((large(100 * MIB, 32 * MIB - 1),), 0, False),
        ((large(100 * MIB, 32 * MIB),), 0, True),
    ],
)
def test_an_honest_buffer(objects: tuple[LargeObject, ...], alive_bytes: int, mentioned: bool) -> None:
    assert (look(*objects, alive_bytes=alive_bytes) is not None) == mentioned


def test_objects_with_pointers_are_data() -> None:
    assert look(large(512 * MIB, 0, noscan=False)) is None
    finding = look(large(512 * MIB, 512 * MIB, noscan=False), large(256 * MIB, 0))
    assert finding and finding.bytes == 0


def test_a_heap_without_large_objects() -> None:
    assert look(in_use_bytes=500 * MIB, alive_bytes=500 * MIB) is None


def test_fixes_by_release() -> None:
    new, old = look(large(512 * MIB, 0)), look(large(512 * MIB, 0), go_minor=18)
    assert new and [fix.kind for fix in new.fixes] == ["code"] and "GOMEMLIMIT" in new.fixes[0].text
    assert old and [fix.kind for fix in old.fixes] == ["upgrade"] and "1.19" in old.fixes[0].text


def test_the_page_map_is_of_a_live_process() -> None:
    live, recorded = look(large(512 * MIB, 0)), look(large(512 * MIB, 0), target="some/recording")
    assert live and [found.value for found in live.evidence][:2] == [0, 512 * MIB]
    assert live and "/proc/7/pagemap" in live.evidence[0].check and str(AT) in live.evidence[0].check
    assert recorded and [found.value for found in recorded.evidence][:1] == [512 * MIB]


@pytest.mark.parametrize("name", ["HeapInuse", "heap_marked_bytes"])
def test_missing_figures(name: str) -> None:
    found = {"HeapInuse": 100 * MIB, "heap_marked_bytes": 100 * MIB}
    del found[name]
    snapshot = snapshot_of(found, shape(large(100 * MIB, 100 * MIB)))
    with pytest.raises(Missing, match=name):
        ballast.look(snapshot, account_of({"heap/live": 100 * MIB}))


def test_no_shape() -> None:
    with pytest.raises(Missing, match="Shape"):
        ballast.look(snapshot_of({"HeapInuse": 100 * MIB}), account_of({"heap/live": 100 * MIB}))


def test_contradiction() -> None:
    snapshot = snapshot_of({"HeapInuse": 100 * MIB, "HeapSys": 50 * MIB}, shape(large(100 * MIB, 0)))
    with pytest.raises(Missing, match="which contains it"):
        ballast.look(snapshot, account_of({"heap/live": 100 * MIB}))
