"""The generator of layouts: right on a runtime laid out by hand, equal to real Go's DWARF, careful with files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests import support
from tools import gen_docs_layouts, gen_layouts, layoutcheck, layoutfiles
from tools.layoutcheck import Mismatch, values_of
from tools.layoutfiles import Entry, Release
from tools.layoutreader import read_dwarf, read_source
from whyrss.errors import TargetError
from whyrss.lab import toolchain

VERSIONS = ("1.15", "1.19", "1.21", "1.22", "1.23", "1.24", "1.25", "1.26", "1.27")
# A runtime of our own making, with a little of everything that the real one has.
RUNTIME = """
package runtime

import "internal/own"

const pageSize = 1 << 13
const heapArenaBytes = own.Wide * 4

type mSpanList struct{ first, last *mspan }

type mspan struct {
	_          [0]func()
	next       *mspan
	npages     uintptr
	freeindex  uint16
	sweepgen   uint32
	state      uint8
	list       mSpanList
}

type mheap struct {
	lock     own.Lock
	curArena struct{ base, end uintptr }
	central  [3]struct {
		mcentral uint32
		pad      [own.Line]byte
	}
	spans    [2]mSpanList
}

type g struct {
	goid    uint64
	unknown uint64
}

var debug struct {
	gctrace      int32
	unknown      int32
	madvdontneed int32
}

func (h *mheap) bodies() { are.not(read) }
"""
RUNTIME_LESS = RUNTIME.replace("next       *mspan\n", "")
EXTRA = "//go:build goexperiment.extra\n\npackage runtime\n\ntype pageCache struct{ base uint64 }\n"
LATER = "//go:build go1.30 || windows\n\npackage runtime\n\ntype linearAlloc struct{ next uint64 }\n"
OWN = """
package own

const Wide = 1024

