"""Every error that may reach a user, and the exit code of each.

WhyrssError
|-- UsageError        2    the command line cannot mean anything
|-- TargetError       3    the target cannot be read
|   |-- GoneError          no such process, or it ended or was replaced while being read
|   |-- DeniedError        the kernel refuses; names the capability
|   `-- FormatError        a file that is not what it claims to be
`-- RefusedError      4    a change was refused, or could not be verified
Missing                    one section of a snapshot could not be read (never reaches the user as an error:
                           it becomes a "not checked" line with its reason)
"""

from __future__ import annotations


class WhyrssError(Exception):
    """One clear line for a person: what failed, why, and what to do about it."""

    exit_code = 3

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}; {self.hint}" if self.hint else self.what


class UsageError(WhyrssError):
    """The command line is wrong."""

    exit_code = 2


class TargetError(WhyrssError):
    """The target cannot be read."""


class GoneError(TargetError):
    """The process does not exist (any more), or its PID belongs to another process now."""


class DeniedError(TargetError):
    """The kernel refuses to show something; `hint` names the capability that would allow it."""


class FormatError(TargetError):
    """A file or a text is truncated, or is not what it claims to be."""


class RefusedError(WhyrssError):
    """A change was refused before it was made, or its effect could not be verified."""

    exit_code = 4


class Missing(Exception):
    """A section that a source could not read; `reason` is shown to the user as it is."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
