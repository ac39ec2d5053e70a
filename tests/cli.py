"""The command as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence


def whyrss(
    *arguments: str,
    prefix: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
) -> tuple[int, str, str]:
    """(exit code, stdout, stderr); `prefix` is a command that runs it, `env` is added to the environment."""
    argv = [*prefix, sys.executable, "-m", "whyrss", *arguments]
    environ = os.environ | (dict(env) if env else {})
    done = subprocess.run(argv, env=environ, cwd=cwd, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr
