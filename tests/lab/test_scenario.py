"""Scenario files: what they mean, what is refused and with which words, and how much memory one may need."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whyrss.environment import NO_LIMIT_BYTES
from whyrss.errors import UsageError
from whyrss.lab import library
from whyrss.lab.peak import CONSTANT_BYTES
from whyrss.lab.scenario import PHASES, Scenario, changed, load_scenario, parse_scenario, peak_bytes

EXAMPLES = sorted(Path(library.FOLDER).glob("*.toml"))
MIB = 1 << 20


def parse(*phases: str, top: str = 'go = "1.22"') -> Scenario:
    """Each phase is its lines, divided by semicolons."""
    tables = "".join("\n[[phase]]\n" + phase.replace(";", "\n") + "\n" for phase in phases)
    return parse_scenario((top.replace(";", "\n") + "\n" + tables).encode(), "/some/where/x.toml")


def toml(scenario: Scenario) -> bytes:
    """as_dict() as a file: JSON's texts, numbers and booleans are TOML's too."""
    document = scenario.as_dict()
    phases = document.pop("phase")
    lines = [f"{key} = {json.dumps(value)}" for key, value in document.items()]
    for phase in phases:
        lines += ["[[phase]]", *(f"{key} = {json.dumps(value)}" for key, value in phase.items())]
    return "\n".join(lines).encode()


ALLOCATE = 'do = "allocate"; bytes = "256MiB"; size = "1MiB"'
ALL = (
    ALLOCATE,
    'do = "allocate"; bytes = "1.5G"; size = 4096; keep = false; touch = false',
    'do = "free"; share = 0.9921875; pattern = "newest"',
    'do = "free"',
    'do = "touch"',
    'do = "gc"',
    'do = "free-os-memory"',
    'do = "scavenge"',
    'do = "pressure"; limit = "64MiB"',
    'do = "wait"; for = "1.5m"',
    'do = "goroutines"; count = 20000; stack = "8KiB"',
    'do = "exit"',
)


def test_every_phase_is_read() -> None:
    phases = parse(*ALL).phases
    assert {phase.do for phase in phases} == set(PHASES)
    assert (phases[0].bytes, phases[0].size_bytes, phases[0].keep, phases[0].touch) == (256 * MIB, MIB, True, True)
    assert (phases[1].bytes, phases[1].size_bytes, phases[1].keep, phases[1].touch) == (
        1536 * MIB,
        4096,
        False,
        False,
    )
    assert (phases[2].share, phases[2].pattern) == (127 / 128, "newest")
    assert (phases[3].share, phases[3].pattern) == (1.0, "interleaved")
    assert phases[8].limit_bytes == 64 * MIB
    assert phases[9].for_s == 90
    assert (phases[10].count, phases[10].stack_bytes) == (20000, 8192)


def test_labels() -> None:
    assert [phase.label for phase in parse(*ALL).phases] == [
        *("allocate 256MiB", "garbage 1536MiB", "free 99.2 % newest", "free all", "touch", "gc", "free-os-memory"),
        *("scavenge", "pressure 64MiB", "wait 90s", "goroutines 20000", "exit"),
    ]


def test_settings() -> None:
    top = 'go = "go1.19.8"; godebug = "madvdontneed=0"; gogc = "off"; gomemlimit = "400MiB"; kernel = "4.4"'
    scenario = parse(ALLOCATE, top=top)
    assert (scenario.name, scenario.go.text) == ("x", "go1.19.8")
    assert (scenario.godebug, scenario.godebug_text) == ({"madvdontneed": "0"}, "madvdontneed=0")
    assert (scenario.gogc, scenario.gomemlimit_bytes, scenario.kernel) == (-1, 400 * MIB, "4.4")
    plain = parse(ALLOCATE)
    assert (plain.godebug, plain.gogc, plain.gomemlimit_bytes, plain.kernel) == ({}, 100, NO_LIMIT_BYTES, "")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path: Path) -> None:
    scenario = load_scenario(str(path))
    assert scenario.name == path.stem
    assert path.read_text().startswith("# ")
    assert parse_scenario(toml(scenario), "x").as_dict() == scenario.as_dict()


def test_there_are_examples() -> None:
    assert {"madv_free", "gomemlimit", "fragmentation", "sawtooth", "goroutines", "headroom"} <= {
        path.stem for path in EXAMPLES
    }


def test_as_dict_says_the_same() -> None:
    scenario = parse(*ALL, top='go = "1.27"; name = "all"; gogc = 50; gomemlimit = "1GiB"; kernel = "6.1.0"')
    assert parse_scenario(toml(scenario), "other").as_dict() == scenario.as_dict()


@pytest.mark.parametrize(
    ("phase", "words"),
    [
        ("", "phase 2: no do"),
        ("do = 1", "unknown phase 1"),
        ('do = "alloc"', "unknown phase 'alloc'"),
        ('do = "allocate"; bytes = "1MiB"', "phase 2 (allocate): no size"),
        ('do = "allocate"; size = "1MiB"', "no bytes"),
        ('do = "gc"; bytes = "1MiB"', "phase 2 (gc): 'bytes' is not for it"),
        ('do = "wait"; for = "1s"; "a\\nb" = 1', "'a\\nb' is not for it"),
        ('do = "allocate"; bytes = "1MiB"; size = "2MiB"', "size: one object is larger"),
        ('do = "allocate"; bytes = 0; size = 1', "bytes: 0 is not between 1 byte and 1TiB"),
        ('do = "allocate"; bytes = "1025GiB"; size = 1', "not between 1 byte and 1TiB"),
        ('do = "allocate"; bytes = true; size = 1', "bytes: True is not a size"),
        ('do = "allocate"; bytes = 1.5; size = 1', "bytes: 1.5 is not a size"),
        ('do = "allocate"; bytes = "1_0MiB"; size = 1', "is no size"),
        ('do = "allocate"; bytes = "-1MiB"; size = 1', "is no size"),
        ('do = "allocate"; bytes = "1XB"; size = 1', "is no size"),
        ('do = "allocate"; bytes = "1MiB"; size = 1; keep = "no"', "keep: 'no' is neither true nor false"),
        ('do = "free"; share = 0', "share: 0 is not above 0 and at most 1"),
        ('do = "free"; share = 1.01', "share: 1.01"),
        ('do = "free"; share = nan', "share: nan"),
        ('do = "free"; share = true', "share: True is no number"),
        ('do = "free"; pattern = "random"', "pattern: 'random' is none of interleaved"),
        ('do = "free"; pattern = ["a"]', "pattern: a list is none of"),
        ('do = "wait"', "no for"),
        ('do = "wait"; for = 120', "for: 120 is no duration"),
        ('do = "wait"; for = "2 min"', "is no duration"),
        ('do = "wait"; for = "0.1ms"', "not between 1ms and 7 days"),
        ('do = "wait"; for = "169h"', "not between 1ms and 7 days"),
        ('do = "pressure"', "no limit"),
        ('do = "goroutines"; count = 1000001; stack = "8KiB"', "count: 1000001 is not between"),
        ('do = "goroutines"; count = 1; stack = "3KiB"', "no power of two"),
        ('do = "goroutines"; count = 1; stack = "1KiB"', "no power of two"),
        ('do = "goroutines"; count = 1; stack = "2MiB"', "no power of two"),
    ],
)
def test_a_phase_that_means_nothing(phase: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(ALLOCATE, phase)
    message = str(raised.value)
    assert message.startswith("/some/where/x.toml: phase 2")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("top", "words"),
    [
        ("", "no go"),
        ("go = 1.20", "go: 1.2 is no text; put it in quotes"),
        ('go = "1.8"', "Go 1.8"),
        ('go = "1.28"', "Go 1.28"),
        ('go = "devel go1.22-abc"', "between two releases"),
        ('go = "1.22"; gcpercent = 1', "unknown key 'gcpercent'"),
        ('go = "1.22"; gogc = 0', "gogc: 0 is neither"),
        ('go = "1.22"; gogc = -1', "gogc: -1"),
        ('go = "1.22"; gogc = 2147483648', "gogc: 2147483648"),
        ('go = "1.22"; gogc = "lots"', "gogc: 'lots'"),
        ('go = "1.22"; gomemlimit = "400MB"', "Go would not start with it"),
        ('go = "1.22"; gomemlimit = "1.5GiB"', "Go would not start with it"),
        ('go = "1.22"; gomemlimit = true', "gomemlimit: True"),
        ('go = "1.22"; kernel = "new"', "kernel: new is no kernel release"),
        ('go = "1.22"; godebug = "madvdontneed"', "'madvdontneed' in 'madvdontneed' is not KEY=VALUE"),
        ('go = "1.22"; godebug = "=1"', "is not KEY=VALUE"),
        ('go = "1.22"; godebug = "gctrace=0,madvdontneed=yes"', "Go 1.22 reads no number in it"),
        ('go = "1.22"; godebug = "madvdontneed=+1"', "Go 1.22 reads no number in it"),
        ('go = "1.22"; godebug = "a=\\u0000"', "godebug: "),
        ('go = "1.22"; name = 7', "name: 7 is no text"),
        ('go = "1.22"; phase = 1', "no TOML"),
    ],
)
def test_settings_that_mean_nothing(top: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(ALLOCATE, top=top)
    assert str(raised.value).startswith("/some/where/x.toml: ")
    assert words in str(raised.value)


def test_numbers_in_godebug_are_read_as_that_go_reads_them() -> None:
    """runtime/runtime1.go: strconv.ParseInt from Go 1.26 on, atoi32 before (facts/go.py, plus_is_number)."""
    assert parse(ALLOCATE, top='go = "1.26"; godebug = "madvdontneed=+1"').godebug == {"madvdontneed": "+1"}
    assert parse(ALLOCATE, top='go = "1.25"; godebug = "madvdontneed=-"').godebug == {"madvdontneed": "-"}
    with pytest.raises(UsageError):
        parse(ALLOCATE, top='go = "1.26"; godebug = "madvdontneed=-"')


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'go = "1.22"', "no phases"),
        (b'go = "1.22"\nphase = []', "no phases"),
        (b'go = "1.22"\nphase = [1]', "phase 1: 1 is no table"),
        (b"go = ", "no TOML"),
        (b"\xff", "no TOML"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"go = " + b"1" * 5000, "no TOML"),
        (b"#" * ((1 << 20) + 1), "larger than 1 MiB"),
        (b'go = "1.22"\n' + b'[[phase]]\ndo = "gc"\n' * 1001, "1001 phases; at most 1000"),
        (b'go = "1.22"\n[[phase]]\ndo = "wait"\nfor = 0x' + b"f" * 5000, "a number this large is no duration"),
    ],
    ids=range(10),
)
def test_a_file_that_is_no_scenario(data: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=r"^x: ") as raised:
        parse_scenario(data, "x")
    assert words in str(raised.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (str(tmp_path), str(tmp_path / "none"), "a\0b"):
        with pytest.raises(UsageError):
            load_scenario(path)


@pytest.mark.parametrize(
    ("setting", "attribute", "value"),
    [
        ("godebug=madvdontneed=1", "godebug", {"madvdontneed": "1"}),
        ("gogc=50", "gogc", 50),
        ("gogc=off", "gogc", -1),
        ("gomemlimit=400MiB", "gomemlimit_bytes", 400 * MIB),
        ("kernel=4.4", "kernel", "4.4"),
        ("godebug=", "godebug", {}),
    ],
)
def test_changed(setting: str, attribute: str, value: object) -> None:
    before = parse(*ALL, top='go = "1.15"; godebug = "gctrace=1"')
    after = changed(before, setting)
    key = setting.partition("=")[0]
    assert getattr(after, attribute) == value
    assert {**after.as_dict(), key: None} == {**before.as_dict(), key: None}
    assert changed(before, "go=1.19").go.minor == 19


@pytest.mark.parametrize("setting", ["", "gogc", "gogc=0", "go=2", "name=x", "phase=1", "kernel=x", "gomemlimit=1MB"])
def test_changed_to_nonsense(setting: str) -> None:
    with pytest.raises(UsageError):
        changed(parse(ALLOCATE), setting)


def test_a_setting_that_only_the_other_go_reads() -> None:
    with pytest.raises(UsageError, match=r"Go 1\.22 reads no number"):
        changed(parse(ALLOCATE, top='go = "1.26"; godebug = "madvdontneed=+1"'), "go=1.22")


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    _only_usage_errors(data)


VALUES = st.sampled_from(
    ['"1MiB"', "1", "-1", "0", "nan", "1e400", "true", '""', '"2m"', '"oldest"', '"8KiB"', "[]", "{}", "1979-05-27",
     "9" * 25, '"off"', '"1.22"', '"gc"', '"a=1"', '"9999999999999999999999"', '"."', '"1.MiB"', "0.5", '"é"']
)  # fmt: skip
KEYS = st.sampled_from(
    [
        *("do", "bytes", "size", "keep", "touch", "share", "pattern", "limit", "for", "count", "stack", "go", "gogc"),
        *("godebug", "gomemlimit", "kernel", "name", "phase", '"\\n"'),
    ]
)


@settings(max_examples=400)
@given(
    st.dictionaries(KEYS, VALUES), st.lists(st.tuples(st.sampled_from(sorted(PHASES)), st.dictionaries(KEYS, VALUES)))
)
def test_any_values(top: dict[str, str], phases: list[tuple[str, dict[str, str]]]) -> None:
    lines = [f"{key} = {value}" for key, value in {"go": '"1.22"', **top}.items()]
    for do, keys in phases:
        lines += ["[[phase]]", *(f"{key} = {value}" for key, value in {"do": f'"{do}"', **keys}.items())]
    _only_usage_errors("\n".join(lines).encode())


def _only_usage_errors(data: bytes) -> None:
    try:
        scenario = parse_scenario(data, "x.toml")
    except UsageError as error:
        assert str(error).isprintable()
        return
    assert tomllib.loads(toml(scenario).decode()) == json.loads(json.dumps(scenario.as_dict()))
    assert peak_bytes(scenario) > 0


def peak(*phases: str, top: str = 'go = "1.22"') -> int:
    return peak_bytes(parse(*phases, top=top)) - CONSTANT_BYTES


HOLDER = 2048  # 256 pointers are one object of the class of 2048 bytes, with an eighth for the end of its span
GARBAGE = 'do = "allocate"; bytes = "1GiB"; size = "1MiB"; keep = false'


def test_peak_of_live_objects() -> None:
    assert peak(ALLOCATE) == 256 * MIB + HOLDER * 9 // 8
    assert peak('do = "allocate"; bytes = "64MiB"; size = "64B"') == 64 * MIB * 9 // 8 + 8 * MIB
    assert peak('do = "allocate"; bytes = "64MiB"; size = "8193B"') > 64 * MIB * 9472 / 8193


def test_peak_of_garbage_ends_at_the_goal() -> None:
    """256 MiB live: the goal is 512 MiB at GOGC=100, and one object may go past it."""
    assert 512 * MIB <= peak(ALLOCATE, GARBAGE) <= 514 * MIB
    assert 384 * MIB <= peak(ALLOCATE, GARBAGE, top='go = "1.22"; gogc = 50') <= 386 * MIB
    assert 1280 * MIB <= peak(ALLOCATE, GARBAGE, top='go = "1.22"; gogc = "off"') <= 1281 * MIB


def test_peak_with_a_memory_limit_counts_only_where_go_has_one() -> None:
    """Go 1.19 is the first (runtime/mgcpacer.go, readGOMEMLIMIT)."""
    top = 'go = "1.{}"; gogc = "off"; gomemlimit = "400MiB"'
    assert 400 * MIB <= peak(ALLOCATE, GARBAGE, top=top.format(19)) <= 402 * MIB
    assert peak(ALLOCATE, GARBAGE, top=top.format(18)) > 1280 * MIB


def test_peak_uses_memory_again() -> None:
    rounds = [ALLOCATE, 'do = "free"', 'do = "gc"']
    assert peak(*rounds * 5) == peak(*rounds) == peak(ALLOCATE)
    larger = 'do = "allocate"; bytes = "256MiB"; size = "2MiB"'
    # Holes of 1 MiB may be of no use to objects of 2 MiB; an empty heap is.
    half = 'do = "free"; share = 0.5'
    assert peak(ALLOCATE, half, 'do = "gc"', larger) >= 512 * MIB
    assert peak(ALLOCATE, 'do = "free"', 'do = "gc"', larger) < 258 * MIB


def test_peak_of_stacks() -> None:
    start = 'do = "goroutines"; count = 1000; stack = "64KiB"'
    assert peak(start) == 1000 * (64 << 10) + 1000 * 512
    # What exited leaves its stack behind until a collection.
    assert peak(start, 'do = "exit"', start) >= 2 * 1000 * (64 << 10)
    assert peak(start, 'do = "exit"', 'do = "gc"', start) == 1000 * (64 << 10) + 2 * 1000 * 512


SIZES = st.sampled_from(["1B", "17B", "64B", "1000B", "3KiB", "33KiB", "100KiB", "1MiB"])
ROUNDS = st.one_of(
    st.builds(
        lambda size, mib, keep: f'do = "allocate"; bytes = "{mib}MiB"; size = "{size}"; keep = {keep}',
        SIZES.filter(lambda size: size not in ("1B", "17B")), st.integers(1, 12), st.sampled_from(["true", "false"]),
    ),
    st.builds(
        lambda share, pattern: f'do = "free"; share = {share}; pattern = "{pattern}"',
        st.sampled_from([0.3, 0.5, 0.9, 1]), st.sampled_from(["oldest", "newest", "interleaved"]),
    ),
    st.sampled_from(['do = "gc"', 'do = "exit"', 'do = "wait"; for = "3m"', 'do = "free-os-memory"']),
    st.builds(
        lambda count, stack: f'do = "goroutines"; count = {count}; stack = "{stack}"',
        st.integers(1, 500), st.sampled_from(["2KiB", "8KiB", "32KiB"]),
    ),
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(
    st.lists(ROUNDS, min_size=1, max_size=8),
    st.sampled_from(["1.11", "1.15", "1.19", "1.24", "1.27"]),
    st.sampled_from(['"off"', "25", "100", "300"]),
)
def test_the_model_stays_below_its_peak(phases: list[str], go: str, gogc: str) -> None:
    """On real memory: the kernel's RSS of the model's heap, at the end of every phase."""
    run: Any = pytest.importorskip("whyrss.lab.run")
    scenario = parse(*phases, top=f'go = "{go}"; gogc = {gogc}')
    samples = run.Course(scenario).run()["samples"]
    assert max(sample["rss_bytes"] for sample in samples) <= peak_bytes(scenario)
