"""Each format against what a real Go program writes, and against its own definition."""

from __future__ import annotations

import gzip
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.served import MIB, RECORDS, VERSIONS, by_go, made_up, real
from whyrss.lab.formats import RATE_BYTES, Record, expvar, pprof, profile, prometheus
from whyrss.lab.memstats import MemStats
from whyrss.policy import GoVersion

GO = GoVersion.parse("go1.27.3")
FRAME = re.compile(r"#\t0x[0-9a-f]+\t+\S.*\+0x[0-9a-f]+\t+\S+:\d+")
RECORD = re.compile(r"(\d+): (\d+) \[(\d+): (\d+)\] @((?: 0x[0-9a-f]+)+)")
HEADER = re.compile(r"heap profile: (\d+): (\d+) \[(\d+): (\d+)\] @ heap/(\d+)")


def names_in(trailer: str) -> list[str]:
    return [line.split(" = ")[0] for line in trailer.splitlines()]


def split(text: str) -> tuple[str, str]:
    """The records, and the lines of MemStats."""
    records, trailer = text.split("\n\n# runtime.MemStats\n")
    return records, trailer


@pytest.mark.parametrize("version", VERSIONS)
def test_text_has_the_lines_of_a_real_one(version: str) -> None:
    theirs = by_go(version, "text")
    ours = pprof.text(made_up(), RECORDS, GoVersion.parse(version), 0).decode()
    assert names_in(split(ours)[1]) == names_in(split(theirs)[1])
    assert ours[-1] == theirs[-1] == "\n"
    for text in (ours, theirs):
        first, *rest = split(text)[0].splitlines()
        assert HEADER.fullmatch(first)
        assert all(not line or RECORD.fullmatch(line) or FRAME.fullmatch(line) for line in rest), rest


@pytest.mark.parametrize("version", VERSIONS)
def test_text_writes_real_figures_as_go_does(version: str) -> None:
    """The trailer of a real program is read, and written again byte by byte."""
    theirs = split(by_go(version, "text"))[1]
    stats = made_up()
    fields = {name: fields for name, *fields in pprof.TRAILER}
    for line in theirs.splitlines():
        name, value = line.removeprefix("# ").split(" = ")
        for field, each in zip(fields.get(name, []), value.split(" / "), strict=name != "MaxRSS"):
            stats[field] = json.loads(each.replace(" ", ","))  # type: ignore[literal-required]
    most_bytes = int(theirs.rsplit(" = ", 1)[1])
    assert split(pprof.text(stats, [], GoVersion.parse(version), most_bytes).decode())[1] == theirs


@pytest.mark.parametrize("version", VERSIONS)
def test_records_are_aligned_as_go_aligns_them(version: str) -> None:
    """The frames of a real profile, columns apart, come out with the same tabs."""
    blocks = re.findall(r"(?:#\t0x.*\n)+", by_go(version, "text"))
    assert blocks
    for block in blocks:
        rows = [re.split("\t+", line) for line in block.splitlines()]
        assert pprof._aligned(rows) == block.splitlines()


def test_the_largest_record_is_first_up_to_go_1_22() -> None:
    for go, largest in (("go1.22.10", 0), ("go1.23.9", 1)):
        text = pprof.text(made_up(), RECORDS, GoVersion.parse(go), 0, rate_bytes=1).decode()
        assert [int(found[1]) for found in RECORD.findall(text)].index(16 * MIB) == largest


def test_max_rss_is_said_from_go_1_15_on() -> None:
    said = [b"# MaxRSS = 77\n" in pprof.text(made_up(), [], GoVersion(minor), 77) for minor in range(9, 28)]
    assert said == [False] * 6 + [True] * 13


@pytest.mark.parametrize(("minor", "more"), [(19, 0), (21, 1)])
def test_alloc_of_the_header_is_not_inuse_since_go_1_21(minor: int, more: int) -> None:
    records = [Record(4, 4 * MIB, 4, 4 * MIB, ("f",))]
    first = pprof.text(made_up(), records, GoVersion(minor), 0, rate_bytes=1).decode().splitlines()[0]
    assert first == f"heap profile: 4: {4 * MIB} [4: {4 * MIB + more}] @ heap/2"


@given(st.integers(1, 1 << 30), st.integers(1, 1 << 30))
def test_sampling_is_what_readers_scale_up(objects: int, object_bytes: int) -> None:
    """Scaled up as runtime/pprof/protomem.go does, off by no more than the half object of rounding."""
    record = Record(objects, objects * object_bytes, objects, objects * object_bytes, ("f",))
    found = pprof.sampled(record, RATE_BYTES)
    share = 1 - math.exp(-object_bytes / RATE_BYTES)
    assert abs(found.inuse_objects / share - objects) <= 0.5 / share + 1e-6 * objects
    assert found.inuse_bytes == found.inuse_objects * object_bytes
    assert pprof.sampled(record, 1) == record


