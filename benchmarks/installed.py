"""whyrss as a user has it: a wheel of this source tree, installed into an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What pip writes for an entry point; newer ones no longer import `re` (pypa/pip, pull request 13166).
_WITH_RE = """\
#!{python}
# -*- coding: utf-8 -*-
import re
import sys
from whyrss.__main__ import main
if __name__ == '__main__':
    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])
    sys.exit(main())
"""
_WITHOUT_RE = """\
#!{python}
import sys
from whyrss.__main__ import main
if __name__ == '__main__':
    if sys.argv[0].endswith('.exe'):
        sys.argv[0] = sys.argv[0][:-4]
    sys.exit(main())
"""


class Installed:
    """Paths of the commands: `python`, `whyrss`, and the wrappers that pip would have written."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        commands = folder / "bin"
        self.python = str(commands / "python")
        pip = [sys.executable, "-m", "pip", "--python", self.python, "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", "--no-deps", "--compile", ROOT], check=True)
        self.whyrss = str(commands / "whyrss")
        self.wrapper = self._write(commands / "wrapper", _WITH_RE)
        self.lean_wrapper = self._write(commands / "lean-wrapper", _WITHOUT_RE)

    def _write(self, path: Path, template: str) -> str:
        path.write_text(template.format(python=self.python))
        path.chmod(0o755)
        return str(path)
