"""A lab program as a child process: started, asked, and ended in every case."""

from __future__ import annotations

import json
import subprocess

from whyrss.errors import TargetError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Child:
    """Use as a context manager. `ready` is what the program published when it was ready."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            list(argv),
            env=dict(env) if env is not None else None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.ready: dict[str, object] = {}

    def __enter__(self) -> Child:
        try:
            self.ready = json.loads(self._expect("READY"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, command: str) -> str:
        """One command, one line of answer."""
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise TargetError(f"the lab program ended before it was asked to {command}") from None
        return self._process.stdout.readline().strip()

    def _expect(self, word: str) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line.startswith(word + " "):
            said = line.strip() or f"it ended with code {self._process.wait(10)}"
            raise TargetError(f"the lab program did not become ready: {said}")
        return line[len(word) + 1 :]
