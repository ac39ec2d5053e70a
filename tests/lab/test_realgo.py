"""A scenario under real Go: each phase does to the runtime's figures what its definition says."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.support import needs_linux
from whyrss.errors import TargetError
from whyrss.lab import realgo
from whyrss.lab.comparison import phase_ends
from whyrss.lab.scenario import Scenario, parse_scenario

MIB = 1 << 20
OLDEST, NEWEST = "1.15", "1.27"
BOTH = pytest.mark.parametrize("go", [OLDEST, NEWEST])
# What a Go program holds beside its objects: less than 0.5 MiB of heap, by its own figures at the start.
NOISE = MIB


def scenario(phases: str, settings: str = "") -> Scenario:
    """`phases`: one a line, as the inline tables of TOML."""
    listed = ", ".join(f"{{ {line} }}" for line in phases.strip().splitlines())
    return parse_scenario(f'go = "1.15"\n{settings}\nphase = [{listed}]'.encode(), "test.toml")


def ends(go: str, phases: str, settings: str = "") -> list[Any]:
    """The samples at the ends of the phases of a real run."""
    needs_linux()
    return list(phase_ends(realgo.run(scenario(phases, settings), go)))


@BOTH
def test_objects_stay_until_a_collection_after_they_were_dropped(go: str) -> None:
    allocated, freed, collected = ends(
        go, 'do = "allocate", bytes = "64MiB", size = "64KiB"\ndo = "free", share = 0.25\ndo = "gc"'
    )
    assert 64 * MIB <= allocated["HeapAlloc"] < 64 * MIB + NOISE
    assert freed["HeapAlloc"] - allocated["HeapAlloc"] < NOISE
    assert 48 * MIB <= collected["HeapAlloc"] < 48 * MIB + NOISE
    # Objects of 64 KiB have spans of their own, so that what is not allocated is idle.
    assert 48 * MIB <= collected["HeapInuse"] < 48 * MIB + NOISE
    assert collected["HeapIdle"] >= 16 * MIB
    assert collected["NumGC"] > freed["NumGC"]


# Of 16 objects of 64 KiB and then 16 of 1 MiB, half go: 1 MiB, 16 MiB, or every second one of both sizes.
@pytest.mark.parametrize(("pattern", "dropped"), [("oldest", 1), ("newest", 16), ("interleaved", 8.5)])
def test_the_pattern_says_which_objects_go(pattern: str, dropped: float) -> None:
    phases = (
        'do = "allocate", bytes = "1MiB", size = "64KiB"\ndo = "allocate", bytes = "16MiB", size = "1MiB"\n'
        f'do = "gc"\ndo = "free", share = 0.5, pattern = "{pattern}"\ndo = "gc"'
    )
    _, _, before, _, after = ends(OLDEST, phases)
    fell = before["HeapAlloc"] - after["HeapAlloc"]
    assert abs(fell - dropped * MIB) < 64 << 10  # less than one object


def test_what_was_freed_is_not_counted_again() -> None:
    """Half of 32 MiB, then half of the 16 MiB that are left, then everything, the holder of 8 bytes an object too."""
    half = 'do = "free", share = 0.5\ndo = "gc"\n'
    phases = 'do = "allocate", bytes = "32MiB", size = "4KiB"\ndo = "gc"\n' + half + half + 'do = "free"\ndo = "gc"\n'
    _, full, _, first, _, second, _, none = ends(OLDEST, phases)
    holder = 8 * (32 * MIB // 4096)
    for left, expected in ((full, 32), (first, 16), (second, 8)):
        assert 0 <= left["HeapAlloc"] - expected * MIB - holder < NOISE
    assert none["HeapAlloc"] < NOISE


@BOTH
def test_garbage_is_allocated_and_not_kept(go: str) -> None:
    made, collected = ends(go, 'do = "allocate", bytes = "128MiB", size = "16KiB", keep = false\ndo = "gc"')
    assert made["TotalAlloc"] >= 128 * MIB
    assert made["NumGC"] > 0
    assert collected["HeapAlloc"] < NOISE


@BOTH
def test_memory_that_nobody_touches_is_in_use_and_not_resident(go: str) -> None:
    untouched, touched = ends(go, 'do = "allocate", bytes = "64MiB", size = "64MiB", touch = false\ndo = "touch"')
    assert untouched["HeapInuse"] >= 64 * MIB
    assert untouched["rss_bytes"] < 4 * MIB
    assert 64 * MIB <= touched["rss_bytes"] < 68 * MIB


LAZY = 'do = "allocate", bytes = "64MiB", size = "1MiB"\ndo = "free"\ndo = "free-os-memory"'


@pytest.mark.parametrize(
    ("go", "settings", "lazy"),
    [
        (OLDEST, "", True),
        (OLDEST, 'godebug = "madvdontneed=1"', False),
        (NEWEST, "", False),
        (NEWEST, 'godebug = "madvdontneed=0"', True),
    ],
)
def test_released_memory_is_lazily_freed_or_gone(go: str, settings: str, lazy: bool) -> None:
    _, _, end = ends(go, LAZY, settings)
    # One FreeOSMemory leaves what the sweep frees after it and what lies in the page caches of the Ps.
    left = 4 * MIB
    assert end["HeapReleased"] >= 64 * MIB - left
    if lazy:
        assert 64 * MIB - left <= end["lazyfree_bytes"] <= end["rss_bytes"]
    else:
        assert end["lazyfree_bytes"] == 0
        assert end["rss_bytes"] < NOISE + left


def test_pressure_takes_lazily_freed_memory_over_the_limit_and_no_other() -> None:
    needs_linux()
    phases = (
        'do = "allocate", bytes = "16MiB", size = "64KiB"\n' + LAZY.replace('"free"', '"free", share = 0.8')
    ) + '\ndo = "pressure", limit = "1GiB"\ndo = "pressure", limit = "32MiB"'
    document = realgo.run(scenario(phases), OLDEST)
    *_, freed, within, pressed = phase_ends(document)
    assert within["lazyfree_bytes"] == freed["lazyfree_bytes"] > 32 * MIB
    if document["notes"]:
        assert os.geteuid() != 0
        assert document["notes"][0].startswith("no memory pressure: ")
        return
    assert pressed["lazyfree_bytes"] < MIB
    assert pressed["rss_bytes"] >= pressed["HeapInuse"] - NOISE


@BOTH
@pytest.mark.parametrize("stack", [2, 8, 64])
def test_goroutines_hold_stacks_of_that_size_until_they_end(go: str, stack: int) -> None:
    phases = f'do = "goroutines", count = 500, stack = "{stack}KiB"\ndo = "gc"\ndo = "exit"\ndo = "gc"\ndo = "gc"'
    parked, collected, _, _, end = ends(go, phases)
    at_least = 500 * stack << 10
    for sample in (parked, collected):
        # Stacks that were outgrown stay in the caches of the Ps: at most 32 KiB of each of four sizes a P, and one
        # span of 32 KiB a size is shared (runtime/stack.go, _StackCacheSize, stackpool).
        assert at_least <= sample["StackInuse"] <= 1.5 * at_least + MIB
    assert end["StackInuse"] < at_least / 2 + MIB


def test_the_scavenger_is_waited_for() -> None:
    """Go 1.15 gives back what is over 1.1 times the heap that its next collection allows, here 4 MiB."""
    *_, end = ends(OLDEST, 'do = "allocate", bytes = "64MiB", size = "1MiB"\ndo = "free"\ndo = "gc"\ndo = "scavenge"')
    assert end["HeapIdle"] - end["HeapReleased"] < 5 * MIB


def test_a_wait_takes_its_time_and_is_sampled_within() -> None:
    needs_linux()
    samples = realgo.run(scenario('do = "gc"\ndo = "wait", for = "1s"'), OLDEST)["samples"]
    (before,) = (sample for sample in samples if sample["phase"] == 1)
    within = [sample for sample in samples if sample["phase"] == 2]
    assert len(within) > 1
    assert within[-1]["t_s"] - before["t_s"] >= 1.0
    assert {sample["label"] for sample in within} == {"wait 1s"}


@BOTH
def test_every_sample_has_every_figure_and_they_agree(go: str) -> None:
    needs_linux()
    document = realgo.run(scenario('do = "allocate", bytes = "8MiB", size = "64B"\ndo = "gc"'), go)
    assert [sample["phase"] for sample in document["samples"]] == [0, 1, 2]
    assert document["go"].startswith(f"go{go}.")
    assert document["scenario"]["name"] == "test"
    for sample in document["samples"]:
        assert all(isinstance(value, int) for name, value in sample.items() if name[:1].isupper())
        assert sample["HeapSys"] == sample["HeapIdle"] + sample["HeapInuse"]
        assert sample["HeapReleased"] <= sample["HeapIdle"]
        assert sample["HeapObjects"] == sample["Mallocs"] - sample["Frees"]
        systems = ("Heap", "Stack", "MSpan", "MCache", "BuckHash", "GC", "Other")
        assert sample["Sys"] == sum(sample[f"{name}Sys"] for name in systems)


def test_gogc_off_collects_only_when_told() -> None:
    made, collected = ends(
        NEWEST, 'do = "allocate", bytes = "64MiB", size = "16KiB", keep = false\ndo = "gc"', 'gogc = "off"'
    )
    assert (made["NumGC"], collected["NumGC"]) == (0, 1)


def test_gomemlimit_reaches_the_runtime() -> None:
    phases = 'do = "allocate", bytes = "256MiB", size = "16KiB", keep = false'
    settings = 'gogc = "off"\ngomemlimit = "64MiB"'
    (limited,) = ends(NEWEST, phases, settings)
    # Without the limit nothing would be collected; with it the runtime overshoots a little, it is a soft one.
    assert limited["NumGC"] > 0
    assert limited["Sys"] - limited["HeapReleased"] < 128 * MIB


def test_settings_of_the_caller_do_not_reach_the_program() -> None:
    callers = {"GODEBUG": "gctrace=1", "GOGC": "7", "GOMEMLIMIT": "1GiB", "HOME": "/home/x"}
    quiet = scenario('do = "gc"')
    assert realgo.environ(quiet, callers) == {"GOGC": "100", "HOME": "/home/x"}


def test_a_program_that_ends_early_is_an_error_and_leaves_nothing_behind() -> None:
    needs_linux()
    before, pids = _children(), []

    def kill(text: str) -> None:
        for pid in _children() - before if "phase 2" in text else ():
            pids.append(pid)
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(TargetError, match="ended in phase gc"):
        realgo.run(scenario('do = "gc"\ndo = "gc"'), OLDEST, say=kill)
    assert pids
    assert _children() == before


def test_a_go_that_does_not_exist_is_an_error() -> None:
    needs_linux()
    with pytest.raises(TargetError, match="is no version of Go"):
        realgo.run(scenario('do = "gc"'), "0.1")


def _children() -> set[int]:
    """The processes that this one started and has not reaped."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return {int(word) for word in file.read().split()}
