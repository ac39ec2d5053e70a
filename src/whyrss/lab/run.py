"""Runs a scenario in the model and samples it: the runtime's figures beside the kernel's."""

from __future__ import annotations

import threading
import time
from fractions import Fraction

from whyrss.errors import UsageError
from whyrss.lab.memory import madvise
from whyrss.lab.model.figures import memstats
from whyrss.lab.model.records import records
from whyrss.lab.model.runtime import Runtime
from whyrss.lab.model.settings import Settings
from whyrss.lab.serve import State
from whyrss.lab.unused import without_madv_free
from whyrss.policy import kernel_fact_of, parse_kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from whyrss.lab.memory import Madvise
    from whyrss.lab.scenario import Phase, Scenario

    Sample = dict[str, int | float | str]  # a bool too: `scavenging`
    Press = Callable[[int, list[tuple[int, int]]], object]  # limit in bytes, (address, bytes) of the heap

WAIT_SAMPLES = 60
SCAVENGE_STEP_S = 0.5
SCAVENGE_QUIET_S = 5.0  # since Go 1.18 the scavenger may sleep for seconds between two rounds (lab/model/pace.py)
SCAVENGE_LONGEST_S = 120.0


class Course:
    """One run. `speed`: so many times faster than real time go the waits by; 0 is as fast as possible. `press` has
    the kernel take what it can; None leaves phases of pressure without effect."""

    def __init__(
        self, scenario: Scenario, speed: float = 0.0, press: Press | None = None, advise: Madvise = madvise
    ) -> None:
        self.scenario = scenario
        self.samples: list[Sample] = []
        self._speed = speed
        self._lock = threading.RLock()
        self._start_s = time.time()
        self._most_rss_bytes = 0
        self._press = press
        settings = Settings(scenario.go, scenario.godebug, scenario.gogc, scenario.gomemlimit_bytes, scenario.kernel)
        self.runtime = Runtime(settings, _played(scenario.kernel, advise))

    def run(self, keep: bool = False) -> dict[str, object]:
        """The whole course as the document of --json. Unless it is to be kept, the memory is gone afterwards."""
        try:
            self._sample(0, "start")
            for number, phase in enumerate(self.scenario.phases, 1):
                with self._lock:
                    self._do(number, phase)
                    self._sample(number, phase.label)
        finally:
            if not keep:
                self.close()
        return {"scenario": self.scenario.as_dict(), "samples": self.samples}

    def close(self) -> None:
        """Gives the memory back. Nothing can be asked afterwards."""
        self.runtime.heap.memory.free()

    def state(self) -> State:
        """What is served: the figures between two phases."""
        with self._lock:
            rss_bytes = self.runtime.heap.memory.kernel_figures()["Rss"]
            self._most_rss_bytes = max(self._most_rss_bytes, rss_bytes)
            stats, made = memstats(self.runtime), list(records(self.runtime))
        return State(stats, made, self.scenario.go, rss_bytes, self._start_s, self._most_rss_bytes)

    def collect(self) -> None:
        """runtime.GC(), asked for from outside."""
        with self._lock:
            self.runtime.collect(forced=True)

    def _do(self, number: int, phase: Phase) -> None:
        runtime = self.runtime
        if phase.do == "allocate":
            runtime.allocate(phase.bytes, phase.size_bytes, phase.keep, phase.touch)
        elif phase.do == "free":
            runtime.drop(Fraction(str(phase.share)), phase.pattern)
        elif phase.do == "goroutines":
            runtime.start_goroutines(phase.count, phase.stack_bytes)
        elif phase.do == "pressure":
            self._pressure(phase.limit_bytes)
        elif phase.do == "wait":
            self._wait(number, phase)
        elif phase.do == "scavenge":
            self._scavenge(number, phase)
        else:
            PLAIN[phase.do](runtime)

    def _wait(self, number: int, phase: Phase) -> None:
        step_s = phase.for_s / WAIT_SAMPLES
        for _ in range(WAIT_SAMPLES - 1):
            self._pass(step_s)
            self._sample(number, phase.label)
        self._pass(step_s)

    def _scavenge(self, number: int, phase: Phase) -> None:
        """As whoever waits for it from outside: until nothing was released for a while."""
        end_s = self.runtime.now_s + SCAVENGE_LONGEST_S
        quiet_s = 0.0
        while quiet_s < SCAVENGE_QUIET_S and self.runtime.now_s < end_s:
            before = self.runtime.heap.pages.released_pages
            self._pass(SCAVENGE_STEP_S)
            quiet_s = quiet_s + SCAVENGE_STEP_S if self.runtime.heap.pages.released_pages == before else 0.0
            if not quiet_s:
                self._sample(number, phase.label)

    def _pass(self, seconds: float) -> None:
        if self._speed:
            time.sleep(seconds / self._speed)
        self.runtime.advance(seconds)

    def _pressure(self, limit_bytes: int) -> None:
        if self._press:
            memory = self.runtime.heap.memory
            self._press(limit_bytes, [(memory.base, memory.end - memory.base)])

    def _sample(self, number: int, label: str) -> None:
        kernel = self.runtime.heap.memory.kernel_figures()
        sample: Sample = {"t_s": round(self.runtime.now_s, 6), "phase": number, "label": label}
        sample |= {"rss_bytes": kernel["Rss"], "lazyfree_bytes": kernel["LazyFree"]}
        sample["scavenging"] = self.runtime.scavenger.at_work
        sample |= {
            name: value
            for name, value in memstats(self.runtime).items()
            if isinstance(value, int) and not isinstance(value, bool)
        }
        self.samples.append(sample)


PLAIN: dict[str, Callable[[Runtime], None]] = {
    "touch": Runtime.touch,
    "gc": lambda runtime: runtime.collect(forced=True),
    "free-os-memory": Runtime.free_os_memory,
    "exit": Runtime.end_goroutines,
}


def _played(kernel: str, advise: Madvise) -> Madvise:
    """The kernel that a scenario names: an older one is played by the answers of its madvise."""
    if not kernel:
        return advise
    known, _ = kernel_fact_of(parse_kernel(kernel), "MADV_FREE")
    if not known:
        return without_madv_free(advise)
    lazy, _ = kernel_fact_of(parse_kernel(kernel), "free_pages")
    if lazy != "lazy":
        raise UsageError(
            f"Linux {kernel} frees MADV_FREE pages at once where there is no swap, which this kernel cannot play",
            "play one before 4.5, or from 4.12 on",
        )
    return advise
