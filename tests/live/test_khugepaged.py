"""The kernel's own khugepaged brings back what Go has released, and whyrss names it.

Sets transparent huge pages of the whole machine to `always`, and khugepaged to hurry, for as long as the test runs;
so only with WHYRSS_TEST_THP=1, as root, and not beside other tests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import support
from tests.live.cli import assert_evidence, assert_sums, finding_of, problems, whyrss_json
from tests.live.measured import smaps_bytes
from whyrss.lab import toolchain
from whyrss.lab.causes import EXPERIMENTS

MIB = 1 << 20
SIZE_MIB = 96
THP = Path("/sys/kernel/mm/transparent_hugepage")
HURRY = {
    "khugepaged/scan_sleep_millisecs": "10",
    "khugepaged/alloc_sleep_millisecs": "10",
    "khugepaged/pages_to_scan": "65536",
    "khugepaged/max_ptes_none": "511",
    "enabled": "always",
}

pytestmark = pytest.mark.skipif(os.environ.get("WHYRSS_TEST_THP") != "1", reason="only with WHYRSS_TEST_THP=1")


@pytest.fixture
def khugepaged() -> Iterator[None]:
    """Everything is put back, the last that was changed first."""
    before: list[tuple[Path, str]] = []
    try:
        for name, value in HURRY.items():
            path = THP / name
            text = path.read_text()
            before.append((path, text.partition("[")[2].partition("]")[0] or text.strip()))
            path.write_text(value)
        yield
    finally:
        for path, value in reversed(before):
            path.write_text(value)


@pytest.mark.parametrize("version", ["1.21", "1.27"])
def test_released_memory_is_refilled_and_named(version: str, khugepaged: None) -> None:
    program = toolchain.build(toolchain.find(version), Path(EXPERIMENTS["hugepage-refill"].go_source))
    with support.running([program, str(SIZE_MIB)]) as running:
        deadline = time.monotonic() + support.HUNG_SECONDS
        while smaps_bytes(running.pid, "AnonHugePages") < SIZE_MIB * MIB * 9 // 10:
            assert time.monotonic() < deadline, "khugepaged has not come"
            time.sleep(0.2)
        document = whyrss_json(running.pid)
        assert_sums(document)
        assert problems(document) == ["hugepage-refill"]
        finding = finding_of(document, "hugepage-refill")
        assert finding["confidence"] == "certain"
        assert finding["bytes"] >= SIZE_MIB * MIB * 3 // 4
        assert {fix["kind"] for fix in finding["fixes"]} >= {"kernel"}
        assert_evidence(finding)
        assert running.ask("check").startswith("OK")


@pytest.mark.parametrize("version", ["1.27"])
def test_disablethp_keeps_it_away(version: str, khugepaged: None) -> None:
    """What the finding advises."""
    program = toolchain.build(toolchain.find(version), Path(EXPERIMENTS["hugepage-refill"].go_source))
    with support.running([program, str(SIZE_MIB)], {"GODEBUG": "disablethp=1"}) as running:
        time.sleep(5)  # khugepaged comes within 10 ms
        assert smaps_bytes(running.pid, "AnonHugePages") < 4 * MIB
        assert problems(whyrss_json(running.pid)) == []
