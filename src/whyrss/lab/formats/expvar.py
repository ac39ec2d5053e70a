"""/debug/vars: the variables that package expvar publishes in every program, as JSON.

Source: expvar/expvar.go, Handler, Go 1.9 to 1.27: sorted by name, one a line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from whyrss.lab.memstats import MemStats


def document(stats: MemStats, cmdline: Sequence[str]) -> bytes:
    """`cmdline` is the argv of the program. Fields of MemStats come in Go's order."""
    figures: Mapping[str, object] = stats
    variables = {"cmdline": list(cmdline), "memstats": {name: figures[name] for name in MemStats.__annotations__}}
    lines = [f'"{name}": {json.dumps(value, separators=(",", ":"))}' for name, value in variables.items()]
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
