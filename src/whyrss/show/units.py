"""The only place that writes a number of bytes for a person."""

from __future__ import annotations

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(size_bytes: int) -> str:
    """Bytes in the largest unit that leaves at least one whole: three digits that matter, binary prefixes."""
    value, unit = float(size_bytes), 0
    while abs(value) >= 1024 and unit < len(UNITS) - 1:
        value /= 1024
        unit += 1
    if unit == 0:
        return f"{size_bytes} B"
    digits = 1 if abs(value) < 100 else 0
    if digits == 0 and round(abs(value)) >= 1024 and unit < len(UNITS) - 1:
        return f"{value / 1024:.1f} {UNITS[unit + 1]}"
    return f"{value:.{digits}f} {UNITS[unit]}"


def share(part_bytes: int, whole_bytes: int) -> str:
    """A part in percent of the whole, one decimal; `-` where there is no whole."""
    return f"{100 * part_bytes / whole_bytes:.1f} %" if whole_bytes else "-"


def parse_size(text: str) -> int:
    """Bytes in `200MiB`, `1.5G`, `4096`; units of 1024, in the manner of GOMEMLIMIT. Raises ValueError."""
    stripped = text.strip()
    digits = stripped.rstrip("BKMGTPEibkmgtpe ")
    unit = stripped[len(digits) :].strip().upper().removesuffix("B").removesuffix("I")
    steps = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
    if unit not in steps:
        raise ValueError(f"{text!r} is no size")
    value = float(digits) * 1024 ** steps[unit]
    if not 0 <= value < 1 << 63:
        raise ValueError(f"{text!r} is out of range")
    return int(value)
