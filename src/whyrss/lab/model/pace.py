"""How the scavenger of Go 1.18 and later finds out how long to sleep: a proportional-integral controller that is to
bring its share of all CPUs to one percent (runtime/mgcscavenge.go, scavengerState, piController)."""

from __future__ import annotations

from whyrss.facts.pageheap import CPU_SHARE

START_RATIO = 0.001  # startingScavSleepRatio: it begins with a second of sleep for a millisecond of work
PROPORTIONAL = 0.3375  # kp
INTEGRAL_S = 3.2e-3  # ti
RESET_S = 1.0  # tt: how fast the integral is taken back while the output is at a bound
LEAST, MOST = 0.001, 1000.0


class Pace:
    """`ratio` is work to sleep, in time."""

    def __init__(self) -> None:
        self.ratio = START_RATIO
        self._integral = 0.0

    def learn(self, share: float, period_s: float) -> None:
        """The last round took that share of all CPUs, over so long a time."""
        error = CPU_SHARE - share
        wanted = PROPORTIONAL * error + self._integral
        self.ratio = min(max(wanted, LEAST), MOST)
        self._integral += PROPORTIONAL * period_s / INTEGRAL_S * error + period_s / RESET_S * (self.ratio - wanted)
