"""Recordings: the same verdict later and elsewhere, without secrets, all or nothing, hostile ones refused."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cli import whyrss
from whyrss.__main__ import run
from whyrss.sources.recording import MANIFEST

RECORDED = Path(__file__).parent.parent / "recordings" / "lazyfree"
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="records a live process")


@pytest.fixture
def target() -> Iterator[subprocess.Popen[str]]:
    """The page heap in Python, 32 MiB lazily freed, with a secret in its environment."""
    argv = [sys.executable, "-m", "whyrss.lab.programs.lazyfree", "32", "1"]
    environ = os.environ | {"API_TOKEN": "s3cr3t-of-the-target", "GODEBUG": "gctrace=0"}
    process = subprocess.Popen(argv, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline().startswith("READY")
    yield process
    process.kill()
    process.communicate()


def without_sizes(text: str) -> str:
    """A verdict with the words alone: what still waits in a CPU's batch moves its last digit."""
    return re.sub(r"[0-9.]+ [KMG]?i?B", "SIZE", text)


def without_batches(line: dict[str, Any]) -> dict[str, Any]:
    """The account with C's lazily freed memory and its other memory in one: what is in a CPU's batch has no mark yet,
    and is marked a moment later."""
    children = {child["name"]: without_batches(child) for child in line["children"]}
    if line["name"] == "c":
        merged = sum(children.pop(name, {"bytes": 0})["bytes"] for name in ("lazyfree", "other"))
        children["either"] = {"bytes": merged, "children": {}}
    return {"bytes": line["bytes"], "children": children}


@linux
@pytest.mark.parametrize("name", ["folder", "file.tar.gz"])
def test_the_same_verdict_later(target: subprocess.Popen[str], tmp_path: Path, name: str) -> None:
    to = tmp_path / "a b" / name
    to.parent.mkdir()
    code, live, _ = whyrss(str(target.pid), "--json")
    assert code == 0
    assert whyrss("record", str(target.pid), "-o", str(to))[0] == 0
    target.kill()
    target.wait()
    code, later, _ = whyrss(str(to), "--json")
    assert code == 0
    before, after = json.loads(live), json.loads(later)
    for key in ("process", "host", "basis", "rss_bytes", "container"):
        assert before[key] == after[key], key
    assert without_sizes(before["verdict"]) == without_sizes(after["verdict"])
    assert without_batches(before["account"]) == without_batches(after["account"])
    for finding in after["findings"]:
        for evidence in finding["evidence"]:
            shown = subprocess.run(["sh", "-c", evidence["check"]], capture_output=True, text=True, check=True)
            assert shown.stdout.strip() == str(evidence["value"])
    assert [finding["cause"] for finding in after["findings"]] == ["lazyfree"]


@linux
@pytest.mark.parametrize("name", ["folder", "file.tgz"])
def test_no_secret_is_kept(target: subprocess.Popen[str], tmp_path: Path, name: str) -> None:
    to = tmp_path / name
    assert whyrss("record", str(target.pid), "-o", str(to))[0] == 0
    if to.is_dir():
        kept = b"".join(path.read_bytes() for path in to.rglob("*") if path.is_file())
    else:
        with tarfile.open(to) as archive:
            streams = [archive.extractfile(member) for member in archive if member.isfile()]
            kept = b"".join(stream.read() for stream in streams if stream)
    assert b"s3cr3t" not in kept and b"API_TOKEN" not in kept
    assert b"GODEBUG=gctrace=0" in kept


@linux
def test_nothing_is_half_written(target: subprocess.Popen[str], tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine").write_text("keep me")
    code, _, err = whyrss("record", str(target.pid), "-o", str(full))
    assert code == 3 and "full" in err
    assert [path.name for path in full.iterdir()] == ["mine"]
    assert whyrss("record", str(target.pid), "-o", str(tmp_path / "no" / "such" / "x"))[0] == 3
    assert whyrss("record", "4194000", "-o", str(tmp_path / "gone.tar.gz"))[0] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_without_linux() -> None:
    """A recording needs neither /proc nor anything else of Linux: hide it all, then explain."""
    program = (
        "import os, sys\n"
        "for name in ('pidfd_open', 'sysconf', 'uname'): vars(os).pop(name, None)\n"
        "opened = open\n"
        "from whyrss.__main__ import run\n"
        f"sys.exit(run([{str(RECORDED)!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "were given back by Go with MADV_FREE" in done.stdout


def test_what_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for path in tmp_path.iterdir():
        code, out, err = whyrss(str(path))
        assert (code, out) == (3, ""), path
        assert "recording" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"{}", b"{", b'{"schema": "whyrss-recording/2", "pid": 1, "page_bytes": 4096}',
     b"\xff\xfe", b"[" * 99999,
     b'{"schema": "whyrss-recording/1", "pid": -1, "page_bytes": 4096}',
     b'{"schema": "whyrss-recording/1", "pid": "x", "page_bytes": 4096}',
     b'{"schema": "whyrss-recording/1", "pid": 1}'],
)  # fmt: skip
def test_a_damaged_manifest(tmp_path: Path, manifest: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(manifest)
    code, _, err = whyrss(str(tmp_path))
    assert code == 3 and err.count("\n") == 1


def test_a_link_out_of_the_recording_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0\n")
    folder = copy_of(RECORDED, tmp_path / "recording")
    smaps = next(folder.rglob("smaps"))
    smaps.unlink()
    smaps.symlink_to(secret)
    code, out, err = whyrss(str(folder))
    assert code == 3 and "symbolic link" in err and "root:x" not in out + err


def test_an_archive_that_unpacks_to_too_much(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.tar.gz"
    with tarfile.open(bomb, "w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo("proc/1/smaps")
        member.size = 600 << 20
        archive.addfile(member, Zeros(member.size))
    code, _, err = whyrss(str(bomb))
    assert code == 3 and "more than a recording can be" in err


class Zeros(io.RawIOBase):
    """A file of zeros that holds none of them."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int = -1) -> bytes:
        size = min(size if size >= 0 else self.left, self.left)
        self.left -= size
        return bytes(size)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_end_in_a_verdict_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], data: st.DataObject
) -> None:
    """Bytes flipped, files cut or gone: exit 0 or 3, and never an exception."""
    folder = copy_of(RECORDED, tmp_path_factory.mktemp("r") / "x")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(files))
        text = bytearray(path.read_bytes()) if path.exists() else bytearray()
        kind = data.draw(st.sampled_from(["cut", "flip", "gone", "garbage"]))
        if kind == "gone":
            path.unlink(missing_ok=True)
            continue
        if kind == "cut":
            del text[data.draw(st.integers(0, len(text))) :]
        elif kind == "flip" and text:
            for _ in range(data.draw(st.integers(1, 8))):
                text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
        else:
            text = bytearray(data.draw(st.binary(max_size=200)))
        path.write_bytes(text)
    for arguments in ([str(folder)], [str(folder), "--json"]):
        code = run(arguments)
        shown = capsys.readouterr()
        assert code in (0, 3)
        assert code == 0 or (shown.err.count("\n") == 1 and not shown.out)


def copy_of(folder: Path, to: Path) -> Path:
    import shutil

    return Path(shutil.copytree(folder, to))
