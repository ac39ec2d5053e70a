"""Scenarios: what a program does with its memory, phase by phase, in TOML (docs/scenarios.md).

Whatever a file says that could not mean anything is a UsageError of one line, with the file, the phase's number
and the key.
"""

from __future__ import annotations

import os

from whyrss.environment import GOGC_OFF, NO_LIMIT_BYTES
from whyrss.errors import UsageError
from whyrss.lab import values
from whyrss.lab.peak import peak_bytes
from whyrss.policy import parse_godebug

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from whyrss.policy import GoVersion

__all__ = ["Phase", "Scenario", "changed", "load_scenario", "parse_scenario", "peak_bytes"]

FILE_MOST_BYTES = 1 << 20
PHASES_MOST = 1000
PATTERNS = ("interleaved", "oldest", "newest")
SETTINGS = ("go", "godebug", "gogc", "gomemlimit", "kernel")


def _pattern(value: object) -> str:
    if value not in PATTERNS:
        raise ValueError(f"{values.shown(value)} is none of {', '.join(PATTERNS)}")
    return str(value)


# The parameters: key in TOML -> (attribute of Phase, reader).
PARAMETERS: dict[str, tuple[str, Callable[[object], Any]]] = {
    "bytes": ("bytes", values.size),
    "size": ("size_bytes", values.size),
    "keep": ("keep", values.flag),
    "touch": ("touch", values.flag),
    "share": ("share", values.share),
    "pattern": ("pattern", _pattern),
    "limit": ("limit_bytes", values.size),
    "for": ("for_s", values.duration),
    "count": ("count", values.count),
    "stack": ("stack_bytes", values.stack),
}
# What each phase needs, and what it may have.
PHASES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "allocate": (("bytes", "size"), ("keep", "touch")),
    "free": ((), ("share", "pattern")),
    "touch": ((), ()),
    "gc": ((), ()),
    "free-os-memory": ((), ()),
    "scavenge": ((), ()),
    "pressure": (("limit",), ()),
    "wait": (("for",), ()),
    "goroutines": (("count", "stack"), ()),
    "exit": ((), ()),
}


class Phase:
    """One step. What its kind does not use has its default. `bytes`, and `size_bytes` of one object, of allocate;
    `share` (1 = all) and `pattern` of free; `limit_bytes` of pressure; `for_s` of wait, in seconds; `count` and
    `stack_bytes` of goroutines."""

    __slots__ = (
        *("bytes", "count", "do", "for_s", "keep", "limit_bytes", "pattern"),
        *("share", "size_bytes", "stack_bytes", "touch"),
    )

    def __init__(
        self,
        do: str,
        *,
        bytes: int = 0,
        size_bytes: int = 0,
        keep: bool = True,
        touch: bool = True,
        share: float = 1.0,
        pattern: str = "interleaved",
        limit_bytes: int = 0,
        for_s: float = 0.0,
        count: int = 0,
        stack_bytes: int = 0,
    ) -> None:
        self.do = do
        self.bytes = bytes
        self.size_bytes = size_bytes
        self.keep = keep
        self.touch = touch
        self.share = share
        self.pattern = pattern
        self.limit_bytes = limit_bytes
        self.for_s = for_s
        self.count = count
        self.stack_bytes = stack_bytes

    @property
    def label(self) -> str:
        """What it does, in a few words: "allocate 256MiB"."""
        if self.do == "allocate":
            return f"{'allocate' if self.keep else 'garbage'} {values.size_text(self.bytes)}"
        if self.do == "free":
            part = "all" if self.share == 1 else f"{100 * self.share:.3g} %"
            return f"free {part}{'' if self.share == 1 or self.pattern == PATTERNS[0] else ' ' + self.pattern}"
        detail = {
            "pressure": values.size_text(self.limit_bytes),
            "wait": values.duration_text(self.for_s),
            "goroutines": str(self.count),
        }.get(self.do)
        return f"{self.do} {detail}" if detail else self.do

    def as_dict(self) -> dict[str, Any]:
        """The keys and values that say the same in TOML; sizes in bytes."""
        needed, possible = PHASES[self.do]
        found: dict[str, Any] = {"do": self.do}
        for key in needed + possible:
            value = getattr(self, PARAMETERS[key][0])
            found[key] = values.duration_text(value) if key == "for" else value
        return found


class Scenario:
    """`gogc` in percent, -1 for off; `gomemlimit_bytes` is environment.NO_LIMIT_BYTES for off; `kernel` is a release,
    "" for this machine's."""

    __slots__ = (
        *("go", "godebug", "godebug_text", "gogc", "gomemlimit_bytes"),
        *("kernel", "name", "phases"),
    )

    def __init__(
        self,
        name: str,
        go: GoVersion,
        phases: tuple[Phase, ...],
        godebug_text: str = "",
        gogc: int = 100,
        gomemlimit_bytes: int = NO_LIMIT_BYTES,
        kernel: str = "",
    ) -> None:
        self.name = name
        self.go = go
        self.phases = phases
        self.godebug_text = godebug_text
        self.godebug = parse_godebug(godebug_text, go)
        self.gogc = gogc
        self.gomemlimit_bytes = gomemlimit_bytes
        self.kernel = kernel

    def as_dict(self) -> dict[str, Any]:
        """The keys and values that say the same in TOML; sizes in bytes."""
        return {
            "name": self.name,
            "go": self.go.text.removeprefix("go"),
            "godebug": self.godebug_text,
            "gogc": "off" if self.gogc == GOGC_OFF else self.gogc,
            "gomemlimit": "off" if self.gomemlimit_bytes == NO_LIMIT_BYTES else self.gomemlimit_bytes,
            "kernel": self.kernel,
            "phase": [phase.as_dict() for phase in self.phases],
        }


