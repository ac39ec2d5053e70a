"""What can be done about a finding. A fix says how safe it is and what it costs."""

from __future__ import annotations


class Fix:
    """`kind`: env, upgrade, limit, kernel, code or live. `text` is what to do, as a person would write it down.
    `safety`: safe, costs (CPU or page faults, named in `cost`) or risky. `variable` is NAME=VALUE for env."""

    __slots__ = ("cost", "kind", "safety", "text", "variable")

    def __init__(self, kind: str, text: str, safety: str, cost: str = "", variable: str = "") -> None:
        self.kind = kind
        self.text = text
        self.safety = safety
        self.cost = cost
        self.variable = variable
