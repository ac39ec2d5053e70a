"""The layout by a program's own DWARF is the table's, and serves where the table has none."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from functools import cache as once
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import support
from tests.goheap.located import VERSIONS, assert_as_symbols, found, opened, program, settled, started, symbols
from tests.live.cli import assert_sums
from tests.live.cli import whyrss as command
from tools.layoutcheck import values_of
from whyrss.errors import Missing
from whyrss.goheap import fromdwarf, layout
from whyrss.goheap import locate as module
from whyrss.goheap.cache import Cache
from whyrss.goheap.counters import minor_of
from whyrss.goheap.fromdwarf import layout_from, own_layout, read_structures
from whyrss.goheap.heap import read_heap
from whyrss.goheap.image import Image
from whyrss.goheap.layout import layouts_for
from whyrss.goheap.locate import locate
from whyrss.read.buildinfo import Build
from whyrss.sources.executable import build_of

BY_DWARF = "by the program's own DWARF"
# Structures of the table that the linker leaves out where nothing has them but through unsafe.
NOT_LINKED = {"gcBitsHeader", "spanInlineMarkBits"}
NEXT, FAR = "go1.28.11", "go1.39.11"  # unknown; with neighbours in the table, and without
COMPRESSION = {"uncompressed": "-ldflags=-compressdwarf=false", "compressed": "-ldflags=-compressdwarf=true"}


@contextlib.contextmanager
def image_of(path: Path) -> Iterator[Image]:
    with path.open("rb") as file:
        yield Image(lambda at, size: os.pread(file.fileno(), size, at), path.stat().st_size, path=str(path))


def structures(path: Path, arch: str = "amd64") -> dict[str, str]:
    with image_of(path) as image:
        return read_structures(image, arch)


def built(version: str, arch: str, flag: str) -> Path:
    return support.go_program(version, flags=[flag], env={"GOARCH": arch})


# The same as the table


@pytest.mark.parametrize("flag", COMPRESSION.values(), ids=COMPRESSION)
@pytest.mark.parametrize("arch", layout.ARCHITECTURES)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_value_is_the_tables(version: str, arch: str, flag: str) -> None:
    """690 to 820 values each: sizes, offsets, widths, and which structure a field is."""
    path = built(version, arch, flag)
    table = layouts_for(str(build_of(str(path)).go_version), arch)[0]
    dwarf = structures(path, arch)
    assert dwarf == {name: table._texts[name] for name in dwarf}
    assert table._texts.keys() - dwarf.keys() <= NOT_LINKED | {"const"}
    assert len(values_of(dwarf)) > 650


@pytest.mark.parametrize("mode", ["pie", "cgo", "cgo pie"])
@pytest.mark.parametrize("version", ["1.15", "1.27"])
def test_however_it_is_linked(version: str, mode: str) -> None:
    assert structures(program(version, mode)) == structures(program(version, "static"))


def test_nothing_reads_what_is_not_linked() -> None:
    for path in Path(layout.__file__).parent.glob("*.py"):
        assert not [name for name in NOT_LINKED if f'"{name}' in path.read_text()], path


def test_no_constant_is_read() -> None:
    for path in Path(layout.__file__).parent.glob("*.py"):
        assert ".constant(" not in path.read_text(), path


@pytest.mark.parametrize("flag", ["-ldflags=-w", "-ldflags=-s -w"])
def test_without_dwarf_there_is_none(flag: str) -> None:
    path = built("1.24", "amd64", flag)
    assert structures(path) == {}
    with image_of(path) as image:
        assert own_layout(image, build_of(str(path))) is None


# A release that the table does not have


@pytest.fixture
def renamed(tmp_path: Path) -> Iterator[Path]:
    """go1.24.11's program that says it is of a release not known here."""
    yield pretending(program("1.24", "static"), tmp_path, NEXT)


def pretending(path: Path, folder: Path, release: str) -> Path:
    data = path.read_bytes()
    assert len(release) == len("go1.24.11") and b"go1.24.11" in data
    twin = folder / path.name
    twin.write_bytes(data.replace(b"go1.24.11", release.encode()))
    twin.chmod(0o755)
    return twin


@pytest.mark.parametrize("release", [NEXT, FAR])
@pytest.mark.parametrize("mode", ["static", "pie", "cgo"])
def test_of_an_unknown_release_its_own_dwarf_is_taken(mode: str, release: str, tmp_path: Path) -> None:
    path = pretending(program("1.24", mode), tmp_path, release)
    with started(path) as running:
        settled(running.pid)
        located = found(running.pid)
        assert located.how[0] == f"mheap: symbol, {BY_DWARF}"
        assert located.layout.name == f"{release} DWARF amd64"
        assert located.layout.go_version == release
        assert_as_symbols(running.pid, located, symbols(path))


