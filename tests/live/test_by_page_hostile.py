"""`whyrss PID` by page on programs that are hard to look at: in words and within bounds, whatever they are.

Not here: pages in swap, which needs a machine that has swap, and a running program for an architecture
that is not known, of which the 32-bit one is the only one that runs on amd64.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests import support
from tests.live import bounded, liars
from tests.live.cli import assert_sums, line_bytes
from tests.live.measured import smaps_bytes
from whyrss.errors import TargetError
from whyrss.lab import debian, toolchain

PROGRAMS = Path(__file__).parents[1] / "goheap" / "programs"
VERSIONS = ("1.15", "1.24", "1.27")
CGO = {"CGO_ENABLED": "1"}
KEPT_BYTES = 8 << 20
NOBODY = 65534
AS_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=-all",
    "--bounding-set=-all",
)


def built(version: str, name: str, flags: Sequence[str] = (), env: Mapping[str, str] = {}) -> Path:
    support.needs_linux()
    return toolchain.build(toolchain.find(version), PROGRAMS / name, flags=flags, env=env)


def hostile(version: str, flags: Sequence[str] = (), env: Mapping[str, str] = {}) -> Path:
    return built(version, "hostile.go", flags, env)


def document(pid: int) -> dict[str, Any]:
    """What `--json` prints: it adds up."""
    run = bounded.whyrss(pid, "--json")
    assert (run.code, run.err) == (0, "")
    found: dict[str, Any] = json.loads(run.out)
    assert_sums(found)
    return found


def assert_by_page(pid: int) -> dict[str, Any]:
    found = document(pid)
    assert found["basis"] == "page", bounded.whyrss(pid, "--basis", "page").err
    assert "by page" in bounded.whyrss(pid, "--basis", "page").words
    return found


def assert_by_vma(pid: int, reason: str) -> dict[str, Any]:
    """A coarser account, with the reason (or one of several, between bars) in the text, and in the one line that
    refuses a finer one."""
    found = document(pid)
    assert found["basis"] == "vma"
    run = bounded.whyrss(pid)
    assert run.code == 0
    assert "by VMA" in run.words
    assert any(each in run.words for each in reason.split("|"))
    run = bounded.whyrss(pid, "--basis", "page")
    assert (run.code, run.out, run.err.count("\n")) == (3, "", 1)
    assert any(each in run.err for each in reason.split("|"))
    return found


# Other builds


@pytest.mark.parametrize("version", VERSIONS)
def test_32_bits(version: str) -> None:
    with support.running([hostile(version, env={"GOARCH": "386"}), "quiet"]) as running:
        assert_by_vma(running.pid, "a program for 386 cannot be read: only amd64 and arm64 are known")


@pytest.mark.parametrize(
    ("flag", "version"), [("-race", "1.15"), ("-race", "1.27"), ("-asan", "1.24"), ("-asan", "1.27")]
)
def test_sanitizers(flag: str, version: str) -> None:
    """Their shadow of the memory is TiB of mappings; the heap is found all the same."""
    with support.running([hostile(version, [flag], CGO), "quiet"]) as running:
        found = assert_by_page(running.pid)
    assert line_bytes(found, "heap") >= KEPT_BYTES
    assert found["residue_bytes"] == 0


def test_msan() -> None:
    if not shutil.which("clang"):
        pytest.skip("-msan needs clang: gcc has no -fsanitize=memory")
    with support.running([hostile("1.27", ["-msan"], {**CGO, "CC": "clang"}), "quiet"]) as running:
        assert line_bytes(assert_by_page(running.pid), "heap") >= KEPT_BYTES


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plugin_shares_the_heap_of_its_program(version: str) -> None:
    plugin = built(version, "library.go", ["-buildmode=plugin"], CGO)
    with support.running([built(version, "host.go", env=CGO), plugin]) as running:
        found = assert_by_page(running.pid)
    assert line_bytes(found, "heap/live") >= 16 << 20


def in_c(version: str, host: str, folder: Path) -> list[str | Path]:
    """The command of a program that is not Go's with Go's library in it."""
    library = built(version, "library.go", ["-buildmode=c-shared"], CGO)
    if host == "Python":
        python = f"import ctypes; print('READY', ctypes.CDLL({str(library)!r}).Answer(), flush=True); input()"
        return [sys.executable, "-c", python]
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("needs a C compiler")
    subprocess.run([compiler, "-o", folder / "host", PROGRAMS / "host.c", "-ldl"], check=True)
    return [folder / "host", library]


@pytest.mark.parametrize("host", ["C", "Python"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_library_of_go_in_another_program(version: str, host: str, tmp_path: Path) -> None:
    with support.running(in_c(version, host, tmp_path)) as running:
        assert document(running.pid)["basis"] == "vma"
        run = bounded.whyrss(running.pid, "--basis", "page")
        assert (run.code, run.out, run.err.count("\n")) == (3, "", 1)


def test_a_library_of_go_is_named_as_the_reason(tmp_path: Path) -> None:
    with support.running(in_c("1.27", "C", tmp_path)) as running:
        assert_by_vma(running.pid, "a Go runtime in a library")


@pytest.fixture(scope="module")
def upx(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """The command of Debian's UPX."""
    support.needs_linux()
    try:
        root = debian.package("bullseye", ["upx-ucl", "libucl1"])
    except TargetError as error:
        pytest.skip(f"no UPX: {error}")
    (library,) = root.glob("usr/lib/*/libucl.so.1")
    return ["env", f"LD_LIBRARY_PATH={library.parent}", root / "usr" / "bin" / "upx-ucl"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_packed_program(version: str, upx: list[str | Path], tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    subprocess.run([*upx, "-q", "-o", packed, hostile(version)], check=True, capture_output=True)
    with support.running([packed, "quiet"]) as running:
        found = document(running.pid)
        assert found["basis"] == "vma"
        assert found["rss_bytes"] >= KEPT_BYTES
        run = bounded.whyrss(running.pid, "--basis", "page")
        assert (run.code, run.out, run.err.count("\n")) == (3, "", 1)


def test_a_packed_program_is_named_as_the_reason(upx: list[str | Path], tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    subprocess.run([*upx, "-q", "-o", packed, hostile("1.27")], check=True, capture_output=True)
    with support.running([packed, "quiet"]) as running:
        assert_by_vma(running.pid, "packed")


# Lies


@pytest.mark.parametrize("lie", liars.LIES)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_program_that_lies_in_its_memory(version: str, lie: str) -> None:
    with support.running([hostile(version), "liar"]) as running:
        liars.tell(running, lie)
        reason = liars.LIES[lie][1]
        found = assert_by_page(running.pid) if reason is None else assert_by_vma(running.pid, reason)
        # It stands still: what is off is what is said to be.
        assert abs(found["rss_bytes"] - smaps_bytes(running.pid, "Rss")) <= (found["residue_bytes"] or 0)


# Address space


@pytest.mark.parametrize(("gib", "vmas"), [(1024, 1000), (16 << 10, 1000), (0, 60_000)])
def test_a_huge_address_space(gib: int, vmas: int) -> None:
    most = int(Path("/proc/sys/vm/max_map_count").read_text())
    if vmas > most - 1000:
        pytest.skip(f"vm.max_map_count is {most}")
    with support.running([hostile("1.27"), "space", str(gib), str(vmas)]) as running:
        found = assert_by_page(running.pid)
    assert found["rss_bytes"] >= KEPT_BYTES + vmas // 3 * 4096


def test_a_huge_reservation_beside_many_mappings() -> None:
    with support.running([hostile("1.27"), "space", "1024", "60000"]) as running:
        assert_by_page(running.pid)


# What changes meanwhile


@pytest.mark.parametrize("mode", ["churn", "forks"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_program_that_never_stands_still(version: str, mode: str) -> None:
    with support.running([hostile(version), mode]) as running:
        for _ in range(4):
            found = document(running.pid)
            assert found["residue_bytes"] is not None
            assert found["rss_bytes"] >= KEPT_BYTES


@pytest.mark.parametrize("delay_ms", range(0, 200, 20))
def test_a_program_that_ends_by_itself(delay_ms: int) -> None:
    with support.running([hostile("1.27"), "ends", str(delay_ms)]) as running:
        run = bounded.whyrss(running.pid, "--json")
    if run.code == 0:
        assert run.err == ""
        assert_sums(json.loads(run.out))
    else:
        assert (run.code, run.out, run.err.count("\n")) == (3, "", 1)


# Rights


@pytest.fixture
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program where everybody may run it."""
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("needs root, to become another user, and setpriv")
    place = Path(tmp_path_factory.mktemp("public") / "hostile")
    shutil.copy(hostile("1.27"), place)
    for folder in [place, *list(place.parents)[:-2]]:
        folder.chmod(folder.stat().st_mode | 0o055)
    return place


def test_an_ordinary_user_sees_an_own_process_by_page(public: Path) -> None:
    with support.running([*AS_NOBODY, public, "quiet"]) as running:
        run = bounded.whyrss(running.pid, "--json", under=AS_NOBODY)
        assert (run.code, run.err) == (0, "")
        found = json.loads(run.out)
        assert_sums(found)
        assert found["basis"] == "page"
        assert line_bytes(found, "heap/live") >= KEPT_BYTES


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--basis", "page")])
def test_an_ordinary_user_is_told_the_right_that_is_missing(public: Path, arguments: tuple[str, ...]) -> None:
    with support.running([public, "quiet"]) as running:
        run = bounded.whyrss(running.pid, *arguments, under=AS_NOBODY)
    assert (run.code, run.out, run.err.count("\n")) == (3, "", 1)
    assert "permission denied" in run.err
    assert "CAP_SYS_PTRACE" in run.err
