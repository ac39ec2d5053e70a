"""What is decided, against what real Go programs did, and against garbage."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tools import gen_docs_policy
from whyrss.commands.policy import is_version, run
from whyrss.errors import Missing, TargetError, UsageError
from whyrss.policy import (
    GoVersion,
    Policy,
    decide,
    fact_of,
    kernel_fact_of,
    parse_godebug,
    parse_kernel,
    parse_ldflags,
)

ALL = {"1.15.15", "1.19.8", "1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.6", "1.27.3"}
OLD = {"1.15.15"}
FROM_1_26 = {"1.26.6", "1.27.3"}

# Observed: the releases whose program, started with this GODEBUG on Linux 6.18, gave 256 MiB back with
# MADV_FREE (strace -f -e trace=madvise); the others of ALL used MADV_DONTNEED.
OBSERVED_FREE = {
    "": OLD,
    "madvdontneed=0": ALL,
    "madvdontneed=1": set(),
    "madvdontneed=-1": set(),
    "madvdontneed=00": ALL,
    "madvdontneed=+0": OLD | FROM_1_26,
    "madvdontneed=+1": OLD,
    "madvdontneed=-": ALL - FROM_1_26,
    "madvdontneed=x": OLD,
    "madvdontneed=": OLD,
    "madvdontneed= 0": OLD,
    " madvdontneed=0": OLD,
    "madvdontneed=0=1": OLD,
    "madvdontneed=2147483648": OLD,
    "madvdontneed=-2147483648": set(),
    "a,madvdontneed=0": ALL,
    "madvdontneed=0,madvdontneed=1": set(),
    "madvdontneed=1,madvdontneed=0": ALL,
    "madvdontneed=0,madvdontneed=x": ALL,
    "madvdontneed=1,madvdontneed=x": set(),
}


def policy_of(version: str, kernel: str = "6.1", godebug: str = "", ldflags: str = "") -> Policy:
    go = GoVersion.parse(version)
    return decide(go, kernel, parse_godebug(godebug, go), parse_ldflags(ldflags, go))


@pytest.mark.parametrize("godebug", OBSERVED_FREE)
@pytest.mark.parametrize("version", sorted(ALL))
def test_decides_what_was_observed(version: str, godebug: str) -> None:
    observed = "MADV_FREE" if version in OBSERVED_FREE[godebug] else "MADV_DONTNEED"
    assert policy_of(version, "6.18.44", godebug).advice == observed


@pytest.mark.parametrize("minor", [9, 10, 11])
def test_before_1_12_the_variable_means_nothing(minor: int) -> None:
    policy = policy_of(f"go1.{minor}", godebug="madvdontneed=0")
    assert (policy.advice, policy.chosen_by) == ("MADV_DONTNEED", f"default of Go 1.{minor}")
    assert any("does not know madvdontneed" in step for step in policy.steps)


@pytest.mark.parametrize("kernel", ["3.10.0-1160.el7.x86_64", "4.4", "4.4.0-210-generic"])
@pytest.mark.parametrize(("version", "godebug"), [("go1.12", ""), ("go1.15.15", ""), ("go1.27", "madvdontneed=0")])
def test_a_kernel_before_4_5_makes_it_fall_back(version: str, godebug: str, kernel: str) -> None:
    policy = policy_of(version, kernel, godebug)
    assert (policy.chosen, policy.advice, policy.fallback) == ("MADV_FREE", "MADV_DONTNEED", "MADV_DONTNEED")
    assert policy.rss == "RSS falls at once"
    assert any("EINVAL" in step for step in policy.steps)


def test_nothing_falls_back_where_nothing_fails() -> None:
    assert policy_of("go1.15").fallback is None
    assert policy_of("go1.15", "4.4", "madvdontneed=1").fallback is None
    assert policy_of("go1.16", "4.4").fallback is None


@pytest.mark.parametrize(
    ("kernel", "lazy"),
    [("4.5", "with swap, "), ("4.11.12", "with swap, "), ("4.12", ""), ("5.0", ""), ("7.2", "")],
)
def test_what_madv_free_means_depends_on_the_kernel(kernel: str, lazy: str) -> None:
    rss = policy_of("go1.13.10", kernel).rss
    assert rss.startswith(f"{lazy}freed pages stay in RSS until the kernel needs them")
    assert ("without swap" in rss) == bool(lazy)


@pytest.mark.parametrize(
    ("version", "godebug", "ldflags", "chosen_by"),
    [
        ("go1.15.15", "", "", "default of Go 1.15"),
        ("go1.15.15", "madvdontneed=0", "", "GODEBUG=madvdontneed=0"),
        ("go1.15.15", "madvdontneed=x", "", "default of Go 1.15"),
        (
            "go1.27.3",
            "",
            "-X runtime.godebugDefault=madvdontneed=0",
            "-X runtime.godebugDefault=madvdontneed=0",
        ),
        ("go1.27.3", "madvdontneed=1", "-X runtime.godebugDefault=madvdontneed=0", "GODEBUG=madvdontneed=1"),
        (
            "go1.27.3",
            "madvdontneed=x",
            "-X=runtime.godebugDefault=madvdontneed=0",
            "-X runtime.godebugDefault=madvdontneed=0",
        ),
        ("go1.19", "", "-X runtime.godebugDefault=madvdontneed=0", "default of Go 1.19"),
        (
            "go1.20",
            "",
            "-X runtime.godebugDefault=madvdontneed=0",
            "-X runtime.godebugDefault=madvdontneed=0",
        ),
    ],
)
def test_says_who_chose(version: str, godebug: str, ldflags: str, chosen_by: str) -> None:
    assert policy_of(version, "6.1", godebug, ldflags).chosen_by == chosen_by


@pytest.mark.parametrize("minor", range(9, 28))
@pytest.mark.parametrize("godebug", ["", "madvdontneed=0", "madvdontneed=1", "madvdontneed=x"])
@pytest.mark.parametrize("kernel", ["3.10", "4.9", "6.1"])
def test_every_step_names_its_source(minor: int, godebug: str, kernel: str) -> None:
    policy = policy_of(f"go1.{minor}", kernel, godebug)
    assert len(policy.steps) >= 3
    for step in policy.steps:
        assert step.endswith("]")
        assert " [" in step


@pytest.mark.parametrize("minor", range(9, 28))
def test_says_what_follows_a_failure(minor: int) -> None:
    failure = next(step for step in policy_of(f"go1.{minor}").steps if step.startswith("Should "))
    assert ("mmap(MAP_FIXED)" in failure) == (minor >= 21)
    assert ("ignores it" in failure) == (minor <= 11 or 16 <= minor <= 20)


@pytest.mark.parametrize(
    ("text", "minor", "patch", "pre", "name"),
    [
        ("go1.15.15", 15, 15, "", "go1.15.15"),
        ("go1.27rc1", 27, 0, "rc1", "go1.27rc1"),
        ("1.16", 16, 0, "", "go1.16"),
        ("go1.21.0", 21, 0, "", "go1.21.0"),
        ("go1.9.7", 9, 7, "", "go1.9.7"),
        ("go1.24.4 X:greenteagc", 24, 4, "", "go1.24.4"),
        ("go1.26.0-X:nogreenteagc", 26, 0, "", "go1.26.0"),
        ("go1.18.3b7", 18, 3, "", "go1.18.3"),
        ("go1.21.5 (Red Hat 1.21.5-1.el9)", 21, 5, "", "go1.21.5"),
        ("go1.22.3+patched", 22, 3, "", "go1.22.3"),
    ],
)
def test_reads_a_version(text: str, minor: int, patch: int, pre: str, name: str) -> None:
    go = GoVersion.parse(text)
    assert (go.minor, go.patch, go.pre, go.text, str(go)) == (minor, patch, pre, name, name)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("go1.28", "Go 1.28 returns memory is not known"),
        ("go1.28rc1", "not known"),
        ("go1.8.7", "not known"),
        ("go1.100", "not known"),
        ("devel go1.28-abcdef Thu Jan 1 00:00:00 2026 +0000", "between two releases"),
        ("devel +5c8a4b3 Mon Jun 1 00:00:00 2020 +0000", "between two releases"),
        ("go1.12beta1", "between two releases"),
        ("go1.18 gccgo (Debian 12.2.0-14) 12.2.0 linux/amd64", "no release"),
        ("go1.15.", "no release"),
        ("go1", "no release"),
        ("go2.1", "no release"),
        ("go1.15.15.1", "no release"),
        ("go1.015", "no release"),
        ("go1.15rc", "no release"),
        ("go1.15foo", "no release"),
        ("go1.1\u0665", "no release"),
        ("", "no release"),
        ("\x1b[31mgo1.15", "no release"),
    ],
)
def test_never_takes_the_nearest_table(text: str, reason: str) -> None:
    with pytest.raises(Missing, match=reason) as caught:
        GoVersion.parse(text)
    assert "known: go1.9 to go1.27" in caught.value.reason
    assert caught.value.reason.isascii()
    assert caught.value.reason.isprintable()


def test_a_version_that_was_made_up_has_no_policy() -> None:
    with pytest.raises(Missing, match=r"Go 1\.28"):
        decide(GoVersion(28), "6.1", {})
    with pytest.raises(Missing):
        fact_of(15, "no_such_fact")
    with pytest.raises(Missing):
        kernel_fact_of((4, 4, 0), "free_pages")


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ("4.4", (4, 4, 0)),
        ("6.18.44-fc", (6, 18, 44)),
        ("5.10.0-32-cloud-amd64", (5, 10, 0)),
        ("3.10.0-1160.el7.x86_64", (3, 10, 0)),
        ("6.8-rc1", (6, 8, 0)),
        ("4.4.", (4, 4, 0)),
        ("4.19.112+", (4, 19, 112)),
    ],
)
def test_reads_a_kernel_release(text: str, release: tuple[int, int, int]) -> None:
    assert parse_kernel(text) == release


@pytest.mark.parametrize(
    "text",
    ["", "4", "4.", ".4", "4-4", "x.4", "Linux 4.4", "4.4\n", "4.4 \x1b", "9" * 6 + ".1", "4.4" + "x" * 70],
)
def test_refuses_what_is_no_kernel_release(text: str) -> None:
    with pytest.raises(UsageError, match="kernel release"):
        parse_kernel(text)


def test_this_machine_has_a_kernel_release() -> None:
    assert parse_kernel(os.uname().release) >= (3, 0, 0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("a=1,b=2", {"a": "1", "b": "2"}),
        ("a,b=2,,=3", {"b": "2", "": "3"}),
        ("netdns=go,netdns=cgo", {"netdns": "cgo"}),
        ("netdns=1,netdns=go", {"netdns": "go"}),
        ("madvdontneed=1,madvdontneed=x", {"madvdontneed": "1"}),
        ("madvdontneed=x,madvdontneed=1", {"madvdontneed": "1"}),
        ("madvdontneed=x", {"madvdontneed": "x"}),
        (" a = 1 ", {" a ": " 1 "}),
        ("a=b=c", {"a": "b=c"}),
    ],
)
def test_reads_godebug(text: str, expected: dict[str, str]) -> None:
    assert parse_godebug(text) == expected


@pytest.mark.parametrize(("version", "value"), [("go1.25", "0"), ("go1.26", "+1")])
def test_a_repeated_number_is_one_to_that_go(version: str, value: str) -> None:
    text = "madvdontneed=0,madvdontneed=+1"
    assert parse_godebug(text, GoVersion.parse(version)) == {"madvdontneed": value}


@pytest.mark.parametrize(
    "ldflags",
    [
        "-X runtime.godebugDefault=madvdontneed=0,gctrace=0",
        "-s -w -X=runtime.godebugDefault=madvdontneed=0,gctrace=0 -extldflags=-static",
        '-s -X "runtime.godebugDefault=madvdontneed=0,gctrace=0"',
        "'-X=runtime.godebugDefault=madvdontneed=0,gctrace=0'",
        "-X main.a=1 --X runtime.godebugDefault=x=1 -X runtime.godebugDefault=madvdontneed=0,gctrace=0",
    ],
)
def test_finds_what_was_linked_in(ldflags: str) -> None:
    assert parse_ldflags(ldflags) == {"madvdontneed": "0", "gctrace": "0"}


@pytest.mark.parametrize("ldflags", ["", "-s -w", "-X", "-X=", "-X main.godebugDefault=madvdontneed=0", "-X 'open"])
def test_finds_nothing_where_nothing_was_linked_in(ldflags: str) -> None:
    assert parse_ldflags(ldflags) == {}


versions = st.one_of(st.text(), st.from_regex(r"(go)?1\.[0-9]{1,3}(\.[0-9]{1,3})?(rc[0-9]*|beta1| X:a)?"))
values = st.one_of(st.text(), st.from_regex(r"[-+]?[0-9]{0,12}", fullmatch=True))


@settings(deadline=None)
@given(versions)
@example("go1.15.15" * 10000)
@example("go1." + "9" * 5000)
def test_garbage_for_a_version_is_missing_or_in_range(text: str) -> None:
    try:
        go = GoVersion.parse(text)
    except Missing as missing:
        assert len(missing.reason) < 400
        assert missing.reason.isascii()
        assert missing.reason.isprintable()
    else:
        assert 9 <= go.minor <= 27


@settings(deadline=None)
@given(st.text())
@example("4." + "4" * 5000)
def test_garbage_for_a_kernel_is_a_usage_error_or_three_numbers(text: str) -> None:
    try:
        release = parse_kernel(text)
    except UsageError as error:
        assert str(error).isprintable()
    else:
        assert len(release) == 3
        assert text.startswith(tuple(f"{zeros}{release[0]}" for zeros in ("", "0", "00", "000", "0000")))


@settings(deadline=None)
@given(st.integers(9, 27), values, values)
@example(27, "9" * 100_000, "-" + "0" * 100_000)
@example(15, "\x1b[2J", "\udcff")
def test_garbage_in_godebug_leaves_the_default_or_a_number(minor: int, value: str, linked: str) -> None:
    go = GoVersion(minor)
    policy = decide(go, "6.1", {"madvdontneed": value}, {"madvdontneed": linked})
    default = "MADV_FREE" if 12 <= minor <= 15 else "MADV_DONTNEED"
    if policy.chosen_by.startswith("default"):
        assert policy.advice == default
    else:
        number = value if policy.chosen_by.startswith("GODEBUG") else linked
        assert policy.advice == ("MADV_DONTNEED" if number.strip("+-0") else "MADV_FREE")
    assert all(step.isprintable() and len(step) < 400 for step in policy.steps)


@settings(deadline=None)
@given(st.text(alphabet="ab=,madvdontneed01+-'\" X"))
def test_garbage_is_read_without_an_error(text: str) -> None:
    assert all("," not in key and "=" not in key for key in parse_godebug(text))
    parse_ldflags(text)


def output(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert run(list(argv)) == 0
    return capsys.readouterr().out


def test_prints_numbered_steps_in_80_columns_and_a_conclusion(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, "go1.15.15", "--kernel", "6.1.0-18-amd64").splitlines()
    assert lines[0] == "go1.15.15 on Linux 6.1.0-18-amd64"
    assert max(map(len, lines)) <= 80
    numbered = [line for line in lines if line[:5].strip()[:-1].isdigit()]
    assert [line[:4] for line in numbered] == [f"{number:3}." for number in range(1, len(numbered) + 1)]
    assert len(numbered) >= 4
    assert lines[-2:] == [
        "MADV_FREE (default of Go 1.15): freed pages stay in RSS until the kernel needs",
        "them.",
    ]


def test_the_document_has_its_keys(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(output(capsys, "1.27.3", "--kernel", "4.4", "--godebug", "madvdontneed=0,a=1", "--json"))
    assert list(document) == ["go", "kernel", "godebug", "advice", "fallback", "steps"]
    assert document["go"] == "go1.27.3"
    assert document["kernel"] == "4.4"
    assert document["godebug"] == {"madvdontneed": "0", "a": "1"}
    assert (document["advice"], document["fallback"]) == ("MADV_DONTNEED", "MADV_DONTNEED")
    assert len(document["steps"]) >= 4


def test_the_kernel_is_this_machines_unless_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(output(capsys, "go1.16", "--json"))["kernel"] == os.uname().release


@pytest.mark.parametrize("target", ["go1.28", "1.8", "devel go1.28-abcdef", "go1.banana"])
def test_a_version_without_a_table_is_a_usage_error(target: str) -> None:
    with pytest.raises(UsageError, match=r"known: go1\.9 to go1\.27"):
        run([target])


@pytest.mark.parametrize("argv", [[], ["go1.15", "--banana"], ["go1.15", "go1.16"]])
def test_wrong_arguments_end_with_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(argv)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("target", "version"),
    [
        ("go1.15", True),
        ("1.15", True),
        ("devel go1.28-a", True),
        ("1234", False),
        ("gopher", False),
        ("etcd", False),
        ("7z", False),
    ],
)
def test_tells_a_version_from_a_process(target: str, version: bool) -> None:
    assert is_version(target) == version


class Target:
    """Stands for `open_source(PID)`: a process whose sections are given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **changes: object) -> None:
        from whyrss import snapshot, sources

        process = SimpleNamespace(environ={"GODEBUG": "madvdontneed=0"})
        build = SimpleNamespace(go_version="go1.21.13", settings={})
        host = SimpleNamespace(kernel="4.4.0-210-generic")
        self.sections: dict[type, object] = {
            snapshot.Process: process,
            snapshot.Build: build,
            snapshot.Host: host,
        }
        for name, value in changes.items():
            self.sections[getattr(snapshot, name)] = value
        monkeypatch.setattr(sources, "open_source", lambda target: self)

    def collect(self) -> Target:
        return self

    def __getitem__(self, section: type) -> object:
        found = self.sections[section]
        if isinstance(found, Missing):
            raise found
        return found


