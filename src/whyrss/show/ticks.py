"""Where the ticks of an axis stand, and what they say."""

from __future__ import annotations

from whyrss.show.units import size

SECONDS_STEPS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 21600, 43200, 86400, 172800),
)
TIME_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def size_ticks(most_bytes: int, most_ticks: int = 6) -> list[tuple[int, str]]:
    """From 0 to the first tick that is not below `most_bytes`; the step is a power of two."""
    step = 1
    while step * (most_ticks - 1) < most_bytes:
        step *= 2
    ticks = range(0, max(most_bytes, 1) + step, step)
    last = next(at for at in ticks if at >= most_bytes and at)
    return [(at, size(at).replace(".0 ", " ") if at else "0") for at in ticks if at <= last]


def time_ticks(most_s: float, most_ticks: int = 8) -> list[tuple[float, str]]:
    """From 0 to the last tick within `most_s` seconds, all in one unit."""
    step = next((step for step in SECONDS_STEPS if step * most_ticks > most_s), None)
    step = step if step is not None else SECONDS_STEPS[-1] * (1 + int(most_s / SECONDS_STEPS[-1] / most_ticks))
    unit_s, unit = next((found for found in TIME_UNITS if step % found[0] == 0), TIME_UNITS[-1])
    positions = [number * step for number in range(int(most_s / step) + 1)]
    return [(at, f"{at / unit_s:g} {unit}" if at else "0") for at in positions]
