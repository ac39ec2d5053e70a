"""Where every resident byte of a process is, and why it was not returned to the operating system.

import whyrss
verdict = whyrss.why(whyrss.open_source("1234"))
for finding in verdict.diagnosis.findings: ...
"""

__all__ = ["Verdict", "open_source", "why"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.sources import open_source
    from whyrss.verdict import Verdict, why


def __getattr__(name: str) -> object:
    """The public names, imported when they are asked for: importing whyrss itself costs nothing."""
    if name == "open_source":
        from whyrss.sources import open_source

        return open_source
    if name in ("Verdict", "why"):
        from whyrss import verdict

        return getattr(verdict, name)
    raise AttributeError(f"module 'whyrss' has no attribute {name!r}")
