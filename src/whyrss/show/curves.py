"""The curves of a course: which figures, whose, and what tells two courses apart.

A document is that of `whyrss lab run --json`: "scenario", "samples", and "compared" with another of both.
"""

from __future__ import annotations

from whyrss.show.text import clean
from whyrss.show.units import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from whyrss.show.svg import Point

    Document = Mapping[str, Any]
    Curve = tuple["Figure", str, Document, bool]  # the figure, its name, whose, whether of the second document

SETTINGS = {
    "go": "Go {}",
    "godebug": "GODEBUG={}",
    "gogc": "GOGC={}",
    "gomemlimit": "GOMEMLIMIT={}",
    "kernel": "Linux {}",
}


class Figure:
    """A figure of a sample, and how its curve looks: `letter` in a plot without colours, `ansi` of 256 colours,
    `colour` and `width` in the picture."""

    __slots__ = ("ansi", "colour", "key", "letter", "name", "width")

    def __init__(self, key: str, name: str, letter: str, ansi: int, colour: int, width: float) -> None:
        self.key = key
        self.name = name
        self.letter = letter
        self.ansi = ansi
        self.colour = colour
        self.width = width


# In the order in which they are drawn: where curves lie on each other, the later ones are the thinner ones.
FIGURES = (
    Figure("rss_bytes", "RSS", "R", 202, 0, 4.5),
    Figure("HeapSys", "HeapSys", "s", 245, 4, 3.2),
    Figure("HeapIdle", "HeapIdle", "i", 35, 2, 2.6),
    Figure("HeapInuse", "HeapInuse", "u", 39, 1, 2.0),
    Figure("HeapReleased", "HeapReleased", "r", 170, 3, 1.8),
    Figure("lazyfree_bytes", "LazyFree", "l", 226, 5, 1.4),
)
# What is drawn of two courses, with the letter and the colour of the second.
SECOND = {"rss_bytes": ("X", 39), "HeapReleased": ("x", 35)}


def documents_of(document: Document) -> list[Document]:
    return [document, document["compared"]] if "compared" in document else [document]


def curves_of(document: Document) -> list[Curve]:
    """Of one course every figure, of two courses those of SECOND of both."""
    if "compared" not in document:
        return [(figure, figure.name, document, False) for figure in FIGURES]
    pairs = list(zip(names_of(document), documents_of(document), (False, True), strict=True))
    return [
        (figure, f"{figure.name}, {name}", whose, second)
        for figure in FIGURES
        if figure.key in SECOND
        for name, whose, second in pairs
    ]


def points_of(document: Document, key: str) -> list[Point]:
    return [(sample["t_s"], sample[key]) for sample in document["samples"]]


def ends_of(samples: Sequence[Document]) -> list[Document]:
    """The last sample of each phase."""
    return [
        sample
        for sample, after in zip(samples, [*samples[1:], None], strict=True)
        if after is None or after["phase"] != sample["phase"]
    ]


def starts_of(samples: Sequence[Document]) -> list[tuple[float, str]]:
    """When each phase begins, and what it is."""
    begins_s, found = 0.0, []
    for sample in ends_of(samples):
        if sample["phase"]:
            found.append((begins_s, clean(sample["label"])))
        begins_s = sample["t_s"]
    return found


def settings_of(scenario: Document, without: Sequence[str] = ()) -> str:
    """The settings that are no defaults, in the order of a command line."""
    usual = {"godebug": "", "gogc": 100, "gomemlimit": "off", "kernel": ""}
    shown = [key for key in SETTINGS if key not in without and scenario[key] != usual.get(key)]
    return ", ".join(_setting(key, scenario[key]) for key in shown)


def differing_in(document: Document) -> list[str]:
    first, *rest = (each["scenario"] for each in documents_of(document))
    return [key for key in SETTINGS if any(other[key] != first[key] for other in rest)]


def _setting(key: str, value: object) -> str:
    if key == "kernel" and not value:
        return "this kernel"
    if key == "godebug" and not value:
        return "GODEBUG unset"
    if key == "gomemlimit" and isinstance(value, int):
        value = size(value).replace(".0 ", " ").replace(" ", "")
    return clean(SETTINGS[key].format(value))


def names_of(document: Document) -> list[str]:
    """What tells the courses apart: the settings that differ, and which is the real program's."""
    both = documents_of(document)
    real = any("go" in each for each in both)
    names = []
    for number, each in enumerate(both, 1):
        kind = clean(f"real {each['go']}" if "go" in each else "model") if real else ""
        settings = [_setting(key, each["scenario"][key]) for key in differing_in(document)]
        names.append(", ".join(filter(None, [kind, *settings])) or f"run {number}")
    return names
