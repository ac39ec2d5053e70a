"""Real Go programs of many versions: who leaves lazily freed pages, what whyrss says, whether it adds up."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests import support
from tests.live.cli import assert_sums, finding_of, line_bytes, lines, problems, whyrss, whyrss_json
from tests.live.measured import BATCHES_BYTES, KEPT_BACK_BYTES, smaps_bytes

MIB = 1 << 20
DROPPED_BYTES = 200 * MIB
MADV_FREE = {"GODEBUG": "madvdontneed=0"}
MADV_DONTNEED = {"GODEBUG": "madvdontneed=1"}

# go.dev/doc/go1.12: memory is released with MADV_FREE; go.dev/doc/go1.16: with MADV_DONTNEED again.
LAZY: list[tuple[str, dict[str, str]]] = [("1.15", {}), ("1.19", MADV_FREE)]
LAZY += [(f"1.{minor}", MADV_FREE) for minor in range(21, 28)]
EAGER: list[tuple[str, dict[str, str]]] = [("1.15", MADV_DONTNEED)]
EAGER += [(version, {}) for version in ("1.19", "1.21", "1.24", "1.27")]

# Where Go's heap begins on amd64 and arm64 (runtime/malloc.go, mallocinit: 0x00c0<<32), up to Go 1.25; the
# programs here fill less than 1 GiB from there on.
OLD_HEAP = (0xC0_0000_0000, 0xC0_4000_0000)
RANDOM_HEAP = ("1.26", "1.27")


@contextlib.contextmanager
def program(version: str, env: dict[str, str]) -> Iterator[support.Program]:
    with support.running([support.go_program(version)], env) as running:
        yield running


@pytest.mark.parametrize(("version", "env"), LAZY)
def test_lazily_freed_memory_is_found(version: str, env: dict[str, str]) -> None:
    with program(version, env) as running:
        before = smaps_bytes(running.pid, "LazyFree")
        document = whyrss_json(running.pid)
        after = smaps_bytes(running.pid, "LazyFree")
        assert_sums(document)
        assert_is_rss(document, running.pid)
        assert_heap(document, running.pid, version)
    # All that was dropped, and not the blocks that live among it.
    assert before >= DROPPED_BYTES - KEPT_BACK_BYTES - BATCHES_BYTES
    assert document["findings"][0] == (finding := finding_of(document, "lazyfree"))
    assert problems(document) == ["lazyfree", *(["leftover-madvdontneed"] if env and version != "1.15" else [])]
    assert min(before, after) * 98 <= finding["bytes"] * 100 <= max(before, after) * 102
    assert finding["reclaimable_bytes"] <= finding["bytes"] == line_bytes(document, finding["line"])
    assert {name: finding[name] for name in ("cause", "weight", "line", "confidence")} == {
        "cause": "lazyfree",
        "weight": "problem",
        "line": "heap/released/lazyfree",
        "confidence": "certain",
    }
    assert "rss" in finding["affects"]
    assert not document["not_checked"]
    assert not document["verdict"].startswith("Healthy")
    assert "MADV_FREE" in document["verdict"]


@pytest.mark.parametrize(("version", "env"), EAGER)
def test_memory_that_was_returned_at_once_is_no_problem(version: str, env: dict[str, str]) -> None:
    with program(version, env) as running:
        assert smaps_bytes(running.pid, "LazyFree") < MIB
        document = whyrss_json(running.pid)
        assert_sums(document)
        assert_is_rss(document, running.pid)
        code, page, _ = whyrss(running.pid, "--fail-on", "problem")
    assert problems(document) == document["not_checked"] == []
    assert document["verdict"].startswith("Healthy:")
    assert code == 0
    assert "Healthy" in page


@pytest.mark.parametrize("version", ["1.15", "1.27"])
def test_the_document_says_who_it_is(version: str) -> None:
    with program(version, MADV_FREE) as running:
        process = whyrss_json(running.pid)["process"]
    assert process["pid"] == running.pid
    assert process["go_version"] == running.ready["go"]
    assert process["stripped"] is False
    assert process["godebug"] == {"madvdontneed": "0"}


def test_fail_on_tells_a_problem_from_health() -> None:
    with program("1.15", {}) as running:
        assert [whyrss(running.pid, *flags)[0] for flags in ([], ["--fail-on", "problem"])] == [0, 1]
        assert whyrss(running.pid, "--fail-on=note")[0] == 1
        assert whyrss(running.pid, "--fail-on", "problem", "--json")[0] == 1
        code, out, err = whyrss(running.pid, "--fail-on", "disaster")
        assert (code, out) == (2, "")
        assert "disaster" in err


def test_a_page_for_people_names_finding_evidence_and_fix() -> None:
    with program("1.15", {}) as running:
        code, page, err = whyrss(running.pid)
    assert (code, err) == (0, "")
    assert "PROBLEM lazyfree" in page
    assert f"whyrss reclaim {running.pid}" in page
    assert "GODEBUG=madvdontneed=1" in page
    assert "unattributed" in page
    assert "\x1b" not in page


def assert_is_rss(document: dict[str, Any], pid: int) -> None:
    """The root is what the kernel sums, both ways; it may be off by no more than the stated residue.  (The
    program waits for a line of input, and no collection is forced within 2 minutes of the last.)"""
    for name in ("smaps", "smaps_rollup"):
        assert abs(document["rss_bytes"] - smaps_bytes(pid, "Rss", name)) <= document["residue_bytes"], name


def assert_heap(document: dict[str, Any], pid: int, version: str) -> None:
    """The heap line holds all of the arenas, where their place is known, and at least what was dropped."""
    in_old_place = smaps_bytes(pid, "Rss", within=OLD_HEAP)
    heap_bytes = line_bytes(document, "heap")
    assert heap_bytes >= DROPPED_BYTES
    if version in RANDOM_HEAP:
        assert in_old_place == 0
    else:
        assert abs(heap_bytes - in_old_place) <= document["residue_bytes"]
    # With the live 8 MiB; a quarter more than these two would be other memory.
    assert heap_bytes < (DROPPED_BYTES + 8 * MIB) * 5 // 4
    names = {path for path, _ in lines(document["account"])}
    assert {"runtime", "image", "c", "threads", "files", "shared", "unattributed"} <= names