@pytest.mark.parametrize("release", [NEXT, FAR])
def test_it_is_accounted_by_page(release: str, tmp_path: Path) -> None:
    """Twice, the second time by the cache."""
    path = pretending(program("1.24", "static"), tmp_path, release)
    env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    with started(path) as running:
        settled(running.pid)
        for _ in range(2):
            document = document_of(running.pid, "page", env)
            assert document["basis"] == "page"
            assert document["unattributed_bytes"] <= 64 << 10
            assert document["process"]["go_version"] == release
    assert len(list((tmp_path / "cache" / "whyrss" / "located").glob("*.layout"))) == 1


def document_of(pid: int, basis: str, env: dict[str, str]) -> dict[str, Any]:
    code, out, err = command(pid, "--basis", basis, "--json", env=os.environ | env)
    assert (code, err) == (0, "")
    document: dict[str, Any] = json.loads(out)
    assert_sums(document)
    return document


def test_without_dwarf_a_release_near_to_it_that_fits_is_taken(tmp_path: Path) -> None:
    path = pretending(program("1.24", "static", "-ldflags=-w"), tmp_path, "go1.25.99")
    with started(path) as running:
        settled(running.pid)
        located = found(running.pid)
        assert located.how[0].startswith("mheap: symbol, by the layout of go1.24")
        assert_as_symbols(running.pid, located, symbols(path))


def test_without_dwarf_and_without_neighbours_the_account_is_by_vma(tmp_path: Path) -> None:
    path = pretending(program("1.24", "static", "-ldflags=-w"), tmp_path, FAR)
    with started(path) as running:
        settled(running.pid)
        with pytest.raises(Missing, match=f"no layout of the runtime of {FAR} on amd64 is known here"):
            found(running.pid)
        document = document_of(running.pid, "auto", {"XDG_CACHE_HOME": str(tmp_path)})
        assert document["basis"] == "vma"
        assert f"no layout of the runtime of {FAR}" in command(running.pid)[1].replace("\n", " ")


def test_a_development_version_has_its_minor_version() -> None:
    texts = structures(program("1.24", "static"))
    made = layout_from(texts, build("devel go1.28-0123abc Tue Aug 4 12:00:00 2026 +0000"))
    assert made is not None
    assert made.name == "go1.28-0123abc DWARF amd64"
    assert minor_of(type("Values", (), {"layout": made})()) == 28


@pytest.mark.parametrize("version", ["devel +0123abc", "go2.1", "go1.", "", None])
def test_without_a_minor_version_there_is_no_layout(version: str | None) -> None:
    """Rules depend on it that no layout tells."""
    assert layout_from(structures(program("1.24", "static")), build(version)) is None


def build(version: str | None) -> Build:
    made = Build("amd64", pie=False)
    made.go_version = version
    made.is_go = True
    return made


# The order, and the cache


def test_of_a_known_release_no_dwarf_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_own", None)
    with started(program("1.24", "static")) as running:
        assert found(running.pid).layout.name == "go1.24.11 amd64"


def test_where_the_releases_own_layout_does_not_fit_dwarf_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A runtime that was changed by whoever built it; and the next time DWARF's layout is the first one."""
    wrong = layouts_for("go1.19.8", "amd64")[0]
    wrong.name, wrong.go_version = "go1.24.11 amd64", "go1.24.11"
    monkeypatch.setattr(module, "layouts_for", lambda *_: [wrong])
    # The program has sampled nothing, so its profiling buckets would be searched for again.
    monkeypatch.setattr(module, "EVERYTHING", tuple(name for name in module.EVERYTHING if name != "buckets"))
    cache, path = Cache(str(tmp_path)), program("1.24", "static")
    with started(path) as running:
        settled(running.pid)
        for how in ("symbol", "cache"):
            located = found(running.pid, cache)
            assert located.how[0] == f"mheap: {how}, {BY_DWARF}"
            assert_as_symbols(running.pid, located, symbols(path))
            monkeypatch.setattr(Image, "words", None)  # nothing is searched for again


def test_what_was_read_is_kept(renamed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache, unknown = Cache(str(tmp_path / "cache")), build_of(str(renamed))
    with image_of(renamed) as image:
        first = own_layout(image, unknown, cache)
        assert first is not None
        monkeypatch.setattr(fromdwarf, "read_structures", lambda *_: pytest.fail("DWARF is read again"))
        again = own_layout(image, unknown, cache)
        assert again is not None and again._texts == first._texts and again.name == first.name


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"whyrss layout 1", b"whyrss layout 0"), (b"mspan=", b"mspam="), (b"=0:8", b"=x:8"), (b"\nend\n", b"\n")],
)
def test_what_was_kept_by_another_version_or_is_damaged_is_read_again(
    renamed: Path, tmp_path: Path, before: bytes, after: bytes
) -> None:
    cache, unknown = Cache(str(tmp_path / "cache")), build_of(str(renamed))
    with image_of(renamed) as image:
        first = own_layout(image, unknown, cache)
        (file,) = Path(cache.folder).iterdir()
        whole = file.read_bytes()
        assert before in whole
        file.write_bytes(whole.replace(before, after))
        again = own_layout(image, unknown, cache)
        assert first and again and again._texts == first._texts
        assert file.read_bytes() == whole
        assert cache.load_layout(image, "another edition") == {}


