"""whyrss on live processes, and what holds for every document that it prints of one."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests import cli

# No check of a figure takes a tenth of this; it bounds a hang, not a measurement.
HUNG_SECONDS = 120.0


def whyrss(*args: str | int, env: Mapping[str, str] | None = None, under: Sequence[str] = ()) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `whyrss ARGS`; `under` is a command that starts it, such as setpriv."""
    return cli.whyrss(*map(str, args), prefix=under, env=env)


def whyrss_json(*args: str | int) -> dict[str, Any]:
    """The document that `whyrss ARGS --json` prints, which has to end with 0 and to say nothing else."""
    code, out, err = whyrss(*args, "--json")
    assert (code, err) == (0, ""), (code, out, err)
    document: dict[str, Any] = json.loads(out)
    return document


def lines(account: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every line of an account with its path; the root has none: "heap", "heap/released"."""
    yield path, account
    for child in account["children"]:
        yield from lines(child, f"{path}/{child['name']}".lstrip("/"))


def line_bytes(document: dict[str, Any], path: str) -> int:
    """The bytes of the line at that path, which has to be there once."""
    (found,) = [line["bytes"] for at, line in lines(document["account"]) if at == path]
    return int(found)


def assert_sums(document: dict[str, Any]) -> None:
    """Every parent is the sum of its children, the root is RSS, and what is unattributed is always said."""
    for path, line in lines(document["account"]):
        assert line["bytes"] >= 0, path
        if line["children"]:
            assert line["bytes"] == sum(child["bytes"] for child in line["children"]), path
            names = [child["name"] for child in line["children"]]
            assert len(names) == len(set(names)), path
    assert document["account"]["name"] == "rss"
    assert document["account"]["bytes"] == document["rss_bytes"]
    assert line_bytes(document, "unattributed") == document["unattributed_bytes"]


def problems(document: dict[str, Any]) -> list[str]:
    """The causes of the findings that are problems, the first first."""
    return [finding["cause"] for finding in document["findings"] if finding["weight"] == "problem"]


def finding_of(document: dict[str, Any], cause: str) -> dict[str, Any]:
    """The finding of that cause, which has to be there once."""
    (found,) = [finding for finding in document["findings"] if finding["cause"] == cause]
    return dict(found)


def assert_evidence(finding: dict[str, Any]) -> None:
    """Each check, run alone by sh, prints its value: within 2 %, or 256 KiB of a moving process, 2 of what is
    counted; and a word as it is."""
    assert finding["evidence"]
    for evidence in finding["evidence"]:
        argv = ["sh", "-c", evidence["check"]]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=HUNG_SECONDS, check=False)
        assert (done.returncode, done.stderr) == (0, ""), evidence
        value = evidence["value"]
        if isinstance(value, str):
            assert done.stdout.strip() == value, evidence
            continue
        least = 256 << 10 if evidence["unit"] == "bytes" else 2
        assert abs(float(done.stdout) - value) <= max(abs(value) * 0.02, least), evidence
