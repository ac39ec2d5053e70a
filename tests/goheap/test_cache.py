"""Finds are kept by the build, whole or not at all, and nothing that goes wrong with them is an error."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrss.goheap import cache as module
from whyrss.goheap.cache import Cache
from whyrss.goheap.image import Image

LAYOUT = "go1.24.11 amd64"
FINDS = {"mheap": [0x5A0000], "gc_bits": [8, 16, 24], "below": [-8]}


def image(build_id: bytes = b"id", size: int = 0, mtime_ns: int = 5, name: bytes = b"Go\0\0", kind: int = 4) -> Image:
    """An ELF file with one note."""
    note = struct.pack("<III", len(name), len(build_id), kind) + name + build_id
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(note), len(note), 4)
    data = header + segment + note + bytes(size)
    return Image(lambda at, count: data[at : at + count], len(data), mtime_ns=mtime_ns)


def test_what_is_stored_is_loaded(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path / "new" / "folder"))
    assert cache.load(image()) == ("", {})
    cache.store(image(), LAYOUT, FINDS)
    assert cache.load(image()) == (LAYOUT, FINDS)
    cache.store(image(), LAYOUT, {"mheap": [1]})
    assert cache.load(image()) == (LAYOUT, {"mheap": [1]})
    assert len(os.listdir(cache.folder)) == 1


def test_another_program_has_none_of_it(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    cache.store(image(), LAYOUT, FINDS)
    for other in (image(b"di"), image(size=1), image(mtime_ns=6), image(kind=9)):
        assert cache.load(other) == ("", {})


def test_both_kinds_of_build_id_are_read() -> None:
    assert image(b"abc/def").build_id() == b"abc/def".hex()
    assert image(b"\1\2", name=b"GNU\0", kind=3).build_id() == "0102"
    assert image(b"\1\2", name=b"GNU\0", kind=1).build_id() == ""
    assert image(b"x" * 300).build_id() == (b"x" * 300).hex()


def test_a_long_build_id_makes_a_name_that_a_file_may_have(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    cache.store(image(b"x" * 300), LAYOUT, FINDS)
    assert cache.load(image(b"x" * 300)) == (LAYOUT, FINDS)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_a_damaged_file_is_as_none(tmp_path_factory: pytest.TempPathFactory, garbage: bytes, at: int) -> None:
    cache = Cache(str(tmp_path_factory.mktemp("cache")))
    cache.store(image(), LAYOUT, FINDS)
    (file,) = Path(cache.folder).iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:at] + garbage + whole[at:])
    layout, kept = cache.load(image())
    assert isinstance(layout, str)
    assert all(isinstance(name, str) and all(type(each) is int for each in values) for name, values in kept.items())
    file.write_bytes(whole[:at])
    assert cache.load(image()) == ("", {})


def test_the_oldest_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILES_MAX", 3)
    cache = Cache(str(tmp_path))
    for number in range(5):
        cache.store(image(b"%d" % number), LAYOUT, FINDS)
        os.utime(cache._path(image(b"%d" % number)), ns=(number, number))
    assert [bool(cache.load(image(b"%d" % number))[1]) for number in range(5)] == [False, False, True, True, True]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = Cache(str(tmp_path / "file"))
    cache.store(image(), LAYOUT, FINDS)
    assert cache.load(image()) == ("", {})


def test_too_much_is_not_kept(tmp_path: Path) -> None:
    cache = Cache(str(tmp_path))
    cache.store(image(), LAYOUT, {"mheap": list(range(10_000))})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("variable", "wanted"), [("/x", "/x"), ("relative", "/home/me/.cache"), ("", "/home/me/.cache")]
)
def test_the_folder_is_the_users(monkeypatch: pytest.MonkeyPatch, variable: str, wanted: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", variable)
    monkeypatch.setenv("HOME", "/home/me")
    assert Cache.of_user().folder == f"{wanted}/whyrss/located"


def test_it_imports_nothing_heavy() -> None:
    import subprocess

    program = (
        "import sys; before = set(sys.modules)\n"
        "import whyrss.goheap.cache, whyrss.goheap.locate, whyrss.goheap.image, whyrss.goheap.memory\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    source = str(Path(module.__file__).parents[2])
    environ = os.environ | {"PYTHONPATH": source}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], env=environ, capture_output=True, text=True, check=True
    )
    assert "whyrss" in done.stdout.split()
    assert not {"json", "re", "hashlib", "ctypes", "numpy", "struct", "typing"} & set(done.stdout.split())
