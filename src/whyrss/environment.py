"""The settings of the Go runtime in an environment, read as the runtime reads them."""

from __future__ import annotations

NO_LIMIT_BYTES = (1 << 63) - 1  # math.MaxInt64, the limit of a process without GOMEMLIMIT (runtime/mgcpacer.go)
GOGC_DEFAULT = 100
GOGC_OFF = -1

_UNITS = {"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}


def gogc(environ: dict[str, str]) -> int:
    """GOGC in percent, -1 for off (runtime/mgcpacer.go, readGOGC: atoi32, else 100)."""
    text = environ.get("GOGC", "")
    if text == "off":
        return GOGC_OFF
    digits = text[1:] if text[:1] == "-" else text
    if not (digits.isascii() and digits.isdigit()) or int(digits[:20]) >= 1 << 31:
        return GOGC_DEFAULT
    return int(text)


def gomemlimit_bytes(environ: dict[str, str]) -> int | None:
    """GOMEMLIMIT in bytes (runtime/mgcpacer.go, readGOMEMLIMIT: digits and one of B, KiB, MiB, GiB, TiB); the
    runtime's own "no limit" where it is unset; None where the runtime would refuse to start with it."""
    text = environ.get("GOMEMLIMIT", "")
    if text in ("", "off"):
        return NO_LIMIT_BYTES
    digits = text.rstrip("BKMGTi")
    unit = text[len(digits) :]
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20 or unit not in _UNITS:
        return None
    value = int(digits) << _UNITS[unit]
    return value if value <= NO_LIMIT_BYTES else None
