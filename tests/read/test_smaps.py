"""smaps: cut at fixed offsets, or read line by line, with the same result."""

from __future__ import annotations

import os
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrss.errors import FormatError
from whyrss.read import smaps
from whyrss.read.smaps import Vma, parse_smaps

BLOCK = (
    b"c000000000-c004000000 rw-p 00000000 00:00 0 \n"
    b"Size:              65536 kB\nRss:               10240 kB\nAnonymous:         10240 kB\n"
    b"LazyFree:           4096 kB\nTHPeligible:           0\nVmFlags: rd wr mr mw me ac \n"
)
LIB = BLOCK.replace(b"c000000000-c004000000 rw-p", b"7f0000000000-7f0000010000 r-xp").replace(
    b"00:00 0 \n", b"fe:00 1234                      /usr/lib/a b.so (deleted)\n"
)


def seen(vma: Vma) -> tuple[object, ...]:
    return vma.start, vma.end, vma.perms, vma.path, vma.flags, vma.figures()


def test_fields_and_headers() -> None:
    first, second = parse_smaps(BLOCK + LIB)
    assert (first.start, first.end, first.perms, first.path) == (0xC000000000, 0xC004000000, "rw-p", "")
    assert first.get_bytes("Rss") == 10240 * 1024
    assert first.get_bytes("LazyFree") == 4096 * 1024
    assert first.get_bytes("NoSuchField") == 0
    assert first.flags.split() == [b"rd", b"wr", b"mr", b"mw", b"me", b"ac"]
    assert second.path == "/usr/lib/a b.so (deleted)"
    assert second.figures()["THPeligible"] == 0


def test_unknown_fields_are_kept() -> None:
    text = BLOCK.replace(b"LazyFree:", b"Frobnicated:          12 kB\nLazyFree:")
    assert parse_smaps(text + text).list[1].figures()["Frobnicated"] == 12
    odd = BLOCK.replace(b"THPeligible:           0", b"New: 7 pages\nTHPeligible: 0")
    assert parse_smaps(BLOCK + odd).list[1].figures()["New"] == 7


def test_a_number_that_widens_its_line_is_read() -> None:
    wide = LIB.replace(b"Rss:               10240 kB", b"Rss:            123456789 kB")
    vmas = parse_smaps(BLOCK + wide)
    assert vmas.list[1].get_bytes("Rss") == 123456789 * 1024
    assert vmas.total_bytes("Rss") == (10240 + 123456789) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_real_processes_against_a_plain_sum() -> None:
    read = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/smaps", "rb") as file:
                text = file.read()
        except OSError:
            continue
        if not text:
            continue
        vmas = parse_smaps(text)
        for field in ("Rss", "Pss", "LazyFree", "Anonymous", "Swap"):
            plain = re.findall(rb"^%s: +(\d+) kB$" % field.encode(), text, re.MULTILINE)
            assert vmas.total_bytes(field) == sum(map(int, plain)) * 1024
        assert len(vmas) == text.count(b"\nVmFlags:")
        assert [seen(vma) for vma in vmas] == [seen(vma) for vma in smaps._by_line(text)]
        assert smaps._by_shape(text) is not None, "the kernel's own text must take the short way"
        read += 1
    assert read


def test_cut_in_the_middle() -> None:
    text = BLOCK + LIB
    for end in range(1, len(text)):
        if end == len(BLOCK):
            continue
        try:
            vmas = parse_smaps(text[:end])
        except FormatError as error:
            assert "smaps" in str(error)
            continue
        # What is taken for whole ends with a line, and the last VMA has at least all figures of the first.
        assert text[:end].endswith(b"\n")
        assert vmas.list[-1].figures().keys() >= vmas.list[0].figures().keys() > {"Size"}
        assert len(vmas) == 1


def test_nothing_is_no_vma() -> None:
    assert len(parse_smaps(b"")) == 0


@pytest.mark.parametrize(
    "text", [b"hello\n", b"Rss: 1 kB\n", b"1-2\n", b"x-y rw-p 0 0 0\n", b"1-2 rw-p 0 0 0\nRss: x kB\n", b"\0" * 99]
)
def test_what_is_no_smaps_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        parse_smaps(text)


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_damage_ends_in_format_error_or_in_numbers(data: st.DataObject) -> None:
    text = bytearray(BLOCK + LIB + BLOCK)
    for _ in range(data.draw(st.integers(1, 6))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        for vma in parse_smaps(bytes(text)):
            assert vma.get_bytes("Rss") >= 0
            assert all(value >= 0 for value in vma.figures().values())
    except FormatError:
        pass


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from(["", "[heap]", "/a b"]))))
def test_both_ways_agree(rows: list[tuple[int, int, str]]) -> None:
    """Numbers up to the width of the column and beyond it."""
    text = b"".join(
        b"%x-%x rw-p 00000000 00:00 0   %s\nSize:           %8d kB\nRss:            %8d kB\nVmFlags: rd\n"
        % (0x1000 * at, 0x1000 * at + 0x1000, path.encode(), size, rss)
        for at, (size, rss, path) in enumerate(rows, 1)
    )
    vmas = parse_smaps(text)
    assert vmas.total_bytes("Rss") == sum(rss for _, rss, _ in rows) * 1024
    assert [vma.path for vma in vmas] == [path for _, _, path in rows]
