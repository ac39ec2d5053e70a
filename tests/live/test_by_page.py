"""`whyrss PID --basis page` on real Go programs: right within the limits of docs/verified.md, and harmless."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import whyrss.version
from tests import support
from tests.goheap import zoo
from tests.live.cli import assert_sums, line_bytes, lines, whyrss_json
from tests.live.cli import whyrss as command
from tests.live.measured import BATCHES_BYTES, rss_and_lazyfree, settled_bytes, smaps_bytes
from tools.verified import Figures, look, pprof_memstats

PACKAGE = Path(whyrss.version.__file__).parent
KIB = 1 << 10
# A whole run takes 100 to 500 ms, most of it the start of Python: the target ends before, within and behind the rest.
ENDS_AFTER_MS = range(0, 300, 20)


@pytest.mark.parametrize("mode", ["-s -w", "cgo"])
@pytest.mark.parametrize("version", zoo.VERSIONS)
def test_every_go_is_within_all_limits(version: str, mode: str) -> None:
    with zoo.zoo(version, mode) as running:
        before = running.ask("check")
        looked = look(running.pid, lambda: zoo.memstats(running))
        assert list(looked.misses(has_c=mode == "cgo")) == []
        assert looked.consistent
        assert_sums(dict(looked.document))
        assert running.ask("check") == before


def test_memory_of_malloc_is_in_c() -> None:
    """Four times 1 MiB in mappings of their own, and a thousand pieces of 64 bytes to 2 KiB (see zoo.py)."""
    with zoo.zoo("1.27", "cgo") as running:
        document = whyrss_json(running.pid, "--basis", "page")
    assert line_bytes(document, "c/mmapped") >= 4 << 20
    pieces_bytes = sum(64 << each % 6 for each in range(1000))
    assert line_bytes(document, "c") - line_bytes(document, "c/mmapped") >= pieces_bytes


def test_an_object_that_was_never_touched_is_slack_of_nothing() -> None:
    """16 MiB in use to the runtime, and not resident: no line has them."""
    with zoo.zoo("1.27") as running:
        document = whyrss_json(running.pid, "--basis", "page")
        stats = zoo.memstats(running)
    in_spans = line_bytes(document, "heap/live") + line_bytes(document, "heap/slack")
    assert in_spans <= stats["HeapInuse"] - (16 << 20) + 128 * KIB


def test_etcd_is_within_all_limits() -> None:
    with support.etcd(flags=["--enable-pprof"]) as server:
        server.load(puts=16, ranges=6, settle=50)
        assert list(look(server.pid, lambda: _pprof(server)).misses(has_c=True)) == []
        assert server.healthy()


def test_prometheus_is_within_all_limits() -> None:
    with support.prometheus() as server:
        server.load(queries=4, points=5000)
        assert list(look(server.pid, lambda: _pprof(server)).misses(has_c=True)) == []
        assert server.healthy()


@pytest.mark.parametrize("version", ["1.15", "1.27"])
def test_the_target_is_left_as_it_was(version: str) -> None:
    with zoo.zoo(version) as running:
        settled_bytes(running.pid, "Rss", at_least=1)
        settled_bytes(running.pid, "LazyFree", at_least=0)
        (rss_bytes, lazyfree_bytes), faults = rss_and_lazyfree(running.pid), _faults(running.pid)
        whyrss_json(running.pid, "--basis", "page")
        after_bytes = rss_and_lazyfree(running.pid)
        assert (after_bytes[0], _faults(running.pid)) == (rss_bytes, faults)
        # Pages that it freed and that wait in a CPU's batch may come to be counted, whoever empties the batch.
        assert 0 <= after_bytes[1] - lazyfree_bytes <= BATCHES_BYTES


def test_a_target_that_allocates_maps_and_unmaps_meanwhile() -> None:
    """Each document adds up, and says how far it may be off."""
    with zoo.zoo("1.27", "-s -w") as running:
        running.ask("churn")
        for _ in range(8):
            before = smaps_bytes(running.pid, "Rss")
            document = whyrss_json(running.pid)
            after = smaps_bytes(running.pid, "Rss")
            assert_sums(document)
            # A thousand allocations apart each of its two goroutines holds a mapping of 1 MiB for a moment, and the
            # heap grows up to its goal between two collections: twice what is live.
            margin_bytes = document["residue_bytes"] + (2 << 20) + line_bytes(document, "heap/live")
            assert min(before, after) - margin_bytes <= document["rss_bytes"] <= max(before, after) + margin_bytes
        running.ask("calm")
        looked = look(running.pid, lambda: zoo.memstats(running))
        assert list(looked.misses(has_c=False)) == []


@pytest.mark.parametrize("delay_ms", ENDS_AFTER_MS)
def test_a_target_that_ends_in_the_middle(delay_ms: int) -> None:
    with zoo.zoo("1.27", "-s -w") as running:
        argv = [sys.executable, "-m", "whyrss", str(running.pid), "--json", "--basis", "page"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as looking:
            time.sleep(delay_ms / 1000)
            running.process.kill()
            out, err = looking.communicate(timeout=support.HUNG_SECONDS)
    assert "Traceback" not in err
    if looking.returncode == 0:
        assert (out[:1], err) == ("{", "")
    else:
        assert (looking.returncode, out, err.count("\n")) == (3, "", 1)


def test_an_unknown_go_falls_back_to_vmas(tmp_path: Path) -> None:
    built = zoo.program("1.27", "-s -w")
    unknown = tmp_path / "zoo"
    unknown.write_bytes(built.read_bytes().replace(b"go1.27.3", b"go1.99.3"))
    unknown.chmod(0o755)
    with support.running([unknown, "8"]) as running:
        assert_falls_back(running.pid, {}, "no layout of the runtime of go1.99.3")


@pytest.mark.parametrize("struct", ["mheap", "mspan", "fixalloc", "pageAlloc"])
def test_a_wrong_layout_falls_back_to_vmas(struct: str, tmp_path: Path) -> None:
    """Every other offset of one structure is 16 bytes too large: the proof on the process refuses the layout."""
    shutil.copytree(PACKAGE, tmp_path / "whyrss", ignore=shutil.ignore_patterns("__pycache__"))
    for table in (tmp_path / "whyrss" / "facts" / "layouts").glob("*.json"):
        text, forms = table.read_text(), re.compile(rf'"{struct}": \[.*?\]', re.DOTALL)
        assert forms.search(text)
        table.write_text(forms.sub(lambda found: _moved(found[0]), text, count=1))
    with zoo.zoo("1.27", "-s -w", mib=8) as running:
        env = {"PYTHONPATH": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        assert_falls_back(running.pid, env, "was not found by the layouts of")


def assert_falls_back(pid: int, env: dict[str, str], reason: str) -> None:
    """With `auto` an account by VMA that says why, with `page` an error of one line."""
    code, out, err = command(str(pid), "--json", env=env)
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["basis"] == "vma"
    assert_sums(document)
    assert "heap/live" not in [path for path, _ in lines(document["account"])]
    code, out, err = command(str(pid), env=env)
    assert (code, err) == (0, "")
    assert reason in " ".join(out.split())
    code, out, err = command(str(pid), "--basis", "page", env=env)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert reason in err


def _moved(forms: str) -> str:
    """Not all of them: a structure that as a whole is elsewhere is the same one."""
    number = itertools.count()
    return re.sub(r"=(\d+):", lambda found: f"={int(found[1]) + 16 * (next(number) % 2)}:", forms)


def _faults(pid: int) -> tuple[int, int]:
    """minflt and majflt (proc_pid_stat(5), fields 10 and 12)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[7]), int(fields[9])


def _pprof(server: support.Server) -> Figures:
    status, body = server.get("/debug/pprof/heap?debug=1")
    assert status == support.OK, body
    return pprof_memstats(body)
