"""A scenario as a real Go program: the same phases, the runtime's own figures, the kernel's for its heap.

programs/scenario.go does the phases and stands still at the end of each, and now and then within a wait, while its
smaps is read. What stands in a sample is of one moment, but for what the background scavenger does in that
millisecond.
"""

from __future__ import annotations

import json
import os
from fractions import Fraction
from pathlib import Path

from whyrss.environment import NO_LIMIT_BYTES
from whyrss.errors import Missing, TargetError, WhyrssError
from whyrss.lab import toolchain
from whyrss.lab.causes import PROGRAMS
from whyrss.lab.child import Child
from whyrss.lab.debian import quiet
from whyrss.live.reclaim import Figures, reclaim
from whyrss.mappings import account_by_vma
from whyrss.snapshot import Vmas
from whyrss.sources.executable import build_of
from whyrss.sources.proc import ProcSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from whyrss.lab.scenario import Phase, Scenario

SOURCE = Path(PROGRAMS) / "scenario.go"
SETTINGS = ("GODEBUG", "GOGC", "GOMEMLIMIT", "GOMAXPROCS")


def run(scenario: Scenario, go: str, say: Callable[[str], None] = quiet) -> dict[str, Any]:
    """The document of samples of the scenario under Go `go` ("1.15": any of its patch releases), with "go", the
    version of the runtime, and "notes", what was done otherwise than the scenario says. Waits take as long as they
    say. Raises TargetError where there is no such Go, or the program ends early."""
    program = toolchain.build(toolchain.find(go, say=say), SOURCE)
    samples: list[dict[str, Any]] = []
    notes: list[str] = []
    with Child([str(program), arguments(scenario)], environ(scenario, os.environ)) as child:
        samples.append(_sample(child, child.ready, "start"))
        for number, phase in enumerate(scenario.phases, 1):
            say(f"go {go}: phase {number} of {len(scenario.phases)}: {phase.label}")
            samples += _phase(child, phase, notes)
    return {"scenario": scenario.as_dict(), "samples": samples, "go": _release(program), "notes": notes}


def arguments(scenario: Scenario) -> str:
    """The phases as programs/scenario.go reads them."""
    return json.dumps([_argument(phase) for phase in scenario.phases])


def environ(scenario: Scenario, base: Mapping[str, str]) -> dict[str, str]:
    """The environment `base` with the runtime's settings of the scenario, and none of `base`'s own."""
    found = {name: value for name, value in base.items() if name not in SETTINGS}
    if scenario.godebug_text:
        found["GODEBUG"] = scenario.godebug_text
    found["GOGC"] = "off" if scenario.gogc < 0 else str(scenario.gogc)
    if scenario.gomemlimit_bytes != NO_LIMIT_BYTES:
        found["GOMEMLIMIT"] = f"{scenario.gomemlimit_bytes}B"
    return found


def _argument(phase: Phase) -> dict[str, Any]:
    # The share as it is written: 0.7 of ten objects is seven, though the float 0.7 is a little less than that.
    share = Fraction(str(phase.share)).limit_denominator(1 << 60)
    return {
        "do": phase.do,
        "bytes": phase.bytes,
        "size": phase.size_bytes,
        "keep": phase.keep,
        "touch": phase.touch,
        "share_num": share.numerator,
        "share_den": share.denominator,
        "pattern": phase.pattern,
        "limit": phase.limit_bytes,
        "for_s": phase.for_s,
        "count": phase.count,
        "stack": phase.stack_bytes,
    }


def _phase(child: Child, phase: Phase, notes: list[str]) -> list[dict[str, Any]]:
    """The samples of one phase, the one of its end last."""
    samples = []
    while True:
        word, _, rest = _answer(child, phase).partition(" ")
        if word in ("SAMPLE", "PHASE"):
            samples.append(_sample(child, json.loads(rest), phase.label))
        if word == "PHASE":
            return samples
        if word == "PRESSURE":
            notes += _press(child.pid, int(rest))


def _answer(child: Child, phase: Phase) -> str:
    """Lets the program go on; the line at which it stands still again."""
    try:
        line = child.ask("")
    except TargetError:
        line = ""
    if line.split(" ")[0] not in ("SAMPLE", "PHASE", "PRESSURE"):
        raise TargetError(f"the Go program ended in phase {phase.label}", "was it killed for want of memory?")
    return line


def _sample(child: Child, figures: Mapping[str, object], label: str) -> dict[str, Any]:
    rss_bytes, lazyfree_bytes = _heap(child.pid)
    return {
        "t_s": figures["t_s"],
        "phase": figures["phase"],
        "label": label,
        "rss_bytes": rss_bytes,
        "lazyfree_bytes": lazyfree_bytes,
        **{name: value for name, value in figures.items() if name[:1].isupper()},
    }


def _heap(pid: int) -> tuple[int, int]:
    """RSS and LazyFree of the heap's arenas alone, as the account by VMA has them."""
    root = account_by_vma(ProcSource(pid).collect()).root
    return root.bytes_of("heap"), root.bytes_of("heap/released/lazyfree")


def _press(pid: int, limit_bytes: int) -> list[str]:
    """Has the kernel take the lazily freed pages where the process is over the limit, all of them: unlike a limit,
    process_madvise does not stop when it is kept. What could not be done, as notes."""
    snapshot = ProcSource(pid).collect()
    try:
        if Figures(snapshot[Vmas]).rss_bytes > limit_bytes:
            reclaim(snapshot, pid)
    except (Missing, WhyrssError) as error:
        return [f"no memory pressure: {error}"]
    return []


def _release(program: Path) -> str:
    """runtime.Version() of what was built, from the executable itself."""
    return build_of(str(program)).go_version or "an unknown version"
