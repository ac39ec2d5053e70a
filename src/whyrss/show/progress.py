"""A bar on stderr for what takes longer than a second; nothing where nobody watches."""

from __future__ import annotations

import sys
import time

from whyrss.show.units import size

PATIENCE_SECONDS = 1.0
CELLS = 40


class Progress:
    """Call it with (done bytes, total bytes); `close` removes the bar."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        if not sys.stderr.isatty() or time.monotonic() - self._since < PATIENCE_SECONDS or not total:
            return
        filled = CELLS * done // total
        sys.stderr.write(f"\r{'█' * filled}{'░' * (CELLS - filled)} {size(done)} of {size(total)}   ")
        sys.stderr.flush()
        self._shown = True

    def close(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
