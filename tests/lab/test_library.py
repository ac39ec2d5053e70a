from __future__ import annotations

from pathlib import Path

import pytest

from whyrss.lab import library
from whyrss.lab.scenario import load_scenario


@pytest.mark.parametrize("name", library.names())
def test_each_is_found_by_its_name_and_says_what_it_shows(name: str) -> None:
    assert load_scenario(library.path_of(name)).name == name
    assert 20 < len(library.about(name)) < 160


def test_a_file_of_that_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert library.path_of("madv_free") != "madv_free"
    (tmp_path / "madv_free").write_text("")
    assert library.path_of("madv_free") == "madv_free"
    assert library.path_of("../lab") == "../lab"
