"""Sizes for people, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whyrss.environment import NO_LIMIT_BYTES, gogc, gomemlimit_bytes
from whyrss.show.units import parse_size, share, size


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (100 << 10, "100 KiB"), (1536, "1.5 KiB"),
        (1 << 62, "4.0 EiB"), (-2048, "-2.0 KiB"),
        ((1 << 20) - 1, "1.0 MiB"), (215 << 20, "215 MiB"), (1 << 30, "1.0 GiB"),
    ],
)  # fmt: skip
def test_size(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@given(st.integers(0, 1 << 62))
def test_size_is_within_its_digits(size_bytes: int) -> None:
    """One decimal below 100, none above: off by at most half of that, 5 % at 1.0 of a unit."""
    assert abs(parse_size(size(size_bytes)) - size_bytes) <= size_bytes * 0.05 + 0.5


def test_share() -> None:
    assert share(1, 3) == "33.3 %"
    assert share(0, 0) == "-"


@pytest.mark.parametrize("text", ["", "MiB", "-1MiB", "1XiB", "nan", "inf", "1e30GiB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError):
        parse_size(text)


def test_gogc_as_the_runtime_reads_it() -> None:
    assert [gogc({"GOGC": text}) for text in ("", "50", "off", "x", "-1", "99999999999")] == [
        100,
        50,
        -1,
        100,
        -1,
        100,
    ]
    assert gogc({}) == 100


def test_gomemlimit_as_the_runtime_reads_it() -> None:
    read = {
        text: gomemlimit_bytes({"GOMEMLIMIT": text}) for text in ("400MiB", "1024", "1024B", "off", "1MB", "9e9", "x")
    }
    assert read == {
        "400MiB": 400 << 20, "1024": 1024, "1024B": 1024, "off": NO_LIMIT_BYTES, "1MB": None, "9e9": None, "x": None
    }  # fmt: skip
