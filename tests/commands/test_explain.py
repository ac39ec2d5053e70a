"""`whyrss TARGET`: the document by its schema, the page by its width, the exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import whyrss as package
from tests.cli import whyrss
from whyrss.version import __version__

HERE = Path(__file__).parent.parent
SCHEMA = json.loads((HERE.parent / "docs" / "whyrss-1.schema.json").read_text())
RECORDINGS = sorted(path for path in (HERE / "recordings").iterdir() if path.is_dir())
LAZYFREE, HEALTHY = str(HERE / "recordings" / "lazyfree"), str(HERE / "recordings" / "healthy")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="explains a live process")


def document(*arguments: str) -> dict[str, object]:
    code, out, err = whyrss(*arguments, "--json")
    assert (code, err) == (0, "")
    found: dict[str, object] = json.loads(out)
    return found


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name)
def test_document_of_a_recording(recording: Path) -> None:
    jsonschema.validate(document(str(recording)), SCHEMA)


@linux
def test_document_of_a_live_process_without_go() -> None:
    found = document(str(os.getpid()))
    jsonschema.validate(found, SCHEMA)
    process = found["process"]
    assert isinstance(process, dict)
    assert (process["pid"], process["go_version"], process["godebug"]) == (os.getpid(), None, None)


@linux
def test_the_account_of_a_live_process_is_the_kernels_rss() -> None:
    """A child that does nothing: its smaps is the same before and after."""
    child = subprocess.Popen([sys.executable, "-c", "print(flush=True); input()"], stdin=-1, stdout=-1)
    try:
        assert child.stdout is not None and child.stdout.readline()
        found = document(str(child.pid))
        with open(f"/proc/{child.pid}/smaps_rollup") as file:
            rss = next(int(line.split()[1]) for line in file if line.startswith("Rss:"))
        assert found["rss_bytes"] == rss << 10
    finally:
        child.kill()
        child.communicate()


def test_go_settings_are_read_from_the_environment() -> None:
    process = document(HEALTHY)["process"]
    assert isinstance(process, dict)
    assert process["go_version"] == "go1.27.3"
    assert process["godebug"] == {}
    assert process["gogc"] == 100
    assert process["gomemlimit_bytes"] == 2**63 - 1


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name)
def test_the_page_fits_80_columns(recording: Path) -> None:
    """All but the commands, which are there to be copied."""
    code, out, _ = whyrss(str(recording))
    assert code == 0
    assert not [line for line in out.splitlines() if len(line) > 80 and not line.startswith("    $ ")]
    assert "\x1b" not in out


def test_the_sentence_names_numbers() -> None:
    _, out, _ = whyrss(LAZYFREE)
    sentence = " ".join(out.split("\n\n")[0].split())
    assert sentence == (
        "200 MiB of the 217 MiB RSS were given back by Go with MADV_FREE; "
        "the kernel has not needed them yet. It is no leak and no danger: "
        "the kernel takes them before any OOM kill, and the kubelet's working set does not count them."
    )
    assert sentence == document(LAZYFREE)["verdict"]
    assert str(document(HEALTHY)["verdict"]).startswith("Healthy")


def test_fail_on() -> None:
    assert whyrss(LAZYFREE, "--fail-on", "problem")[0] == 1
    assert whyrss(LAZYFREE, "--fail-on=note")[0] == 1
    assert whyrss(HEALTHY, "--fail-on", "problem")[0] == 0
    assert whyrss(HEALTHY, "--fail-on", "note")[0] == 1  # its own live heap is worth a note


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense", "1"], "unknown option --nonsense"),
        (["1", "2"], "one target at a time"),
        (["--basis", "pages", "1"], "--basis takes one of auto, page, vma"),
        (["1", "--fail-on"], "--fail-on takes one of"),
        (["--json"], "no target"),
    ],
)
def test_wrong_usage(arguments: list[str], words: str) -> None:
    code, out, err = whyrss(*arguments)
    assert (code, out) == (2, "")
    assert words in err and err.count("\n") == 1


def test_help_and_version() -> None:
    assert whyrss("--version") == (0, f"whyrss {__version__}\n", "")
    code, out, _ = whyrss("--help")
    assert code == 0 and max(map(len, out.splitlines())) <= 80
    for command in ("reclaim", "record", "policy", "lab"):
        assert command in out
        assert whyrss(command, "--help")[0] == 0


def test_colours_only_on_a_terminal_and_only_where_wanted() -> None:
    def on_a_terminal(*words: str, **environ: str) -> bytes:
        pid, terminal = pty.fork()
        if not pid:
            os.execve(sys.executable, [sys.executable, "-m", "whyrss", *words], os.environ | environ)
        shown = b""
        try:
            while data := os.read(terminal, 4096):
                shown += data
        except OSError:
            pass  # the other end of a terminal that closed
        os.waitpid(pid, 0)
        return shown

    os.environ.pop("NO_COLOR", None)
    assert b"\x1b[1m" in on_a_terminal(LAZYFREE)
    assert b"\x1b" not in on_a_terminal(LAZYFREE, NO_COLOR="1")
    assert b"\x1b" not in on_a_terminal(LAZYFREE, "--no-color")


def test_a_reader_that_went_away() -> None:
    command = f"{sys.executable} -m whyrss {LAZYFREE} --json | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{\n", "")


@linux
def test_names_that_could_drive_a_terminal(tmp_path: Path) -> None:
    hostile = tmp_path / "a\x1b[31m\nb"
    hostile.symlink_to("/bin/sleep")
    child = subprocess.Popen([hostile, "600"])
    try:
        code, out, err = whyrss(str(child.pid))
        assert code == 0 and "\x1b" not in out + err
        found = document(str(child.pid))
        jsonschema.validate(found, SCHEMA)
    finally:
        child.kill()
        child.wait()


@linux
def test_pid_option_forces_a_process(tmp_path: Path) -> None:
    """A file of the name of a PID, and a process of the name of a command."""
    (tmp_path / str(os.getpid())).write_text("no recording")
    assert whyrss(str(os.getpid()), cwd=tmp_path)[0] == 3
    assert whyrss("-p", str(os.getpid()), cwd=tmp_path)[0] == 0
    code, _, err = whyrss("-p", "policy")
    assert code == 3 and "no process is named policy" in err


def test_public_names() -> None:
    assert sorted(package.__all__) == ["Verdict", "open_source", "why"]
    verdict = package.why(package.open_source(LAZYFREE))
    assert isinstance(verdict, package.Verdict)
    assert not verdict.healthy
    with pytest.raises(AttributeError):
        _ = package.nonsense
