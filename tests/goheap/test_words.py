"""The search through words is a search through words."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from whyrss.goheap.words import Words

VALUES = st.sampled_from(
    [0, 1, 160, 160 << 8, 0xA0A0_A0A0_A0A0_A0A0, 0xC0_0000_0000, 0xC0_0000_0001, 1 << 63, 5 << 32]
)
PIECES = st.lists(st.lists(VALUES, max_size=12), max_size=4)


def memory_of(pieces: list[list[int]]) -> tuple[Words, dict[int, int]]:
    known, raw, at = {}, [], 0x4000
    for values in pieces:
        raw.append((at, struct.pack(f"<{len(values)}Q", *values) + b"\xa0" * 5))
        known.update({at + 8 * number: value for number, value in enumerate(values)})
        at += 8 * len(values) + 64
    return Words(raw), known


@given(PIECES, VALUES)
def test_every_aligned_word_of_a_value_is_found_and_nothing_else(pieces: list[list[int]], value: int) -> None:
    words, known = memory_of(pieces)
    assert list(words.find(value)) == [at for at, held in known.items() if held == value]


@given(PIECES, st.lists(VALUES, max_size=3))
def test_near_are_the_pointers_into_the_same_4_gib(pieces: list[list[int]], targets: list[int]) -> None:
    words, known = memory_of(pieces)
    highs = {target >> 32 for target in targets} - {0}
    assert sorted(words.near(targets)) == [at for at, held in known.items() if held >> 32 in highs]


def test_near_what_is_no_address_there_is_nothing() -> None:
    words, _ = memory_of([[1, (1 << 64) - 1]])
    assert list(words.near([1 << 64, 1 << 70])) == []


@given(PIECES, st.integers(0x3FF8, 0x4200), st.integers(1, 4))
def test_words_are_all_known_or_none(pieces: list[list[int]], address: int, count: int) -> None:
    words, known = memory_of(pieces)
    address -= address % 8
    held = [known.get(address + 8 * number) for number in range(count)]
    one_piece = words.bytes_at(address, 8 * count)
    assert words.words(address, count) == (() if not one_piece else tuple(held))
    assert bool(one_piece) == (None not in held)
    assert words.word(address) == known.get(address)
