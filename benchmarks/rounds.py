"""Measuring side by side: in every round each candidate runs once, in another order.

A machine's speed drifts; the ratio of two runs of the same round does not drift with it. So what counts is the
median of the ratios, not the ratio of the medians. The order is shuffled, not rotated: what runs after a walk over
many pages finds cold caches, and when the round is only rotated that is always the same candidate.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from statistics import median


class Sample:
    """One run: wall and CPU time in milliseconds, peak resident memory in bytes (0: not measured)."""

    __slots__ = ("cpu_ms", "peak_bytes", "wall_ms")

    def __init__(self, wall_ms: float, cpu_ms: float, peak_bytes: int = 0) -> None:
        self.wall_ms = wall_ms
        self.cpu_ms = cpu_ms
        self.peak_bytes = peak_bytes


class Series:
    """All runs of one candidate, and those of the anchor in the same rounds."""

    def __init__(self, samples: list[Sample], anchors: list[Sample]) -> None:
        self.wall_ms = median(sample.wall_ms for sample in samples)
        self.cpu_ms = median(sample.cpu_ms for sample in samples)
        self.peak_bytes = max(sample.peak_bytes for sample in samples)
        pairs = list(zip(samples, anchors, strict=True))
        self.wall_ratio = median(sample.wall_ms / anchor.wall_ms for sample, anchor in pairs)
        self.cpu_ratio = median(sample.cpu_ms / anchor.cpu_ms for sample, anchor in pairs)


def measure(candidates: Mapping[str, Callable[[], Sample]], rounds: int, anchor: str) -> dict[str, Series]:
    """Each candidate by its name, against the one named `anchor`. One round before the first is thrown away."""
    names = list(candidates)
    samples: dict[str, list[Sample]] = {name: [] for name in names}
    order = list(names)
    for number in range(rounds + 1):
        random.shuffle(order)
        for name in order:
            sample = candidates[name]()
            if number:
                samples[name].append(sample)
    return {name: Series(samples[name], samples[anchor]) for name in names}
