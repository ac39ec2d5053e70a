"""What one release of Go does, picked out of the tables once, and the settings that its process was started with."""

from __future__ import annotations

import os

from whyrss.environment import GOGC_DEFAULT, NO_LIMIT_BYTES
from whyrss.errors import Missing
from whyrss.facts import pageheap as table
from whyrss.policy import decide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from whyrss.policy import GoVersion

HUGE_PAGE_FILE = "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"


class Settings:
    """`gogc` in percent, -1 for off. `kernel` is the release that is played, by default this one's. `cpus` stands
    for GOMAXPROCS. `facts` are the rows of facts/pageheap.py for the release, by name."""

    def __init__(
        self,
        go: GoVersion,
        godebug: Mapping[str, str] | None = None,
        gogc: int = GOGC_DEFAULT,
        gomemlimit_bytes: int = NO_LIMIT_BYTES,
        kernel: str = "",
        cpus: int = 2,
    ) -> None:
        self.go = go
        self.gogc = gogc
        self.limit_bytes = gomemlimit_bytes
        self.kernel = kernel or os.uname().release
        self.cpus = cpus
        self.policy = decide(go, self.kernel, godebug or {})
        self.facts = {name: value for since, until, name, value, _ in table.ROWS if since <= go.minor <= until}
        if not self.flag("has_memory_limit"):
            self.limit_bytes = NO_LIMIT_BYTES
        self.huge_page_bytes = _huge_page_bytes()

    def number(self, fact: str) -> float:
        value = self.facts[fact]
        assert not isinstance(value, (str, bool))
        return value

    def flag(self, fact: str) -> bool:
        value = self.facts[fact]
        assert isinstance(value, bool)
        return value

    def word(self, fact: str) -> str:
        value = self.facts.get(fact)
        if not isinstance(value, str):
            raise Missing(f"no row for {fact} in {self.go}")
        return value


def _huge_page_bytes() -> int:
    """As the runtime finds it (runtime/os_linux.go, getHugePageSize); 0 where there are none."""
    try:
        with open(HUGE_PAGE_FILE, encoding="ascii") as file:
            text = file.read(32).strip()
    except OSError:
        return 0
    return int(text) if text.isascii() and text.isdigit() else 0
