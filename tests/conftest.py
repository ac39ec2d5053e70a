"""What every test may rely on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart() -> None:
    """A shell starts its background jobs with SIGINT ignored, which programs under test would inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`whyrss` can be called by its name, as the checks of evidence do."""
    script = tmp_path_factory.mktemp("bin") / "whyrss"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m whyrss "$@"\n')
    script.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
        yield
