"""Nothing of the caller's Go settings may reach the programs under test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def clean_go_environment() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("GODEBUG", "GOGC", "GOMEMLIMIT", "GOTRACEBACK"):
            patch.delenv(name, raising=False)
        yield
