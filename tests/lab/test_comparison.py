"""The errors of the model are counted from two documents, and shown in 80 columns."""

from __future__ import annotations

from typing import Any

import pytest

from whyrss.errors import UsageError
from whyrss.lab.comparison import BOUND_BYTES, BOUND_SHARE, BOUNDED, INFORMATIONAL, compare
from whyrss.show import comparison as view

MIB = 1 << 20


def sample(phase: int, label: str, **figures: int) -> dict[str, Any]:
    return {"t_s": float(phase), "phase": phase, "label": label} | dict.fromkeys(BOUNDED + INFORMATIONAL, 0) | figures


def document(*samples: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"scenario": {"go": "1.15"}, "samples": list(samples), **more}


def one(model: int, go: int, figure: str = "HeapInuse") -> Any:
    """The comparison of two documents that differ in one figure."""
    return compare(document(sample(1, "gc", **{figure: model})), document(sample(1, "gc", **{figure: go})))


def test_equal_documents_are_without_error() -> None:
    same = document(sample(0, "start"), sample(1, "gc", HeapSys=64 * MIB), sample(2, "exit", HeapSys=68 * MIB))
    found = compare(same, same)
    assert found.ok
    assert [row.difference for row in found.rows] == [0] * 2 * len(BOUNDED + INFORMATIONAL)
    assert {(row.phase, row.label) for row in found.rows} == {(1, "gc"), (2, "exit")}


@pytest.mark.parametrize(
    ("go", "bound"),
    [(1000 * MIB, int(1000 * MIB * BOUND_SHARE)), (10 * MIB, BOUND_BYTES), (0, BOUND_BYTES)],
    ids=["a tenth of a large figure", "4 MiB of a small one", "4 MiB of none"],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_the_bound_is_the_larger_of_the_two(go: int, bound: int, sign: int) -> None:
    assert one(go + sign * bound, go).ok
    assert not one(go + sign * (bound + 1), go).ok


@pytest.mark.parametrize("figure", BOUNDED)
def test_each_of_the_figures_is_bounded(figure: str) -> None:
    assert not one(100 * MIB, 0, figure).ok


@pytest.mark.parametrize("figure", INFORMATIONAL)
def test_the_others_are_only_told(figure: str) -> None:
    found = one(100 * MIB, 0, figure)
    assert found.ok
    assert [row.difference for row in found.rows if row.figure == figure] == [100 * MIB]


def test_the_end_of_a_phase_counts_and_not_what_lies_before_it() -> None:
    go = document(sample(1, "wait", HeapReleased=0), sample(1, "wait", HeapReleased=80 * MIB))
    model = document(sample(1, "wait", HeapReleased=80 * MIB))
    assert compare(model, go).ok
    assert not compare(document(sample(1, "wait", HeapReleased=0)), go).ok


def test_the_worst_is_the_one_furthest_over_its_bound() -> None:
    model = document(sample(1, "gc", HeapSys=1100 * MIB, lazyfree_bytes=8 * MIB))
    go = document(sample(1, "gc", HeapSys=1000 * MIB, lazyfree_bytes=0))
    worst = compare(model, go).worst()
    assert (worst.figure, worst.strain) == ("lazyfree_bytes", 2.0)


@pytest.mark.parametrize(
    "other",
    [document(), document(sample(1, "gc")), document(sample(1, "exit"), sample(2, "gc"))],
    ids=["empty", "shorter", "other phases"],
)
def test_two_different_scenarios_are_not_compared(other: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="same phases"):
        compare(document(sample(1, "gc"), sample(2, "exit")), other)
    with pytest.raises(UsageError, match="same phases"):
        compare(document(), document())


@pytest.mark.parametrize("whose", ["model", "Go program"])
def test_a_figure_that_is_not_there_is_named(whose: str) -> None:
    whole, lacking = document(sample(1, "gc")), document(sample(1, "gc"))
    del lacking["samples"][0]["HeapIdle"]
    documents = (lacking, whole) if whose == "model" else (whole, lacking)
    with pytest.raises(UsageError, match=f"of the {whose} has no HeapIdle in phase 1"):
        compare(*documents)


def page() -> str:
    model = document(
        sample(1, "allocate 256MiB of 64KiB objects", HeapSys=260 * MIB, NumGC=7, NextGC=(1 << 64) - 1),
        sample(2, "pressure 64MiB", rss_bytes=1 << 40),
    )
    go = document(
        sample(1, "allocate 256MiB of 64KiB objects", HeapSys=256 * MIB, NumGC=6, NextGC=4 * MIB),
        sample(2, "pressure 64MiB", rss_bytes=1),
        go="go1.15.15",
        notes=["no memory pressure: \x1b[31mneeds CAP_SYS_NICE"],
    )
    return view.show([compare(model, go)])


def test_the_table_fits_in_80_columns() -> None:
    assert max(map(len, page().splitlines())) <= 80


def test_a_row_says_both_figures_their_difference_and_whether_it_will_do() -> None:
    lines = [line.split() for line in page().splitlines()]
    assert ["HeapSys", "260", "MiB", "256", "MiB", "+4.0", "MiB", "+1.6", "%", "ok"] in [row[-10:] for row in lines]
    assert ["RSS", "1.0", "TiB", "1", "B", "+1.0", "TiB", "FAR"] in lines
    assert ["NumGC", "7", "6", "+1", "+16.7", "%"] in lines
    assert ["NextGC", "never", "4.0", "MiB"] in lines


def test_the_summary_counts_and_names_the_worst() -> None:
    text = " ".join(page().split())
    # Five figures with a bound at the end of each of two phases; one of them, the RSS of the second, is far off.
    assert "go1.15.15: 9 of 10 figures within 10 % or 4 MiB; worst: RSS after phase 2 (pressure 64MiB)" in text


def test_a_note_cannot_drive_the_terminal() -> None:
    assert "no memory pressure: \\x1b[31mneeds CAP_SYS_NICE" in page()


def test_markdown_has_a_table_of_whole_rows() -> None:
    same = document(sample(1, "gc"), go="go1.27.3")
    text = view.to_markdown([compare(same, same)])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(BOUNDED + INFORMATIONAL)
    assert {line.count("|") for line in rows} == {8}
    assert text.startswith("### go1.27.3\n")
    assert "5 of 5 figures within" in text