def test_the_edition_changes_with_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    before = layout.edition("amd64")
    assert before == layout.edition("amd64") != layout.edition("arm64")
    table = layout._table("amd64")
    monkeypatch.setattr(table, "structs", table.structs | {"more": ["8 a=0:8"]})
    assert layout.edition("amd64") != before


# Lies


@given(st.dictionaries(st.sampled_from([*fromdwarf.NEEDED, "p"]), st.text("0123456789-=:. ax", max_size=30)))
def test_any_texts_make_a_layout_or_none(texts: dict[str, str]) -> None:
    made = layout_from(texts, build(NEXT))
    assert made is None or made.has("mheap")


@pytest.mark.parametrize(
    "lie", ["8 a=8:1", "8 a=-1:1", "-8", "99999999999", "8 a=0:9", "8 a", "x", "", "8 a=0:-1", "8 a=0:x"]
)
def test_a_structure_that_is_impossible_makes_no_layout(lie: str) -> None:
    texts = dict.fromkeys(fromdwarf.NEEDED, "8 a=0:8")
    assert layout_from(texts, build(NEXT)) is not None
    assert layout_from(texts | {"p": lie}, build(NEXT)) is None


@once
def waiting() -> tuple[int, dict[str, str]]:
    """A program that runs until the end of these tests, and its structures."""
    path = program("1.24", "static")
    running = stack.enter_context(started(path))
    settled(running.pid)
    return running.pid, structures(path)


stack = contextlib.ExitStack()


@pytest.fixture(scope="module", autouse=True)
def reaped() -> Iterator[None]:
    yield
    stack.close()
    waiting.cache_clear()


@st.composite
def lying(draw: st.DrawFn, text: str) -> str:
    """A structure with the places of some fields exchanged, some narrower, and perhaps larger: one that may be."""
    size, *fields = text.split()
    places = [field.partition("=")[2] for field in fields]
    for at in draw(st.lists(st.integers(0, len(fields) - 1), max_size=4)):
        width = places[at].split(":")[1]
        other = draw(st.sampled_from([each for each in range(len(fields)) if places[each].split(":")[1] == width]))
        places[at], places[other] = places[other], places[at]
        if width == "8" and draw(st.booleans()):
            places[at] = f"{places[at].split(':')[0]}:{draw(st.sampled_from([1, 2, 4]))}"
    grown = int(size) + draw(st.sampled_from([0, 0, 8, 4096]))
    made = [f"{field.partition('=')[0]}={place}" for field, place in zip(fields, places, strict=True)]
    return " ".join([str(grown), *made])


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_dwarf_that_lies_about_fields_ends_in_words(data: st.DataObject) -> None:
    """The probe refuses it, or the walk does, or something is read; nothing else may happen."""
    pid, texts = waiting()
    changed = dict(texts)
    usual = st.sampled_from(["mheap", "mspan", "pageAlloc", "fixalloc", "mstats", "p", "mcache", "gcControllerState"])
    whole = st.sampled_from([name for name in sorted(texts) if "=" in texts[name]])
    for name in data.draw(st.lists(usual | whole, min_size=1, max_size=3, unique=True)):
        changed[name] = data.draw(lying(texts[name]))
    made = layout_from(changed, build(FAR))
    if made is None:
        return
    with opened(pid) as (memory, image), pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_own", lambda *_: made)
        try:
            read_heap(memory, locate(memory, image, build(FAR)))
        except Missing as missing:
            assert missing.reason


@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("flag", COMPRESSION.values(), ids=COMPRESSION)
def test_a_damaged_file_gives_a_layout_or_none(flag: str, places: list[tuple[float, bytes]]) -> None:
    """Bytes of its debugging sections, compressed or not, are others."""
    path = built("1.24", "amd64", flag)
    data = bytearray(path.read_bytes())
    with image_of(path) as whole:
        section = whole.elf.section(".debug_info")
    assert section is not None
    for share, content in places:
        at = section.offset + int(share * (section.size_bytes - len(content)))
        data[at : at + len(content)] = content
    image = Image(lambda at, size: bytes(data[at : at + size]), len(data))
    made = own_layout(image, build(NEXT))
    assert made is None or made.key == layout.OWN
