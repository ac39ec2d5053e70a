"""The confusion matrix: every cause against the program of each, by several Go, and against healthy programs."""

from __future__ import annotations

import json
import os
import time

from whyrss.causes import CAUSES
from whyrss.errors import DeniedError, TargetError, UsageError, WhyrssError
from whyrss.finding import NOTE, PROBLEM
from whyrss.lab.causes import ALL_VERSIONS, CI_VERSIONS, EXPERIMENTS, Experiment
from whyrss.lab.debian import quiet
from whyrss.lab.subject import running
from whyrss.sources import open_source
from whyrss.sources.recording import MANIFEST, open_recording
from whyrss.verdict import Verdict, why

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from whyrss.sources.proc import ProcSource

HEALTHY = "healthy"
HEALTHY_PROGRAMS = {
    experiment.name: experiment
    for experiment in (
        Experiment("healthy-idle", "a server that has served and waits"),
        Experiment("healthy-busy", "a server at moderate work"),
        Experiment("healthy-churn", "a program that replaces its data all the time"),
    )
}
MOVING = ("healthy-busy", "healthy-churn")
LOOKS = 3
PAUSE_SECONDS = 0.3

SILENT, NOT_CHECKED = "silent", "not checked"
CANNOT = "cannot be produced here"
MARKS = (NOT_CHECKED, SILENT, NOTE, PROBLEM)  # the heavier later
LIVE, MEASURED, DOCUMENTED = "live", "measured", "documented"


class Expected:
    """What a row has to show: `cause` with `weight`, or no problem where there is no cause; the causes `beside` it
    may be problems too, but not its first, except for the one that it stands `behind`, which has to be."""

    __slots__ = ("behind", "beside", "cause", "weight")

    def __init__(self, cause: str = "", weight: str = PROBLEM, beside: Sequence[str] = (), behind: str = "") -> None:
        self.cause = cause
        self.weight = weight
        self.beside = tuple(beside)
        self.behind = behind

    @classmethod
    def of(cls, name: str) -> Expected:
        """Of a cause by its name, or of a healthy program."""
        if name.startswith(HEALTHY):
            return cls()
        experiment = EXPERIMENTS.get(name)
        if experiment is None:
            return cls(name)
        return cls(name, experiment.weight, experiment.beside, experiment.behind)

    def wrong(self, verdict: Verdict) -> list[str]:
        """In words what of a verdict is not as expected; nothing where it is right."""
        diagnosis = verdict.diagnosis
        alarms = [f"false alarm: {name}" for name in self.false_alarms(verdict)]
        if not self.cause:
            blind = not diagnosis.silent and not diagnosis.findings
            return [*alarms, *(["nothing could be checked"] if blind else [])]
        reason = dict(diagnosis.not_checked).get(self.cause)
        if reason is not None:
            return [f"{self.cause} was not checked: {reason}", *alarms]
        weights = {finding.cause: finding.weight for finding in diagnosis.findings}
        if weights.get(self.cause) != self.weight:
            return [f"{self.cause} is {weights.get(self.cause, SILENT)}, not {self.weight}", *alarms]
        first, lead = diagnosis.findings[0].cause, self.behind or self.cause
        late = self.weight == PROBLEM and first != lead and first in (self.cause, *self.beside)
        return [*alarms, *([f"{first} goes before {lead}"] if late else [])]

    def false_alarms(self, verdict: Verdict) -> list[str]:
        """The problems that the program does not have."""
        allowed = {self.cause, *self.beside} if self.weight == PROBLEM and self.cause else set()
        problems = [found.cause for found in verdict.diagnosis.findings if found.weight == PROBLEM]
        return [name for name in problems if name not in allowed]


class Row:
    """One program by one Go, looked at once, or several times where it moves.

    marks         by cause what was said of it, the heaviest of all looks
    origin        "live"; of a recording what it says of itself: "measured" or "documented"
    wrong         in words, nothing where every look is right
    false_alarms  problems that the program does not have, of all looks
    skipped       why it could not be run; it is then neither right nor wrong
    """

    __slots__ = ("expected", "false_alarms", "go", "looks", "marks", "origin", "program", "skipped", "wrong")

    def __init__(self, program: str, expected: Expected, origin: str = LIVE, go: str = "") -> None:
        self.program = program
        self.expected = expected
        self.origin = origin
        self.go = go
        self.marks: dict[str, str] = {}
        self.looks = 0
        self.wrong: list[str] = []
        self.false_alarms: list[str] = []
        self.skipped = ""

    @property
    def right(self) -> bool | None:
        """None where it was not run."""
        return None if self.skipped else not self.wrong

    def look(self, verdict: Verdict) -> None:
        self.looks += 1
        for cause, mark in marks_of(verdict).items():
            self.marks[cause] = max(self.marks.get(cause, NOT_CHECKED), mark, key=MARKS.index)
        self.wrong += [text for text in self.expected.wrong(verdict) if text not in self.wrong]
        alarms = self.expected.false_alarms(verdict)
        self.false_alarms += [name for name in alarms if name not in self.false_alarms]