def load_scenario(path: str) -> Scenario:
    """Raises UsageError where the file cannot be read or means nothing."""
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{_printable(path)}: {reason}", "give a scenario in TOML, see docs/scenarios.md") from None
    return parse_scenario(data, path)


def parse_scenario(data: bytes, name: str) -> Scenario:
    """`name` is the file's, for errors; the scenario's own is that without folder and .toml unless it says another.
    Raises UsageError."""
    import tomllib

    where = _printable(name)
    if len(data) > FILE_MOST_BYTES:
        raise UsageError(f"{where}: larger than 1 MiB", "no scenario is that long")
    try:
        document = tomllib.loads(data.decode())
    except RecursionError:
        raise UsageError(f"{where}: nested too deeply") from None
    except ValueError as error:  # also what is no UTF-8, and numbers of thousands of digits
        raise UsageError(f"{where}: no TOML: {_printable(str(error))}") from None
    stem = _printable(os.path.basename(name).removesuffix(".toml"))[: values.TEXT_MOST]
    return _scenario({"name": stem, **document}, where)


def changed(scenario: Scenario, setting: str) -> Scenario:
    """The same with one setting changed: "godebug=madvdontneed=1", "go=1.19", "gogc=50", "gomemlimit=400MiB",
    "kernel=4.4". Raises UsageError."""
    key, equals, value = setting.partition("=")
    if key not in SETTINGS or not equals:
        raise UsageError(
            f"{values.shown(setting)} is no setting of a scenario", f"KEY=VALUE with one of {', '.join(SETTINGS)}"
        )
    return _scenario({**scenario.as_dict(), key: value}, scenario.name)


def _scenario(document: dict[str, Any], where: str) -> Scenario:
    unknown = sorted(set(document) - {"name", "phase", *SETTINGS})
    if unknown:
        raise UsageError(f"{where}: unknown key {values.shown(unknown[0])}", f"there is name, {', '.join(SETTINGS)}")
    if "go" not in document:
        raise UsageError(f"{where}: no go", 'it needs a Go version such as go = "1.15"')
    go = _read(values.go, document["go"], f"{where}: go")
    return Scenario(
        _read(values.text, document["name"], f"{where}: name"),
        go,
        _phases(document.get("phase"), where),
        _read(lambda value: values.godebug(value, go), document.get("godebug", ""), f"{where}: godebug"),
        _read(values.gogc, document.get("gogc", 100), f"{where}: gogc"),
        _read(values.gomemlimit, document.get("gomemlimit", "off"), f"{where}: gomemlimit"),
        _read(values.kernel, document.get("kernel", ""), f"{where}: kernel"),
    )


def _phases(tables: object, where: str) -> tuple[Phase, ...]:
    if not isinstance(tables, list) or not tables:
        raise UsageError(f"{where}: no phases", 'write each as [[phase]] with do = "..." below it')
    if len(tables) > PHASES_MOST:
        raise UsageError(f"{where}: {len(tables)} phases", f"at most {PHASES_MOST}")
    return tuple(_phase(table, f"{where}: phase {number}") for number, table in enumerate(tables, 1))


def _phase(table: object, where: str) -> Phase:
    if not isinstance(table, dict):
        raise UsageError(f"{where}: {values.shown(table)} is no table", 'write [[phase]] with do = "..." below it')
    do = table.get("do")
    if not isinstance(do, str) or do not in PHASES:
        what = "no do" if do is None else f"do: unknown phase {values.shown(do)}"
        raise UsageError(f"{where}: {what}", f"there is {', '.join(PHASES)}")
    where = f"{where} ({do})"
    _check_keys(table, do, where)
    found = {
        PARAMETERS[key][0]: _read(PARAMETERS[key][1], value, f"{where}: {key}")
        for key, value in table.items()
        if key != "do"
    }
    phase = Phase(do, **found)
    if phase.size_bytes > phase.bytes:
        raise UsageError(f"{where}: size: one object is larger than all together", "size is at most bytes")
    return phase


def _check_keys(table: dict[str, object], do: str, where: str) -> None:
    needed, possible = PHASES[do]
    for key in table:
        if key != "do" and key not in needed + possible:
            hint = f"it takes {', '.join(needed + possible)}" if needed + possible else "it takes nothing"
            raise UsageError(f"{where}: {values.shown(key)} is not for it", hint)
    for key in needed:
        if key not in table:
            raise UsageError(f"{where}: no {key}", f"it needs {' and '.join(needed)}")


def _read(reader: Callable[[object], Any], value: object, where: str) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None


def _printable(text: str) -> str:
    """On one line, safe to print."""
    return text if text.isprintable() else ascii(text)[1:-1]
