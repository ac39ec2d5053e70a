"""`whyrss lab`: the whole story on this machine, with and without Go."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests import support
from tests.live.cli import whyrss
from tests.live.measured import needs_reclaim
from whyrss.errors import TargetError
from whyrss.lab.child import Child


def test_without_go_the_lab_shows_cause_fix_and_effect(tmp_path: Path) -> None:
    needs_reclaim()
    assert_story(*whyrss("lab", "lazyfree", "--size", "64MiB", env={"PATH": str(tmp_path)}))


@pytest.mark.parametrize("version", ["1.15", "1.27"])
def test_with_go_the_lab_shows_the_same(version: str) -> None:
    support.needs_linux()
    needs_reclaim()
    assert_story(*whyrss("lab", "lazyfree", "--go", version, "--size", "64MiB"))


def assert_story(code: int, out: str, err: str) -> None:
    """Explained, reclaimed, explained: a problem of about 64 MiB, then none; and the live data is whole."""
    assert (code, err) == (0, "")
    # 8 MiB of live blocks of 64 KiB.
    assert "OK 128 blocks" in out
    steps = re.split(r"^\$ whyrss ", out, flags=re.MULTILINE)[1:]
    pid = int(steps[0].split()[0])
    assert [step.splitlines()[0] for step in steps] == [str(pid), f"reclaim {pid}", str(pid)]
    first, second, third = steps
    assert re.search(r"^(59|6\d)\.\d MiB of the \S+ MiB RSS were given back", first, re.MULTILINE)
    assert re.search(r"^PROBLEM lazyfree", first, re.MULTILINE)
    assert re.search(r"^The kernel took (59|6\d)\.\d MiB", second, re.MULTILINE)
    assert "PROBLEM" not in third
    assert third.startswith(f"{pid}\nHealthy")
    assert not Path(f"/proc/{pid}").exists()


def test_the_list_names_each_experiment() -> None:
    code, out, _ = whyrss("lab")
    assert code == 0
    assert out.startswith("lazyfree ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nonsense"], "nonsense"),
        (["lazyfree", "--size", "0"], "--size"),
        (["lazyfree", "--size", "1TiB"], "--size"),
        (["lazyfree", "--size", "much"], "much"),
        (["lazyfree", "--colour"], "--colour"),
    ],
)
def test_a_wrong_command_line_ends_with_2(words: list[str], said: str) -> None:
    code, out, err = whyrss("lab", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_a_go_that_cannot_be_had_is_said_in_one_line() -> None:
    code, out, err = whyrss("lab", "lazyfree", "--go", "one")
    assert (code, out) == (3, "")
    assert "'one'" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("program", "said"),
    [("raise SystemExit(7)", "code 7"), ("print('no'); import time; time.sleep(60)", "not become ready: no")],
)
def test_a_program_that_does_not_become_ready_is_an_error(program: str, said: str) -> None:
    with pytest.raises(TargetError, match=said), Child([sys.executable, "-c", program]):
        pass


def test_a_program_that_ended_cannot_be_asked() -> None:
    with Child([sys.executable, "-c", "print('READY {}', flush=True)"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(TargetError, match="ended"):
            child.ask("check")
