"""The command line: finds the subcommand, turns every error into one line and an exit code."""

from __future__ import annotations

import os
import sys

from whyrss.errors import WhyrssError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

INTERRUPTED = 130


def main() -> NoReturn:
    """Runs sys.argv and ends the process."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass
    os._exit(code)  # the interpreter's tear-down takes a tenth of a run and has nothing to do


def run(argv: list[str]) -> int:
    """The exit code of a command line; see errors.py for what each means."""
    try:
        return _dispatch(argv)
    except WhyrssError as error:
        print(f"whyrss: {_one_line(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # whoever read stdout has seen enough; other pipes are their owners' business
        return 0
    except SystemExit as ended:  # argparse
        return ended.code if isinstance(ended.code, int) else 2
    except MemoryError:
        print("whyrss: not enough memory to read this target", file=sys.stderr)
        return 3


def _dispatch(argv: list[str]) -> int:
    first = argv[0] if argv else "--help"
    if first in ("-h", "--help", "help"):
        from whyrss.show.help import HELP

        sys.stdout.write(HELP)
        return 0 if argv else 2
    if first in ("-V", "--version"):
        from whyrss.version import __version__

        print(f"whyrss {__version__}")
        return 0
    from whyrss.commands import COMMANDS

    if first in COMMANDS and first != "explain":
        module = __import__(f"whyrss.commands.{first}", fromlist=["run"])
        code: int = module.run(argv[1:])
        return code
    from whyrss.commands import explain

    return explain.run(argv[1:] if first == "explain" else argv)


def _one_line(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text.replace("\n", " "))


if __name__ == "__main__":
    main()