type Lock struct{ key uintptr }
"""
LINE = "package own\n\nconst Line = %d\n"


@pytest.fixture
def goroot(tmp_path: Path) -> Path:
    files = {
        "runtime/runtime.go": RUNTIME,
        "runtime/extra_on.go": EXTRA,
        "runtime/later.go": LATER,
        "internal/own/own.go": OWN,
        "internal/own/line_amd64.go": LINE % 64,
        "internal/own/line_arm64.go": LINE % 128,
    }
    for name, text in files.items():
        path = tmp_path / "src" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


# By hand


def test_offsets_and_widths_are_those_of_the_compiler(goroot: Path) -> None:
    structs = read_source(goroot, "amd64", "1.20")
    # freeindex ends at 18, sweepgen is aligned to 20, state at 24 is one byte, list is aligned to 32.
    assert structs["mspan"] == ("48 next=0:8 npages=8:8 freeindex=16:2 sweepgen=20:4 state=24:1 list=32:16:mSpanList")
    assert structs["const"] == "0 pageSize=8192 heapArenaBytes=4096"


def test_nameless_structures_are_told_by_path_and_arrays_of_them_by_stride(goroot: Path) -> None:
    structs = read_source(goroot, "amd64", "1.20")
    assert structs["mheap.central"] == "68"  # 4 + 64
    assert structs["mheap"] == (
        # central is 3 * 68 = 204 bytes from 24 on, so that spans begins at 232.
        "264 lock=0:8 curArena=8:16 curArena.base=8:8 curArena.end=16:8 "
        "central=24:204 central.mcentral=24:4 spans=232:32:mSpanList"
    )


def test_of_a_large_structure_only_the_fields_asked_for_are_kept(goroot: Path) -> None:
    structs = read_source(goroot, "amd64", "1.20")
    assert structs["g"] == "16 goid=0:8"
    assert structs["debug"] == "12 gctrace=0:4 madvdontneed=8:4"


def test_the_architecture_and_the_settings_choose_the_files(goroot: Path) -> None:
    assert read_source(goroot, "arm64", "1.20")["mheap.central"] == "132"
    assert "pageCache" not in read_source(goroot, "amd64", "1.20")
    assert read_source(goroot, "amd64", "1.20", ["+extra"])["pageCache"] == "8 base=0:8"
    assert "linearAlloc" not in read_source(goroot, "amd64", "1.29")
    assert "linearAlloc" in read_source(goroot, "amd64", "1.30")


def test_a_default_setting_is_read_from_the_source_and_can_be_switched_off(goroot: Path) -> None:
    path = goroot / "src" / "internal" / "buildcfg" / "exp.go"
    path.parent.mkdir()
    path.write_text(
        "package buildcfg\n\nfunc parse() { baseline := goexperiment.Flags{Extra: true, Other: false} }\n"
    )
    assert "pageCache" in read_source(goroot, "amd64", "1.20")
    assert "pageCache" not in read_source(goroot, "amd64", "1.20", ["-extra"])


def test_a_structure_with_an_unknown_type_is_refused(goroot: Path) -> None:
    path = goroot / "src" / "runtime" / "runtime.go"
    path.write_text(path.read_text().replace("npages     uintptr", "npages     nowhere.Type"))
    with pytest.raises(TargetError, match="mspan"):
        read_source(goroot, "amd64", "1.20")


def test_an_unknown_type_elsewhere_does_not_matter(goroot: Path) -> None:
    path = goroot / "src" / "runtime" / "runtime.go"
    path.write_text(path.read_text() + "\ntype elsewhere struct{ at nowhere.Type }\n")
    assert "mspan" in read_source(goroot, "amd64", "1.20")


# Real Go


@pytest.mark.parametrize("arch", layoutfiles.ARCHITECTURES)
@pytest.mark.parametrize("version", VERSIONS)
def test_real_go_is_in_the_table_as_its_dwarf_has_it(version: str, arch: str) -> None:
    support.needs_linux()
    go = toolchain.find(version)
    release = toolchain.go_version(go).split()[2].removeprefix("go")
    dwarf = read_dwarf(toolchain.build(go, gen_layouts.PROGRAM, env={"GOARCH": arch}))
    entries = layoutfiles.read(layoutfiles.FOLDER / f"{arch}.json")
    source = read_source(go.resolve().parents[1], arch, release)
    assert layoutcheck.compare_dwarf(release, source, dwarf) > 600
    # A patch release newer than the table may still have a layout of its minor version.
    near = [release] if release in entries else [name for name in entries if name.startswith(f"{version}.")]
    assert source in [entries[name].structs for name in near], "run python tools/gen_layouts.py --toolchains"


# Comparing


def test_any_difference_from_dwarf_is_told_by_field_and_value() -> None:
    structs = {"mspan": "16 next=0:8 npages=8:8"}
    assert layoutcheck.compare_dwarf("1.20", structs, {"mspan": "16 next=0:8"}) == 3
    for text, words in (
        ("24 next=0:8", "mspan 16, not 24"),
        ("16 npages=0:8", r"mspan\.npages 8, not 0"),
        ("16 next=0:4", r"mspan\.next\.w 8, not 4"),
        ("16 other=0:8", r"mspan\.other None, not 0"),
    ):
        with pytest.raises(Mismatch, match=words):
            layoutcheck.compare_dwarf("1.20", structs, {"mspan": text})


# The files


def test_a_file_reads_back_as_written(tmp_path: Path) -> None:
    entries = {
        "1.20": Entry("source", {"mspan": "8 next=0:8"}, 3, 2),
        "1.20.1": Entry("tag", {"mspan": "8 next=0:8"}),
        "1.25 X:extra": Entry("source", {"mspan": "8 next=0:4", "p": "4 id=0:4"}),
    }
    layoutfiles.write(tmp_path / "amd64.json", entries)
    assert layoutfiles.read(tmp_path / "amd64.json") == entries
    assert layoutfiles.read(tmp_path / "none.json") == {}


def test_the_committed_files_are_as_the_generator_writes_them(tmp_path: Path) -> None:
    for arch in layoutfiles.ARCHITECTURES:
        committed = layoutfiles.FOLDER / f"{arch}.json"
        layoutfiles.write(tmp_path / "again.json", layoutfiles.read(committed))
        assert (tmp_path / "again.json").read_text() == committed.read_text()


def test_a_release_not_given_is_kept_and_one_given_is_added(goroot: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    old = {"1.19": Entry("source", {"mspan": "8 next=0:8"})}
    layoutfiles.write(into / "amd64.json", old)
    assert gen_layouts.main(["--into", str(into), "--source", f"1.20={goroot}"]) == 0
    entries = layoutfiles.read(into / "amd64.json")
    assert entries["1.19"] == old["1.19"]
    assert values_of(entries["1.20"].structs)["mspan.list"] == 32
    assert set(layoutfiles.read(into / "arm64.json")) == {"1.20"}


# A repository


def git(folder: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *settings, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(goroot: Path) -> Path:
    """The runtime as 1.20, and in 1.20.1 with a field less; a candidate and a branch are there too."""
    git(goroot, "init", "--quiet")
    path = goroot / "src" / "runtime" / "runtime.go"
    for text, tags in ((path.read_text(), ("go1.20rc1", "go1.20", "weekly")), (RUNTIME_LESS, ("go1.20.1",))):
        path.write_text(text)
        git(goroot, "add", "--all")
        git(goroot, "commit", "--quiet", "--message", "a")
        for tag in tags:
            git(goroot, "tag", tag)
    return goroot


def test_each_tag_of_a_release_is_read(repository: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    assert gen_layouts.main(["--into", str(into), "--repository", str(repository)]) == 0
    entries = layoutfiles.read(into / "amd64.json")
    assert {name: (entry.how, "mspan.next" in values_of(entry.structs)) for name, entry in entries.items()} == {
        "1.20": ("tag", True),
        "1.20.1": ("tag", False),
    }


def test_two_sources_of_a_release_that_differ_leave_the_files_as_they_are(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    into = tmp_path / "into"
    into.mkdir()
    # The work tree is that of 1.20.1.
    arguments = ["--into", str(into), "--repository", str(repository), "--source"]
    assert gen_layouts.main([*arguments, f"1.20.1={repository}"]) == 0
    written = (into / "amd64.json").read_text()
    assert gen_layouts.main([*arguments, f"1.20={repository}"]) == 1
    assert "1.20 amd64: by source it is other than by tag" in capsys.readouterr().err
    assert (into / "amd64.json").read_text() == written


def test_a_folder_without_git_ends_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gen_layouts.main(["--into", str(tmp_path), "--repository", str(tmp_path / "none")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("source", ["1.20", "one=.", "1.20=/nowhere", "2.0=.", "1.20.x=."])
def test_a_bad_source_ends_with_one_line_and_no_file(
    source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gen_layouts.main(["--into", str(tmp_path), "--source", source]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_difference_leaves_the_files_as_they_are(
    goroot: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    known = tmp_path / "known.json"
    known.write_text('{"layouts": {"1.20": {"mspan": {"#": 48, "npages": 16}}}}')
    into = tmp_path / "into"
    into.mkdir()
    assert gen_layouts.main(["--into", str(into), "--source", f"1.20={goroot}", "--known", str(known)]) == 1
    assert "mspan.npages 8, not 16" in capsys.readouterr().err
    assert not list(into.iterdir())


def test_releases_are_ordered_by_time() -> None:
    names = ["1.26", "1.12.13", "1.9", "1.25.5 X:greenteagc", "1.12.9", "1.25.5"]
    in_time = ["1.9", "1.12.9", "1.12.13", "1.25.5", "1.25.5 X:greenteagc", "1.26"]
    assert sorted(names, key=Release.parse) == in_time


def test_the_page_is_as_generated() -> None:
    assert gen_docs_layouts.PATH.read_text() == gen_docs_layouts.generate(), "run python tools/gen_docs_layouts.py"
