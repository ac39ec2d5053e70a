"""The two commands of the README: `try` shows whyrss at work, `test` runs every check. Each installs what it needs.

Needs Python 3.11 or later with pip. `try` makes a virtual environment in .venv and runs `whyrss lab lazyfree`.
`test` adds the test tools, and the tests fetch Go toolchains, etcd and Prometheus into the user's cache folder
(WHYRSS_CACHE) the first time.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# What tests use of Debian, by a file that each package has.
DEBIAN_PACKAGES = {
    "/usr/bin/pmap": "procps",
    "/usr/bin/strip": "binutils",
    "/usr/bin/gcc": "gcc",
    "/usr/include/grp.h": "libc6-dev",
    "/usr/bin/setpriv": "util-linux",
}


def main() -> int:
    word = sys.argv[1] if len(sys.argv) == 2 else ""
    if word not in ("try", "test"):
        print(__doc__)
        return 2
    problem = unfit()
    if problem:
        print(f"tools/dev.py: {problem}", file=sys.stderr)
        return 3
    try:
        return try_it() if word == "try" else test()
    except subprocess.CalledProcessError as error:
        print(f"tools/dev.py: {error.cmd[0]} failed with code {error.returncode}, see above", file=sys.stderr)
        return 3


def unfit() -> str:
    """Why this machine cannot run either, or nothing."""
    if sys.version_info < (3, 11):  # noqa: UP036  (this file is what an older Python meets first)
        return f"needs Python 3.11 or later, this is {platform.python_version()}"
    if not sys.platform.startswith("linux"):
        return f"needs Linux, this is {platform.system()}; elsewhere whyrss explains recordings: pip install ."
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
        return "needs pip (on Debian: apt-get install python3-pip)"
    return ""


def install(*what: str) -> None:
    """Into the environment, by the pip of the interpreter that runs this: a Debian without python3-venv has the
    module venv, but not the pip that would go into the environment."""
    if not PYTHON.exists():
        shutil.rmtree(VENV, ignore_errors=True)
        venv.create(VENV, with_pip=False, symlinks=True)
    environ = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    pip = [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "--quiet", *what]
    subprocess.run(pip, cwd=ROOT, env=environ, check=True)


def try_it() -> int:
    install("--force-reinstall", "--no-deps", ".")
    code = run("whyrss", "lab", "lazyfree")
    print(f"\nwhyrss is at {VENV / 'bin' / 'whyrss'}")
    return code


def test() -> int:
    install_tools()
    install("--force-reinstall", "--no-deps", ".")
    install(".[test]")
    places = ["src", "tests", "tools", "benchmarks"]
    steps = [
        ("ruff", "check", *places, "bin/whyrss"),
        ("ruff", "format", "--check", *places, "bin/whyrss"),
        ("mypy",),
        ("pytest",),
    ]
    failed = [step[0] for step in steps if run(*step)]
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


def install_tools() -> None:
    """Debian's packages that tests use, where they are absent and we may install them; else says what is missing."""
    absent = {package for file, package in DEBIAN_PACKAGES.items() if not os.path.exists(file)}
    if not absent:
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"missing, and not to be installed here (not root, or no apt-get): {', '.join(sorted(absent))}")
        return
    subprocess.run(["apt-get", "update", "-q"], check=True)
    subprocess.run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *sorted(absent)], check=True)


def run(command: str, *arguments: str) -> int:
    print(f"$ {command} {' '.join(arguments)}", flush=True)
    environ = os.environ | {"PATH": f"{VENV / 'bin'}:{os.environ.get('PATH', '')}"}
    return subprocess.run([VENV / "bin" / command, *arguments], cwd=ROOT, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