def test_what_no_sample_finds_is_no_record() -> None:
    text = pprof.text(made_up(), [Record(9, 9 * 8, 9, 9 * 8, ("f",))], GO, 0).decode()
    assert not RECORD.search(text.partition("\n")[2])


@pytest.mark.parametrize("version", VERSIONS)
def test_expvar_of_a_real_record_is_the_real_document(version: str) -> None:
    theirs = by_go(version, "vars")
    assert json.loads(theirs)["memstats"]["NumGC"] > 0
    cmdline = json.loads(theirs)["cmdline"]
    ours = expvar.document(real(version), cmdline).decode()
    assert re.sub(r'"GCCPUFraction":[^,]*', "", ours) == re.sub(r'"GCCPUFraction":[^,]*', "", theirs)
    assert json.loads(ours) == json.loads(theirs)


def test_expvar_keeps_the_order_of_go() -> None:
    stats = made_up()
    turned = dict(reversed(list(stats.items())))
    assert expvar.document(turned, ["a"]) == expvar.document(stats, ["a"])  # type: ignore[arg-type]


@given(st.integers(-(1 << 63), (1 << 64) - 1))
def test_varint_is_read_back(value: int) -> None:
    encoded = profile.varint(value)
    assert [byte >> 7 for byte in encoded] == [1] * (len(encoded) - 1) + [0]
    assert sum((byte & 0x7F) << 7 * place for place, byte in enumerate(encoded)) == value % (1 << 64)
    assert len(encoded) == max(1, -(-(value % (1 << 64)).bit_length() // 7))


def test_varint_of_the_specification() -> None:
    """protobuf.dev, "Encoding": 150 is 96 01."""
    assert profile.varint(150) == b"\x96\x01"
    assert profile.number(1, 150) == b"\x08\x96\x01"
    assert profile.delimited(2, b"testing") == b"\x12\x07testing"
    assert profile.packed(6, [3, 270, 86942]) == b"\x32\x06\x03\x8e\x02\x9e\xa7\x05"


def test_profile_is_the_same_for_the_same_records() -> None:
    assert profile.profile(RECORDS, 5) == profile.profile(RECORDS, 5)
    assert gzip.decompress(profile.profile(RECORDS, 5)).count(b"main.main") == 1


def exposed(stats: MemStats) -> dict[str, float]:
    text = prometheus.exposition(stats, GO, 4096, 1.5).decode()
    samples = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in samples}


def test_metrics_have_the_value_of_their_field() -> None:
    stats = made_up()
    found = exposed(stats)
    assert found.pop('go_info{version="go1.27.3"}') == 1
    assert found.pop("process_resident_memory_bytes") == 4096
    assert found.pop("process_start_time_seconds") == 1.5
    assert found.pop("go_gc_duration_seconds_count") == stats["NumGC"]
    assert found.pop("go_gc_duration_seconds_sum") == stats["PauseTotalNs"] / 1e9
    assert found.pop("go_memstats_last_gc_time_seconds") == stats["LastGC"] / 1e9
    unnamed = {"Lookups", "LastGC", "PauseTotalNs", "NumGC", "NumForcedGC"}
    integers = {name: value for name, value in stats.items() if type(value) is int and name not in unnamed}
    assert sorted(found.values()) == sorted(integers.values())
    for name in ("Sys", "HeapReleased", "HeapIdle", "OtherSys", "NextGC", "BuckHashSys"):
        metric = "go_memstats_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower() + "_bytes"
        assert found[metric] == integers[name]


def test_the_families_are_sorted_and_said_once() -> None:
    text = prometheus.exposition(made_up(), GO, 0, 0).decode()
    helped, typed = (re.findall(rf"^# {word} (\S+) ", text, re.MULTILINE) for word in ("HELP", "TYPE"))
    assert helped == typed == sorted(set(helped))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1, "1"), (-3, "-3"), (0.25, "0.25"), (100000, "100000"), (999999, "999999"), (1000000, "1e+06"),
        (12345678, "1.2345678e+07"), ((1 << 64) - 1, "1.8446744073709552e+19"), (0.0001, "0.0001"),
        (0.000012345, "1.2345e-05"),
    ],
)  # fmt: skip
def test_numbers_are_written_as_strconv_does(value: float, text: str) -> None:
    """strconv.FormatFloat(value, 'g', -1, 64): what prometheus itself shows for such values."""
    assert prometheus.number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_read_back(value: float) -> None:
    assert float(prometheus.number(value)) == value
