"""`whyrss lab`: the mechanism as something that runs. A part is the module of its name; another word is a cause."""

from __future__ import annotations

PARTS = {
    "run": "run a scenario in the model of Go's page heap, on real pages",
    "matrix": "every cause against every program: is it seen, and are the others silent",
    "kernel": "what this kernel does with returned memory, by experiment",
}


def run(argv: list[str]) -> int:
    part = argv[0] if argv and argv[0] in PARTS else ""
    module = __import__(f"whyrss.commands.lab.{part or 'cause'}", fromlist=["run"])
    code: int = module.run(argv[1:] if part else argv)
    return code
