"""The values in a scenario file: each reader takes what TOML has and gives what the lab computes with.

Every reader raises ValueError with the reason, as the end of a sentence that names the key.
"""

from __future__ import annotations

from whyrss.environment import GOGC_OFF, gomemlimit_bytes
from whyrss.errors import Missing, UsageError
from whyrss.facts.go import INTEGER_VARIABLES
from whyrss.policy import GoVersion, parse_godebug, parse_kernel

DIGITS = "0123456789"
SIZE_UNITS = {"": 0, "B": 0, "K": 10, "KB": 10, "KIB": 10, "M": 20, "MB": 20, "MIB": 20,
              "G": 30, "GB": 30, "GIB": 30, "T": 40, "TB": 40, "TIB": 40}  # fmt: skip
SIZE_MOST_BYTES = 1 << 40
DURATION_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
DURATION_MOST_MS = 7 * 24 * DURATION_UNITS_MS["h"]
COUNT_MOST = 1_000_000
STACK_LEAST_BYTES, STACK_MOST_BYTES = 2 << 10, 1 << 20  # runtime/stack.go, stackMin, up to what the lab can use
GOGC_MOST = (1 << 31) - 1  # runtime/mgcpacer.go, readGOGC: atoi32
TEXT_MOST = 200  # characters of a name, or of GODEBUG


def size(value: object) -> int:
    """Bytes of `256MiB`, `1.5G`, or of a plain number; units of 1024. At least 1 byte, at most 1 TiB."""
    if isinstance(value, str):
        digits, unit = _split_number(value)
        if unit.upper() not in SIZE_UNITS or not digits:
            raise ValueError(f'{shown(value)} is no size such as "256MiB"')
        size_bytes = _scaled(digits, 1 << SIZE_UNITS[unit.upper()])
    else:
        size_bytes = _integer(value, 'a size such as "256MiB"')
    if not 1 <= size_bytes <= SIZE_MOST_BYTES:
        raise ValueError(f"{shown(value)} is not between 1 byte and 1TiB")
    return size_bytes


def stack(value: object) -> int:
    """Bytes of a goroutine's stack: Go doubles them, so they are powers of two."""
    size_bytes = size(value)
    if not STACK_LEAST_BYTES <= size_bytes <= STACK_MOST_BYTES or size_bytes & (size_bytes - 1):
        raise ValueError(f"{shown(value)} is no power of two between 2KiB and 1MiB, as stacks of Go are")
    return size_bytes


def duration(value: object) -> float:
    """Seconds of `2m`, `1.5s`, `250ms`, `1h`: whole milliseconds, at most 7 days."""
    digits, unit = _split_number(value) if isinstance(value, str) else ("", "")
    if unit not in DURATION_UNITS_MS or not digits:
        raise ValueError(f'{shown(value)} is no duration such as "2m" (ms, s, m or h)')
    milliseconds = _scaled(digits, DURATION_UNITS_MS[unit])
    if not 1 <= milliseconds <= DURATION_MOST_MS:
        raise ValueError(f"{shown(value)} is not between 1ms and 7 days")
    return milliseconds / 1000


def share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{shown(value)} is no number such as 0.5")
    if not 0 < value <= 1:
        raise ValueError(f"{shown(value)} is not above 0 and at most 1")
    return float(value)


def count(value: object) -> int:
    number = _integer(value, "a whole number")
    if not 1 <= number <= COUNT_MOST:
        raise ValueError(f"{shown(value)} is not between 1 and {COUNT_MOST}")
    return number


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} is neither true nor false")
    return value


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} is no text; put it in quotes")
    if len(value) > TEXT_MOST or not value.isprintable():
        raise ValueError(f"{shown(value)} is longer than {TEXT_MOST} characters or cannot be printed")
    return value


def go(value: object) -> GoVersion:
    """A Go release. A bare 1.20 is the number 1.2 to TOML, so only a text will do."""
    try:
        return GoVersion.parse(text(value))
    except Missing as missing:
        raise ValueError(missing.reason) from None


def kernel(value: object) -> str:
    """A kernel release, "" for this machine's."""
    release = text(value)
    try:
        if release:
            parse_kernel(release)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return release


def gogc(value: object) -> int:
    """Percent, -1 for "off". What Go would silently read as 100 is refused, and so is 0: it collects all the time."""
    if value == "off":
        return GOGC_OFF
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= GOGC_MOST:
        raise ValueError(f'{shown(value)} is neither a percentage from 1 to {GOGC_MOST} nor "off"')
    return value


def gomemlimit(value: object) -> int:
    """Bytes, as the Go runtime reads GOMEMLIMIT; environment.NO_LIMIT_BYTES for "off"."""
    written = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    limit = gomemlimit_bytes({"GOMEMLIMIT": written}) if isinstance(written, str) else None
    if limit is None:
        raise ValueError(
            f'{shown(value)} is neither "off" nor digits with B, KiB, MiB, GiB or TiB; Go would not start with it'
        )
    return limit


def godebug(value: object, release: GoVersion) -> str:
    """A GODEBUG variable without anything that this Go would silently ignore for its form."""
    settings = text(value)
    for field in settings.split(",") if settings else ():
        key, equals, number = field.partition("=")
        if not equals or not key:
            raise ValueError(f"{shown(field)} in {shown(settings)} is not KEY=VALUE")
        if key in INTEGER_VARIABLES and not _is_number_to(release, number):
            raise ValueError(f"{shown(field)}: {release.release} reads no number in it and ignores it")
    return settings


def shown(value: object) -> str:
    """At most 40 characters of what somebody wrote, on one line, safe to print."""
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > 100:  # str() of the longest integers is refused
        return "a number this large"
    written = ascii(value) if isinstance(value, str) else str(value)
    return written if len(written) <= 40 else written[:37] + "..."


def size_text(size_bytes: int) -> str:
    """A size as one would write it in a scenario, exact: 256MiB, 1536KiB, 1000B."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        step = 1 << SIZE_UNITS[unit.upper()]
        if size_bytes and size_bytes % step == 0:
            return f"{size_bytes // step}{unit}"
    return f"{size_bytes}B"


def duration_text(seconds: float) -> str:
    """A duration as one would write it in a scenario, exact: 2m, 90s, 1500ms."""
    milliseconds = round(seconds * 1000)
    unit = next(unit for unit in ("h", "m", "s", "ms") if milliseconds % DURATION_UNITS_MS[unit] == 0)
    return f"{milliseconds // DURATION_UNITS_MS[unit]}{unit}"


def _is_number_to(release: GoVersion, value: str) -> bool:
    """Of a repeated integer key, the runtime keeps the last one that is a number: so it shows whether this is."""
    key, other = INTEGER_VARIABLES[0], "1" if value != "1" else "0"
    return parse_godebug(f"{key}={other},{key}={value}", release)[key] == value


def _integer(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{shown(value)} is not {what}")
    return value


def _split_number(written: str) -> tuple[str, str]:
    """("1.5", "GiB"); ("", ...) where it does not start with a number that has digits before and after its point."""
    rest = written.strip().lstrip(DIGITS + ".")
    digits = written.strip()[: len(written.strip()) - len(rest)]
    whole, point, fraction = digits.partition(".")
    good = whole.isdigit() and (fraction.isdigit() or not point) and len(digits) <= 20
    return (digits if good else ""), rest.strip()


def _scaled(digits: str, factor: int) -> int:
    """Exact where it is whole, else rounded down."""
    whole, _, fraction = digits.partition(".")
    tenths: int = 10 ** len(fraction)
    return int(whole + fraction) * factor // tenths
