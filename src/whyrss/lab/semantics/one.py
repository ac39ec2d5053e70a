"""Runs one experiment in this process, a child made for it, and prints what it measured as one line of JSON."""

from __future__ import annotations

import json
import os
import sys

from whyrss.errors import Missing, WhyrssError
from whyrss.lab.guard import protect
from whyrss.lab.semantics import EXPERIMENTS

LARGEST_BYTES = 512 << 20


def main(name: str) -> None:
    experiment = EXPERIMENTS[name]
    protect(LARGEST_BYTES)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # so that the batches of one CPU are in question
    try:
        answer: dict[str, object] = {"measured": experiment.measure()}
    except Missing as missing:
        answer = {"missing": missing.reason}
    except (OSError, WhyrssError) as error:
        answer = {"missing": f"it could not be carried out: {error}"}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
