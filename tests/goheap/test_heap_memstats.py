"""runtime.MemStats read from outside, against what the program itself says, by ReadMemStats and by pprof."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator

import pytest

from tests.goheap.captured import VERSIONS, Reading, reading
from whyrss.goheap.heap import Heap

SIZES = (
    "HeapInuse", "HeapIdle", "HeapReleased", "HeapSys", "StackInuse", "StackSys", "MSpanInuse", "MSpanSys",
    "MCacheInuse", "MCacheSys", "BuckHashSys", "GCSys", "OtherSys", "Sys", "HeapAlloc", "Alloc", "NextGC",
)  # fmt: skip
EXACT = ("NumGC", "NumForcedGC", "LastGC", "PauseTotalNs", "GCCPUFraction", "Lookups")
WALKED = ("HeapInuse", "HeapIdle", "HeapReleased", "HeapSys", "HeapAlloc", "StackInuse")
TOLERANCE_BYTES = 128 << 10
TOLERANCE = 0.005


class Asked:
    """A heap, and the program's own figures of right before and right after."""

    def __init__(self, live: Reading) -> None:
        self.before = _stats(live)
        self.heap: Heap = live.heap()
        self.after = _stats(live)
        self.pprof = _pprof(live.program.ready["port"])

    def is_close(self) -> bool:
        """Whether the program hardly changed between its two answers."""
        return all(abs(self.after[name] - self.before[name]) <= TOLERANCE_BYTES for name in SIZES)

    def error(self, name: str, value: float) -> float:
        """How far `value` is from what the program said, 0 between its two answers: telling them allocates."""
        low, high = sorted((self.before[name], self.after[name]))
        return max(low - value, value - high, 0)

    def holds(self, name: str, value: float) -> bool:
        return self.error(name, value) <= max(TOLERANCE_BYTES, TOLERANCE * self.after[name])


@pytest.fixture(scope="module", params=VERSIONS)
def asked(request: pytest.FixtureRequest) -> Iterator[Asked]:
    with reading(request.param) as live:
        yield _quiet(live)


@pytest.mark.parametrize("name", SIZES)
def test_figures_are_the_programs_own(asked: Asked, name: str) -> None:
    assert name in asked.heap.memstats
    assert asked.holds(name, asked.heap.memstats[name])


def test_the_two_answers_are_close(asked: Asked) -> None:
    """Else lying between them would mean nothing."""
    assert asked.is_close()


@pytest.mark.parametrize("name", WALKED)
def test_so_are_those_of_the_walk_alone(asked: Asked, name: str) -> None:
    assert asked.holds(name, asked.heap.walked[name])


@pytest.mark.parametrize("name", EXACT)
def test_counts_are_exact(asked: Asked, name: str) -> None:
    if asked.before[name] == asked.after[name]:
        assert asked.heap.memstats[name] == asked.before[name]


def test_pprof_says_the_same(asked: Asked) -> None:
    for name, value in asked.pprof.items():
        assert abs(asked.heap.memstats[name] - value) <= max(4 * TOLERANCE_BYTES, TOLERANCE * value), name


def test_objects_are_counted(asked: Asked) -> None:
    """Between the two answers, give or take what telling them took."""
    assert asked.error("HeapObjects", asked.heap.memstats["HeapObjects"]) <= 1000


def test_parts_make_the_whole(asked: Asked) -> None:
    found = asked.heap.memstats
    assert found["HeapSys"] == found["HeapInuse"] + found["HeapIdle"]
    assert found["HeapReleased"] <= found["HeapIdle"]
    assert found["HeapAlloc"] <= found["HeapInuse"]


@pytest.mark.parametrize(
    ("version", "percent", "limit"), [("1.19", "50", "100000000"), ("1.24", "300", "90000000"), ("1.27", "off", "")]
)
def test_the_collectors_settings_and_goal(
    version: str, percent: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOGC", percent)
    if limit:
        monkeypatch.setenv("GOMEMLIMIT", limit)
    with reading(version, "16") as live:
        asked = _quiet(live)
        if live.located.gc_controller is None:
            pytest.fail(str(live.located.reasons))
    pacing = asked.heap.pacing
    assert pacing["gc_percent"] == (-1 if percent == "off" else int(percent))
    assert pacing["memory_limit_bytes"] == int(limit or (1 << 63) - 1)
    assert asked.holds("NextGC", asked.heap.memstats["NextGC"])


def _stats(live: Reading) -> dict[str, float]:
    found: dict[str, float] = json.loads(live.program.ask("stats").removeprefix("STATS "))
    return found


def _pprof(port: int) -> dict[str, int]:
    """The sizes in the trailer of /debug/pprof/heap?debug=1."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{port}/debug/pprof/heap?debug=1", timeout=60) as answer:
        text = answer.read().decode()
    found = {name: int(value) for name, value in re.findall(r"^# (\w+) = (\d+)$", text, re.MULTILINE)}
    for name, in_use, size in re.findall(r"^# (Stack|MSpan|MCache) = (\d+) / (\d+)$", text, re.MULTILINE):
        found |= {f"{name}Inuse": int(in_use), f"{name}Sys": int(size)}
    return {
        name: found[name] for name in ("HeapInuse", "HeapIdle", "HeapReleased", "StackInuse", "MSpanInuse", "GCSys")
    }


def _quiet(live: Reading) -> Asked:
    """Once the scavenger has nothing left to do, or in a pause of it."""
    for _ in range(50):
        asked = Asked(live)
        if asked.is_close():
            break
        time.sleep(1)
    return asked
