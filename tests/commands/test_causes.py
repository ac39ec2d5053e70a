"""`whyrss causes`: the catalogue and its pages, on a terminal, as JSON and in docs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.cli import whyrss
from tools import gen_docs_causes
from whyrss.causes import CAUSES, GROUPS
from whyrss.lab.causes import ALL_VERSIONS
from whyrss.show import causes as view
from whyrss.show.causes import parse_page, ranges, show_list, show_page
from whyrss.show.text import COLOURS, PLAIN

NAMES = [cause.name for cause in CAUSES]
DOCS = Path(__file__).parent.parent.parent / "docs" / "causes"
PAGE = """\
What it is, in two
lines.

Why it is resident
    The first paragraph
    goes on.

    The second.
    By hand: look at it.
    * one thing
    * another
      that is longer
        an example
          as it stands
    after it.

Fix
    None.
"""


def test_the_list_has_each_cause_once_below_its_group() -> None:
    code, out, err = whyrss("causes")
    assert (code, err) == (0, "")
    assert re.findall(r"^  (\S+) ", out, re.MULTILINE) == NAMES
    headings = [line for line in out.splitlines() if line and not line.startswith((" ", "whyrss"))]
    assert headings == [group for group, entries in GROUPS.items() if entries]
    assert max(map(len, out.splitlines())) <= 80


def test_the_catalogue_is_what_is_in_the_groups() -> None:
    assert [entry for entries in GROUPS.values() for entry in entries] == list(CAUSES)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_all_words_of_the_docstring_in_80_columns(name: str) -> None:
    code, out, err = whyrss("causes", name)
    assert (code, err) == (0, "")
    source = Path(gen_docs_causes.ROOT, "src", "whyrss", "causes", f"{name.replace('-', '_')}.py").read_text()
    docstring = source.split('"""')[1]
    words = [word for word in docstring.replace("\\n", " ").split() if word not in "*-"]
    assert not [word for word in words if word not in out.split() and "\\\\" not in word]
    too_long = [line for line in out.splitlines() if len(line) > 80 and " " in line.strip()]
    assert too_long == []
    assert f"whyrss lab {name} --go VERSION" in out


def test_a_name_may_be_written_as_the_file() -> None:
    assert whyrss("causes", "scavenger_stuck") == whyrss("causes", "Scavenger-Stuck")
    assert whyrss("causes", "scavenger_stuck")[0] == 0


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("fragmentatio", "fragmentation"),
        ("lazyfre", "lazyfree"),
        ("stuck", "scavenger-stuck"),
        ("zzzz", "whyrss causes"),
        ("", "whyrss causes"),
    ],
)
def test_an_unknown_name_is_one_line_with_what_is_near(name: str, near: str) -> None:
    code, out, err = whyrss("causes", name)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert near in err


def test_json_of_the_list_and_of_one() -> None:
    listed = json.loads(whyrss("causes", "--json")[1])["causes"]
    assert [each["name"] for each in listed] == NAMES
    one = json.loads(whyrss("causes", "lazyfree", "--json")[1])
    assert one.items() >= listed[0].items()
    assert list(one["sections"]) == [
        "Why it is resident",
        "How it is measured",
        "When it is no problem",
        "Fix",
        "References",
    ]
    assert (one["group"], one["any_program"]) == ("Released, but resident", True)


def test_headings_are_bold_on_a_terminal_only() -> None:
    entry, bold = CAUSES[0], "\x1b[1m"
    page = show_page(entry, "a group", "", colours=True)
    assert f"{bold}Fix\x1b[0m" in page
    assert bold in show_list(GROUPS, colours=True)
    assert re.sub(r"\x1b\[\d*m", "", page) == show_page(entry, "a group", "")


def test_a_docstring_is_taken_apart() -> None:
    page = parse_page(PAGE)
    assert page.lead == "What it is, in two lines."
    assert page.sections == [
        (
            "Why it is resident",
            [
                "The first paragraph goes on.",
                "The second.",
                "By hand: look at it.",
                "* one thing",
                "* another that is longer",
                "    an example\n      as it stands",
                "after it.",
            ],
        ),
        ("Fix", ["None."]),
    ]


@given(st.text(alphabet=" \na:*-B", max_size=200))
@settings(deadline=None)
def test_any_text_keeps_its_words(text: str) -> None:
    page = parse_page(text)
    kept = [page.lead, *(part for heading, parts in page.sections for part in (heading, *parts))]
    assert "".join(kept).split() or not text.split()
    assert "".join("".join(kept).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        (ALL_VERSIONS, "1.15, 1.19, 1.21 to 1.27"),
        (("1.24.4",), "1.24.4"),
        (("1.24.4", "1.25", "1.26"), "1.24.4, 1.25, 1.26"),
        (("1.19",), "1.19"),
        ((), ""),
    ],
)
def test_ranges_of_releases(versions: tuple[str, ...], text: str) -> None:
    assert ranges(versions) == text


def test_docs_are_what_the_docstrings_say() -> None:
    """Otherwise: python tools/gen_docs_causes.py"""
    assert {path.name: path.read_text() for path in DOCS.glob("*.md")} == gen_docs_causes.pages()


def test_links_of_the_docs_lead_somewhere() -> None:
    for page in DOCS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), (page.name, link)


def test_pages_of_causes_that_are_no_more_go(tmp_path: Path) -> None:
    (tmp_path / "gone.md").write_text("")
    gen_docs_causes.write_pages(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"README.md", *(f"{name}.md" for name in NAMES)}


def test_what_markdown_would_take_is_kept() -> None:
    assert gen_docs_causes._paragraph("By hand: a*b <c> `d*e` [f]") == r"**By hand:** a\*b \<c> `d*e` \[f]"
    assert gen_docs_causes._paragraph("* one_two") == r"* one\_two"
    assert gen_docs_causes._paragraph("    a\n      b") == "```\na\n  b\n```"


def test_paragraphs_on_a_terminal() -> None:
    long = "word " * 20
    lines = view._paragraph(f"* {long}", PLAIN)
    assert (lines[0][:8], lines[1][:8]) == ("  * word", "    word")
    assert max(map(len, lines)) <= 80
    assert view._paragraph("    a\n      b", PLAIN) == ["      a", "        b"]
    assert view._paragraph("By hand: x", COLOURS) == ["  \x1b[1mBy hand:\x1b[0m x"]