def marks_of(verdict: Verdict) -> dict[str, str]:
    """What was said of each cause of the catalogue."""
    diagnosis = verdict.diagnosis
    marks = {name: NOT_CHECKED for name, _ in diagnosis.not_checked} | dict.fromkeys(diagnosis.silent, SILENT)
    return marks | {finding.cause: finding.weight for finding in diagnosis.findings}


def plan(
    names: Sequence[str] = (), versions: Sequence[str] = (), all_versions: bool = False
) -> list[tuple[Experiment, str]]:
    """The programs, each with the Go that builds it: those of these names (without: all, and the healthy ones), by
    these versions where the program can have its cause by them (without: those of CI, and where it can have it by
    none of these, the last that can). Raises UsageError for a name that is none."""
    order = [cause.name for cause in CAUSES]
    known = sorted(EXPERIMENTS, key=lambda name: order.index(name) if name in order else len(order))
    programs = {name: EXPERIMENTS[name] for name in known} | HEALTHY_PROGRAMS
    for name in names:
        if name not in programs:
            raise UsageError(f"no program {name}", f"there is: {', '.join(programs)}")
    cells = []
    for name in names or programs:
        experiment = programs[name]
        wanted = versions or (ALL_VERSIONS if all_versions else CI_VERSIONS)
        able = list(dict.fromkeys(_able(experiment, wanted)))
        if all_versions and not versions:
            able = list(experiment.versions)
        if experiment.why_not:
            able = able[-1:]
        cells += [(experiment, go) for go in able or ([] if versions else experiment.versions[-1:])]
    return cells


def _able(experiment: Experiment, wanted: Iterable[str]) -> Iterator[str]:
    """Of these versions those that can have the cause, the more exact of the two where one is a patch release."""
    for asked in wanted:
        for able in experiment.versions:
            if f"{able}.".startswith(f"{asked}."):
                yield able
            elif asked.startswith(f"{able}."):
                yield asked


def run_live(experiment: Experiment, go: str, size_mib: int, say: Callable[[str], None] = quiet) -> Row:
    """A row by a program that is run now; skipped with the reason where it cannot be."""
    row = Row(experiment.name, Expected.of(experiment.name), go=go)
    if experiment.why_not:
        row.skipped = f"{CANNOT}: {experiment.why_not}"
        return row
    try:
        with running(experiment, go, size_mib, say) as (child, version):
            row.go = version.removeprefix("go")
            _look_live(row, child.pid)
    except (WhyrssError, OSError) as error:
        row.skipped = str(error)
    return row


def _look_live(row: Row, pid: int) -> None:
    """Raises DeniedError where there are no rights; a program that cannot be explained otherwise is wrong."""
    looks = LOOKS if row.program in MOVING else 1
    while row.looks < looks:
        if row.looks:
            time.sleep(PAUSE_SECONDS)
        try:
            verdict = why(open_source(str(pid), pid=True))
        except DeniedError:
            raise
        except TargetError as error:
            row.wrong.append(f"it could not be explained: {error}")
            return
        row.look(verdict)
        if verdict.account.residue_bytes:
            looks = LOOKS


def run_recording(path: str) -> Row:
    """A row by a recording whose name says what it shows: lazyfree, lazyfree-go1.27, healthy-idle. Raises
    TargetError where it is none, UsageError where its name says nothing."""
    source = open_recording(path)
    program = os.path.basename(os.path.abspath(path)).removesuffix(".gz").removesuffix(".tar")
    verdict = why(source)
    row = Row(program, Expected.of(shown_by(program, marks_of(verdict))), _origin(source))
    row.go = _go_of(verdict)
    row.look(verdict)
    return row


def shown_by(program: str, causes: Iterable[str]) -> str:
    """The cause that a recording of that name shows, or "healthy". Raises UsageError."""
    fitting = [name for name in (HEALTHY, *causes) if f"{program}-".startswith(f"{name}-")]
    if not fitting:
        raise UsageError(
            f"what {program} should show cannot be told from its name", "name it as its cause, or healthy-..."
        )
    return max(fitting, key=len)


def _origin(source: ProcSource) -> str:
    """What the manifest says, which open_recording has read before."""
    origin = json.loads(source.files.read(MANIFEST)).get("origin")
    return DOCUMENTED if origin == DOCUMENTED else MEASURED


def _go_of(verdict: Verdict) -> str:
    from whyrss.snapshot import Build

    build = verdict.snapshot.get(Build)
    return (build.go_version or "").removeprefix("go") if build else ""
