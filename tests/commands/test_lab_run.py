"""`whyrss lab run` and `whyrss lab kernel` as a user runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.cli import whyrss
from tests.support import needs_linux
from whyrss.lab import toolchain

MIB = 1 << 20
FREED_BYTES = 64 * MIB
SEED = """
go = "1.15"
[[phase]]
do = "allocate"
bytes = "64MiB"
size = "1MiB"
[[phase]]
do = "free"
[[phase]]
do = "gc"
[[phase]]
do = "wait"
for = "5m"
[[phase]]
do = "pressure"
limit = "32MiB"
"""


@pytest.fixture
def seed(tmp_path: Path) -> str:
    needs_linux()
    path = tmp_path / "seed.toml"
    path.write_text(SEED)
    return str(path)


def ends(document: dict[str, list[dict[str, int]]]) -> list[dict[str, int]]:
    return list({sample["phase"]: sample for sample in document["samples"]}.values())


def test_the_seed_problem_and_its_fix(seed: str) -> None:
    """With MADV_FREE RSS stays until the kernel needs memory; with MADV_DONTNEED it falls with HeapReleased."""
    code, out, _ = whyrss("lab", "run", seed, "--json", "--compare", "godebug=madvdontneed=1")
    assert code == 0
    document = json.loads(out)
    lazy, eager = ends(document), ends(document["compared"])
    _, allocated, _, _, waited, pressed = lazy
    assert waited["HeapReleased"] - allocated["HeapReleased"] >= FREED_BYTES - 4 * MIB
    assert waited["rss_bytes"] >= FREED_BYTES
    assert pressed["rss_bytes"] <= 33 * MIB  # the limit, and the batch in which the kernel reclaims
    assert eager[4]["HeapReleased"] == waited["HeapReleased"]
    assert eager[4]["rss_bytes"] <= 4 * MIB
    assert document["scenario"]["godebug"] == ""
    assert document["compared"]["scenario"]["godebug"] == "madvdontneed=1"


def test_the_text_and_the_picture(seed: str, tmp_path: Path) -> None:
    picture = tmp_path / "seed.svg"
    code, out, err = whyrss("lab", "run", seed, "--svg", str(picture))
    assert (code, err) == (0, "")
    assert "Go 1.15: RSS rises to" in out
    assert max(map(len, out.splitlines())) <= 80
    assert ET.parse(picture).getroot().tag.endswith("svg")
    assert not list(tmp_path.glob("*.part"))


def test_a_picture_that_cannot_be_written_is_one_line(seed: str, tmp_path: Path) -> None:
    code, _, err = whyrss("lab", "run", seed, "--svg", str(tmp_path / "no" / "folder.svg"))
    assert code == 2
    assert "cannot be written: No such file or directory" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("absent.toml",), "absent.toml: No such file or directory"),
        (("{seed}", "--set", "go=1.99"), "1.99"),
        (("{seed}", "--set", "godebug=madvdontneed"), "madvdontneed"),
        (("{seed}", "--set", "gomemlimit=4XB"), "4XB"),
        (("{seed}", "--compare", "colour=red"), "is no setting"),
        (("{seed}", "--set", "kernel=4.8"), "cannot play"),
        (("{seed}", "--serve", "0.0.0.0:0"), "0.0.0.0"),
        (("{seed}", "--speed", "0"), "between"),
    ],
)
def test_bad_input_is_refused_in_a_line(arguments: tuple[str, ...], words: str, seed: str) -> None:
    code, out, err = whyrss("lab", "run", *(word.format(seed=seed) for word in arguments))
    assert code == 2
    assert out == ""
    assert words in err


def test_more_than_the_machine_has_is_refused_before_it_begins(tmp_path: Path) -> None:
    needs_linux()
    path = tmp_path / "large.toml"
    path.write_text('go = "1.24"\n[[phase]]\ndo = "allocate"\nbytes = "900GiB"\nsize = "1MiB"\n')
    code, out, err = whyrss("lab", "run", str(path))
    assert (code, out) == (2, "")
    assert "needs up to" in err
    assert "nothing was allocated" in err


def test_the_model_is_served_as_go_serves_it(seed: str) -> None:
    """And the pprof of a real toolchain reads it."""
    go = toolchain.find("1.27")
    argv = [sys.executable, "-m", "whyrss", "lab", "run", seed, "--serve", "127.0.0.1:0", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr and process.stdout
            url = process.stderr.readline().split()[1].rstrip(",").removesuffix("/debug/pprof/heap")
            assert process.stderr.readline().startswith("the scenario has ended")
            top = subprocess.run(
                [go, "tool", "pprof", "-top", "-sample_index=alloc_space", f"{url}/debug/pprof/heap"],
                capture_output=True,
                text=True,
                check=True,
                env=os.environ | {"GOTOOLCHAIN": "local"},
            ).stdout
            with urllib.request.urlopen(f"{url}/debug/vars", timeout=30) as answer:
                served = json.load(answer)["memstats"]
            process.send_signal(signal.SIGINT)
            document = json.loads(process.stdout.read())
        finally:
            process.kill()
    assert "64MB" in next(line for line in top.splitlines() if "model.allocate(1048576B)" in line)
    assert served["HeapReleased"] == document["samples"][-1]["HeapReleased"]
    assert served["NumGC"] == document["samples"][-1]["NumGC"]


def test_whyrss_itself_explains_the_model_from_outside(seed: str) -> None:
    argv = [sys.executable, "-m", "whyrss", "lab", "run", seed, "--serve", "127.0.0.1:0", "--set", "kernel=6.1"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            while not process.stderr.readline().startswith("the scenario has ended"):
                time.sleep(0.01)
            code, out, _ = whyrss(str(process.pid), "--json")
        finally:
            process.kill()
    found = json.loads(out)
    assert code == 0
    assert found["findings"][0]["cause"] == "lazyfree"
    assert found["findings"][0]["bytes"] == pytest.approx(32 * MIB, abs=2 * MIB)


def test_the_kernels_semantics() -> None:
    needs_linux()
    code, out, _ = whyrss("lab", "kernel", "--json")
    rows = {row["name"]: row for row in json.loads(out)["experiments"]}
    assert code == 0
    assert rows["dontneed"]["holds"] is True
    assert rows["free-written"]["holds"] is True
    code, out, _ = whyrss("lab", "kernel")
    assert code == 0
    assert "0 contradicted" in out
