"""The course of a scenario: a table of the figures at the end of each phase, and their curves."""

from __future__ import annotations

from whyrss.show.courseplot import plot_lines
from whyrss.show.curves import (
    curves_of,
    differing_in,
    documents_of,
    ends_of,
    names_of,
    points_of,
    settings_of,
    starts_of,
)
from whyrss.show.svg import Series, chart
from whyrss.show.text import COLOURS, PLAIN, clean, wrap
from whyrss.show.units import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from whyrss.show.curves import Document

COMPARED_WIDTH = 2.4  # px, of both curves of a figure: neither is drawn over the other
LABEL_LEAST = 12
COLUMN = 9
NUM_GC_COLUMN = 6
# Key of a sample, and its heading below "Heap" or alone.
COLUMNS = (
    ("rss_bytes", "RSS"), ("lazyfree_bytes", "LazyFree"),
    ("HeapInuse", "Inuse"), ("HeapIdle", "Idle"), ("HeapReleased", "Released"), ("HeapSys", "Sys"),
)  # fmt: skip
HEAP_COLUMNS = 4


def show(document: Document, colours: bool = False, width: int = 80, plot: bool = True) -> str:
    """The whole page, ending in a newline: what came of it, tables, with `plot` the curves. `document` is that of
    --json, with "compared" for two courses."""
    paint = COLOURS if colours else PLAIN
    parts = [[paint["bold"] + line + paint["off"] for line in _headline(document)]]
    names = names_of(document)
    for name, each in zip(names, documents_of(document), strict=True):
        heading = [f"{paint['bold']}{name}{paint['off']}"] if len(names) > 1 else []
        parts.append(heading + _table(each["samples"], width, paint))
    if plot:
        parts.append(plot_lines(document, colours, width))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def show_svg(document: Document) -> str:
    """The same curves as a picture, the text of an SVG file."""
    both = "compared" in document
    series = [
        Series(name, points_of(whose, figure.key), figure.colour, second, COMPARED_WIDTH if both else figure.width)
        for figure, name, whose, second in curves_of(document)
    ]
    return chart(
        series, clean(document["scenario"]["name"]), _subtitle(document), "time", starts_of(document["samples"])
    )


def _headline(document: Document) -> list[str]:
    """What ran, and what came of it: of two courses each on a line of its own."""
    names, documents = names_of(document), documents_of(document)
    common = settings_of(document["scenario"], differing_in(document))
    title = ", ".join(filter(None, [clean(document["scenario"]["name"]), common]))
    stories = [_story(each["samples"]) for each in documents]
    if len(names) == 1:
        return wrap(f"{title}: RSS {stories[0]}.")
    lines = wrap(f"{title}, twice:")
    for name, story in zip(names, stories, strict=True):
        lines += wrap(f"{name}: RSS {story}.", "    ", "  ")
    return lines


def _story(samples: Sequence[Document]) -> str:
    last = samples[-1]
    most_bytes = max(sample["rss_bytes"] for sample in samples)
    lazy = f", {size(last['lazyfree_bytes'])} of it lazily freed" if last["lazyfree_bytes"] else ""
    if most_bytes == last["rss_bytes"]:
        return f"is {size(most_bytes)} at the end, its highest{lazy}"
    return f"rises to {size(most_bytes)} and is {size(last['rss_bytes'])} at the end{lazy}"


def _subtitle(document: Document) -> str:
    names = names_of(document)
    if len(names) == 1:
        return f"{settings_of(document['scenario'])}: RSS {_story(document['samples'])}"
    parts = []
    for name, each in zip(names, documents_of(document), strict=True):
        figures = [sample["rss_bytes"] for sample in each["samples"]]
        parts.append(f"up to {size(max(figures))}, {size(figures[-1])} at the end ({name})")
    return f"RSS {'; '.join(parts)}"


def _table(samples: Sequence[Document], width: int, paint: Mapping[str, str]) -> list[str]:
    """One row for the end of each phase."""
    label = max(LABEL_LEAST, width - len(COLUMNS) * COLUMN - NUM_GC_COLUMN)
    before = label + (len(COLUMNS) - HEAP_COLUMNS) * COLUMN
    heads = "".join(f"{head:>{COLUMN}}" for _, head in COLUMNS)
    lines = [
        f"{paint['dim']}{'':<{before}}  {' Heap ':─^{HEAP_COLUMNS * COLUMN - 2}}{paint['off']}",
        f"{paint['dim']}{'at the end of':<{label}}{heads}{'NumGC':>{NUM_GC_COLUMN}}{paint['off']}",
    ]
    return lines + [_row(sample, label, paint) for sample in ends_of(samples)]


def _row(sample: Document, label: int, paint: Mapping[str, str]) -> str:
    number = f"{sample['phase']} " if sample["phase"] else ""
    text = number + clean(sample["label"])
    text = text if len(text) < label else text[: label - 2] + "…"
    cells = [f"{size(sample[key]):>{COLUMN}}" for key, _ in COLUMNS]
    cells[0] = f"{paint['bold']}{cells[0]}{paint['off']}"
    if sample["lazyfree_bytes"]:
        cells[1] = f"{paint['note']}{cells[1]}{paint['off']}"
    return f"{text:<{label}}{''.join(cells)}{sample['NumGC']:>{NUM_GC_COLUMN}}"