def test_a_process_gives_version_kernel_and_godebug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Target(monkeypatch)
    document = json.loads(output(capsys, "1234", "--json"))
    assert (document["go"], document["kernel"]) == ("go1.21.13", "4.4.0-210-generic")
    assert document["godebug"] == {"madvdontneed": "0"}
    assert (document["advice"], document["fallback"]) == ("MADV_DONTNEED", "MADV_DONTNEED")
    asked = json.loads(output(capsys, "1234", "--json", "--kernel", "6.1", "--godebug", ""))
    assert (asked["kernel"], asked["godebug"], asked["fallback"]) == ("6.1", {}, None)


def test_a_process_can_have_it_linked_in(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    build = SimpleNamespace(go_version="go1.27.3", settings={"-ldflags": "-X runtime.godebugDefault=madvdontneed=0"})
    Target(monkeypatch, Build=build, Process=SimpleNamespace(environ={}))
    assert json.loads(output(capsys, "1234", "--json", "--kernel", "6.1"))["advice"] == "MADV_FREE"


@pytest.mark.parametrize(
    ("version", "settings", "godebug", "said"),
    [
        ("go1.27.3", {"-trimpath": "true"}, "", True),
        ("go1.27.3", {}, "", True),
        ("go1.27.3", {"GOOS": "linux"}, "", False),
        ("go1.27.3", {"-trimpath": "true", "-ldflags": "-s"}, "", False),
        ("go1.27.3", {"-trimpath": "true"}, "madvdontneed=1", False),
        ("go1.27.3", {"-trimpath": "true"}, "madvdontneed=x", True),
        ("go1.19.8", {"-trimpath": "true"}, "", False),
    ],
)
def test_says_where_it_cannot_see_what_was_linked_in(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    version: str,
    settings: dict[str, str],
    godebug: str,
    said: bool,
) -> None:
    build = SimpleNamespace(go_version=version, settings=settings)
    Target(monkeypatch, Build=build, Process=SimpleNamespace(environ={"GODEBUG": godebug}))
    assert ("is not known" in output(capsys, "1234", "--kernel", "6.1")) == said


class Unreadable:
    @property
    def environ(self) -> dict[str, str]:
        raise Missing("environ: permission denied")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"Build": Missing("exe: permission denied")}, "exe: permission denied.*GOVERSION"),
        ({"Build": SimpleNamespace(go_version=None, settings={})}, "no Go program"),
        ({"Build": SimpleNamespace(go_version="go1.28", settings={})}, r"Go 1\.28.*known"),
        ({"Host": SimpleNamespace(kernel=None)}, "--kernel"),
        ({"Process": Unreadable()}, "environ: permission denied.*--godebug"),
    ],
)
def test_what_a_process_does_not_tell_is_not_guessed(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], words: str
) -> None:
    Target(monkeypatch, **changes)
    with pytest.raises(TargetError, match=words):
        run(["1234"])


def test_a_process_that_is_no_go_program_is_a_target_error() -> None:
    with pytest.raises(TargetError):
        run([str(os.getpid())])


def test_the_page_is_what_the_tool_writes() -> None:
    with open(gen_docs_policy.PATH, encoding="utf-8") as file:
        assert file.read() == gen_docs_policy.generate(), "run python tools/gen_docs_policy.py"
