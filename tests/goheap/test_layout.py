"""The tables of layouts: what they hold, which are proposed for a program, and what is not known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrss.errors import Missing
from whyrss.goheap import layout
from whyrss.goheap.layout import ARCHITECTURES, Layout, layouts_for

FOLDER = Path(layout.__file__).parents[1] / "facts" / "layouts"
FILE_BYTES_MAX = 70_000
MINORS = {"amd64": range(12, 28), "arm64": range(15, 28)}


def file_of(arch: str) -> Any:
    return json.loads((FOLDER / f"{arch}.json").read_text())


def all_layouts(arch: str) -> list[Layout]:
    table = layout.Table(arch)
    return [table.layout(name) for name in table.releases]


def of(release: str, arch: str = "amd64") -> Layout:
    """The layout of exactly that release."""
    found = layouts_for(f"go{release}", arch)[0]
    assert found.name == f"go{release} {arch}"
    return found


def names(version: str, *experiments: str) -> list[str]:
    return [found.name.removesuffix(" amd64") for found in layouts_for(version, "amd64", experiments)]


# The files


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_reader_sees_what_json_sees(arch: str) -> None:
    data, table = file_of(arch), layout.Table(arch)
    assert (table.how, table.releases, table.layouts) == (data["how"], data["releases"], data["layouts"])
    assert table.structs == data["structs"]
    assert list(table.structs) == list(data["structs"])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_file_is_small_and_holds_nothing_twice(arch: str) -> None:
    data = file_of(arch)
    assert (FOLDER / f"{arch}.json").stat().st_size < FILE_BYTES_MAX
    assert len(set(data["layouts"].values())) == len(data["layouts"])
    assert all(len(set(forms)) == len(forms) for forms in data["structs"].values())
    used = {text.split()[0] for text in data["releases"].values()}
    assert used == set(data["layouts"])
    assert {text.split()[1] for text in data["releases"].values()} <= set(data["how"])


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_every_field_lies_in_its_structure(arch: str) -> None:
    for found in all_layouts(arch):
        for struct in found._texts:
            size, fields = found._struct(struct) or (0, {})
            for name, (offset, width, _inner) in fields.items():
                # Constants have no size.
                assert struct == "const" or 0 <= offset <= offset + width <= size, f"{found.name} {struct}.{name}"


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_structure_in_a_field_has_the_width_of_the_field(arch: str) -> None:
    for found in all_layouts(arch):
        for struct in found._texts:
            _, fields = found._struct(struct) or (0, {})
            for name, (_, width, inner) in fields.items():
                # An array of structures is some number of them.
                assert not inner or width % found.size(inner) == 0, f"{found.name} {struct}.{name}"


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_each_minor_version_has_a_layout(arch: str) -> None:
    for minor in MINORS[arch]:
        assert layouts_for(f"go1.{minor}", arch)[0].go_version.split(".")[1] == str(minor)


# What the runtime's source says of a field, checked by hand in the files named


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_fields_appear_and_go_with_the_releases(arch: str) -> None:
    for found in all_layouts(arch):
        minor = int(found.go_version.split(".")[1])
        assert found.has("pageAlloc.chunks") == (minor >= 14)  # mpagealloc.go, new in 1.14
        assert found.has("mspan.needzero")
        assert found.has("mspan.state.s") == (minor >= 14)  # mheap.go, mSpanStateBox, new in 1.14
        assert found.has("mheap.heapArenas") == (minor >= 25)  # mheap.go, allArenas up to 1.24
        assert found.has("scavengeIndex.chunks") == (minor >= 19)
        assert found.has("gcControllerState.memoryLimit") == (minor >= 19)  # mgcpacer.go
        assert found.has("scavenge.memoryLimitGoal") == (minor >= 19)  # mgcscavenge.go
        assert found.has("mspan.scavenged") == (minor <= 13)  # mheap.go, up to 1.13
        assert found.has("mstats.next_gc") == (minor <= 16)  # mstats.go, to gcController in 1.17
        assert found.has("heapStatsDelta.inHeap") == (minor >= 16)  # mstats.go, new in 1.16


# mheap.go: freeIndexForScan is in 1.20, and was added to the branches of 1.18 and 1.19 (golang/go issue 56752).
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(("before", "since"), [("1.18.8", "1.18.9"), ("1.19.3", "1.19.4")])
def test_a_patch_release_may_change_a_structure(before: str, since: str, arch: str) -> None:
    old, new = of(before, arch), of(since, arch)
    assert not old.has("mspan.freeIndexForScan")
    assert new.offset("mspan.freeIndexForScan") == old.size("mspan")
    assert new.size("mspan") == old.size("mspan") + 8
    assert names(f"go{before}")[1] == f"go{since}"


def test_widths_follow_the_types() -> None:
    # mheap.go: nelems uintptr up to 1.21, uint16 since 1.22; sweepgen uint32; spanclass uint8.
    assert (of("1.21.13").width("mspan.nelems"), of("1.22.10").width("mspan.nelems")) == (8, 2)
    assert (of("1.27.3").width("mspan.sweepgen"), of("1.27.3").width("mspan.spanclass")) == (4, 1)
    # mpagealloc.go: summary [5][]pallocSum, chunks [1 << 13]*[1 << 13]pallocData on linux/amd64.
    assert of("1.27.3").width("pageAlloc.summary") == 5 * 24
    assert of("1.27.3").width("pageAlloc.chunks") == 8 << of("1.27.3").constant("pallocChunksL1Bits") == 65536
    # mstats.go: pause_ns [256]uint64; by_size [67 or 68]struct{uint32; uint64; uint64}.
    assert of("1.15.15").width("mstats.pause_ns") == 256 * 8
    assert of("1.15.15").size("mstats.by_size") == 24
    assert of("1.15.15").offset("mstats.by_size.nmalloc") == of("1.15.15").offset("mstats.by_size") + 8


def test_the_architectures_differ_by_the_padding_of_cache_lines() -> None:
    # internal/cpu: CacheLinePadSize is 64 on amd64 and 128 on arm64; mheap.central pads each element to it.
    amd64, arm64 = of("1.27.3"), of("1.27.3", "arm64")
    assert amd64.size("mheap.central") % 64 == arm64.size("mheap.central") % 128 == 0
    assert arm64.size("mheap.central") > amd64.size("mheap.central")
    assert amd64.size("mspan") == arm64.size("mspan")
    # malloc.go: arenaBaseOffset is 0xffff800000000000 on amd64, 0 elsewhere.
    assert (amd64.constant("arenaBaseOffset"), arm64.constant("arenaBaseOffset")) == (0xFFFF800000000000, 0)


# Asking


def test_a_path_is_the_sum_of_its_fields() -> None:
    found = of("1.24.11")
    chunks = found.offset("mheap.pages") + found.offset("pageAlloc.chunks")
    assert found.offset("mheap.pages.chunks") == chunks
    index = found.offset("pageAlloc.scav.index") + found.offset("scavengeIndex.chunks")
    assert found.offset("mheap.pages.scav.index.chunks") == found.offset("mheap.pages") + index
    assert found.width("mheap.spanalloc.inuse") == 8
    assert found.offset("mstats.heapStats.stats.inHeap") == found.offset("heapStatsDelta.inHeap")


@pytest.mark.parametrize("field", ["mspan.colour", "nothing.at", "mspan", "", ".", "mheap.pages.", "mheap.lock.x"])
def test_a_field_that_is_not_there_is_missing_with_its_name(field: str) -> None:
    found = of("1.24.11")
    with pytest.raises(Missing, match=r"go1\.24\.11 amd64 has no field"):
        found.offset(field)
    assert not found.has(field) or field == "mspan"


def test_a_structure_that_is_not_there_is_missing_with_its_name() -> None:
    with pytest.raises(Missing, match=r"go1\.13 amd64 has no structure pageAlloc"):
        of("1.13").size("pageAlloc")


# Which are proposed


def test_the_release_itself_goes_first_then_its_minor_version_then_the_neighbours() -> None:
    found = names("go1.24.4")
    assert found[0] == "go1.24.4"
    minors = [name.split(" ")[0].split(".")[1] for name in found]
    assert minors.index("23") > max(at for at, minor in enumerate(minors) if minor == "24")
    assert set(minors) == {"23", "24", "25"}


def test_the_nearest_patch_release_goes_first() -> None:
    # The table has 1.26.0, 1.26.6 and 1.26.10 on amd64, all with one layout, and of 1.27 the releases 0 and 3.
    assert names("go1.24.99")[:2] == ["go1.24.13", "go1.24.5"]
    assert names("go1.26.2")[0] == "go1.26.0"
    assert names("go1.27.2")[0] == "go1.27.3"
    assert names("go1.26rc1")[0] == "go1.26.0"


def test_every_release_up_to_1_25_has_a_layout_of_its_own_name() -> None:
    last = {12: 17, 13: 15, 14: 15, 15: 15, 16: 15, 17: 13, 18: 10, 19: 13, 20: 14, 21: 13, 22: 12, 23: 12, 24: 13}
    for minor, patches in last.items():
        for patch in range(1, patches + 1):
            of(f"1.{minor}.{patch}")
        assert names(f"go1.{minor}")[0] == (f"go1.{minor}.0" if minor >= 21 else f"go1.{minor}")


def test_equal_layouts_are_proposed_once() -> None:
    keys = [found.key for found in layouts_for("go1.26.3", "amd64")]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("version", ["go1.25.5 X:greenteagc", "go1.25.5-X:greenteagc"])
def test_the_settings_of_a_version_choose_among_its_layouts(version: str) -> None:
    assert names(version)[:2] == ["go1.25.5 X:greenteagc", "go1.25.5"]
    assert names("go1.25.5")[:2] == ["go1.25.5", "go1.25.5 X:greenteagc"]


def test_settings_may_be_given_apart_and_others_do_not_count() -> None:
    assert names("go1.26.6", "nogreenteagc", "jsonv2")[0] == "go1.26.6 X:nogreenteagc"
    assert names("go1.26.6", "jsonv2")[0] == "go1.26.6"
    # mgcmark_greenteagc.go and mgcmark_nogreenteagc.go: mstats.lastScanStats has for each of the 68 size classes
    # five counters with the collector "green tea", one without it.
    plain, without = layouts_for("go1.26.6", "amd64")[:2]
    assert plain.width("mstats.lastScanStats") == 68 * 5 * 8
    assert without.width("mstats.lastScanStats") == 68 * 8


@pytest.mark.parametrize("version", ["go1.26rc1", "devel go1.26-abcdef0 Tue Nov 4", "go1.26-custom", "1.26"])
def test_candidates_and_branches_have_their_minor_version(version: str) -> None:
    assert names(version)[0].startswith("go1.26")


@pytest.mark.parametrize(
    "version", ["go1.11.13", "go1.28", "go2.1", "", "unknown", "go1.", "go1.9999.1", "go11.24", "go2.1.24", "go1.²4"]
)
def test_an_unknown_go_is_missing_with_words(version: str) -> None:
    with pytest.raises(Missing, match="no layout of the runtime of"):
        layouts_for(version, "amd64")


@pytest.mark.parametrize("arch", ["386", "", "../../etc/passwd", "AMD64"])
def test_an_unknown_architecture_is_missing_with_words(arch: str) -> None:
    with pytest.raises(Missing, match="no layout of the Go runtime on"):
        layouts_for("go1.24.11", arch)


def test_arm64_begins_with_1_15() -> None:
    with pytest.raises(Missing, match=r"go1\.14\.6 on arm64"):
        layouts_for("go1.14.6", "arm64")


@given(st.text() | st.from_regex(r"go1\.\d{1,30}(\.\d{0,30})?.{0,9}"))
def test_any_version_gives_layouts_or_a_reason(version: str) -> None:
    try:
        assert layouts_for(version, "amd64")
    except Missing as missing:
        assert missing.reason


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import sys; before = set(sys.modules)\n"
        "from whyrss.goheap.layout import layouts_for\n"
        "layouts_for('go1.24.11', 'amd64')[0].offset('mheap.pages')\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    python = [sys.executable, "-S", "-c", program]
    path = {"PYTHONPATH": str(FOLDER.parents[2])}
    done = subprocess.run(python, env=path, capture_output=True, text=True, check=True)
    assert "whyrss.goheap.layout" in done.stdout.split()
    assert not {"json", "re", "struct", "dataclasses", "typing", "numpy"} & set(done.stdout.split())
