"""The scenarios that come with whyrss, by name."""

from __future__ import annotations

import os

FOLDER = os.path.join(os.path.dirname(__file__), "scenarios")


def names() -> list[str]:
    return sorted(name.removesuffix(".toml") for name in os.listdir(FOLDER) if name.endswith(".toml"))


def path_of(word: str) -> str:
    """The file that a user means: one that exists, else ours of that name, else the word as it is."""
    ours = os.path.join(FOLDER, f"{word}.toml")
    return ours if word in names() and not os.path.exists(word) else word


def about(name: str) -> str:
    """The first sentence of its comment."""
    with open(os.path.join(FOLDER, f"{name}.toml"), encoding="utf-8") as file:
        comment = [line[1:].strip() for line in file if line.startswith("#")]
    return " ".join(comment).partition(". ")[0].removesuffix(".")
