"""Imports point down only, and start-up imports nothing heavy."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import whyrss.version

SOURCE = Path(whyrss.version.__file__).parent
MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))

# Each layer, and what it may import beside itself. `errors` and `version` may be imported by all.
LAYERS: dict[str, set[str]] = {
    "facts": set(),
    "read": set(),
    "environment": set(),
    "policy": {"facts"},
    "snapshot": {"read"},
    "account": set(),
    "fix": set(),
    "finding": {"account", "causes", "fix", "snapshot"},
    "runtime": set(),
    "shape": set(),
    "goroutines": set(),
    "gates": {"account", "environment", "read", "runtime", "snapshot"},
    "settings": {"environment", "runtime", "snapshot"},
    "scavenger": {"environment", "facts", "policy", "runtime"},
    "evidence": {"account", "finding", "runtime", "snapshot"},
    "mappings": {"account", "facts", "snapshot"},
    "causes": {
        "account",
        "environment",
        "evidence",
        "facts",
        "finding",
        "fix",
        "gates",
        "goroutines",
        "policy",
        "read",
        "runtime",
        "scavenger",
        "settings",
        "shape",
        "snapshot",
    },
    "goheap": {"facts", "goroutines", "read", "shape"},
    "bypage": {"account", "goheap", "mappings", "read", "snapshot"},
    "verdict": {"account", "bypage", "causes", "finding", "mappings", "snapshot"},
    "ahead": set(),
    "sources": {"ahead", "facts", "goheap", "goroutines", "mappings", "read", "runtime", "shape", "snapshot"},
    "show": {
        "account",
        "environment",
        "finding",
        "goheap",
        "goroutines",
        "lab",
        "policy",
        "read",
        "runtime",
        "shape",
        "snapshot",
        "sources",
        "verdict",
    },
    "live": {"facts", "read", "snapshot", "sources"},
    "lab": {
        "__main__",
        "causes",
        "environment",
        "facts",
        "finding",
        "live",
        "mappings",
        "policy",
        "read",
        "snapshot",
        "sources",
        "verdict",
    },
    "commands": {
        "__main__",
        "causes",
        "facts",
        "finding",
        "lab",
        "live",
        "policy",
        "read",
        "show",
        "snapshot",
        "sources",
        "verdict",
    },
    "__main__": {"commands", "show"},
    "__init__": {"sources", "verdict"},
}
EVERYWHERE = {"errors", "version"}
NO_SIBLINGS = ("causes", "commands")
# What a verdict may not import from the standard library: each of these costs milliseconds.
HEAVY = {"re", "json", "typing", "dataclasses", "enum", "argparse", "struct", "subprocess", "logging", "pathlib"}


def layer_of(path: Path) -> str:
    return path.parts[0] if len(path.parts) > 1 else path.stem


def imported(path: Path) -> set[str]:
    """The modules of whyrss that a file imports, also late ones and those for type checking only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((SOURCE / path).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "whyrss":
            names = [alias.name for alias in node.names]
            found |= {f"{node.module}.{name}" for name in names} if node.module == "whyrss" else {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("whyrss.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_down(path: Path) -> None:
    layer = layer_of(path)
    if layer in EVERYWHERE:
        assert not imported(path)
        return
    used = {name.split(".")[1] for name in imported(path)}
    assert used <= LAYERS[layer] | EVERYWHERE | {layer}


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] in NO_SIBLINGS], ids=str)
def test_no_sibling_is_imported(path: Path) -> None:
    if path.name == "__init__.py":
        return
    package = f"whyrss.{path.parts[0]}"
    assert not {name for name in imported(path) if name.startswith(package + ".")}


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "facts"], ids=str)
def test_facts_are_data_only(path: Path) -> None:
    tree = ast.parse((SOURCE / path).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    modules = {node.module if isinstance(node, ast.ImportFrom) else "" for node in imports}
    assert modules <= {"__future__"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads a live process")
def test_a_verdict_imports_nothing_heavy() -> None:
    program = (
        "import sys; before = set(sys.modules)\n"
        "from whyrss.__main__ import run\n"
        f"code = run(['{os.getpid()}'])\n"
        "print(code, *sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    python = [sys.executable, "-S", "-c", program]
    environ = os.environ | {"PYTHONPATH": str(SOURCE.parent)}
    done = subprocess.run(python, env=environ, capture_output=True, text=True, check=True)
    code, *modules = done.stderr.split()
    assert code == "0"
    assert "whyrss.verdict" in modules
    assert not HEAVY & set(modules)
    assert not {name for name in modules if name.split(".")[0] in ("numpy", "rich", "http", "urllib")}
