"""Goroutines read from outside, against what the program's own runtime says; and of memory laid out by hand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import support
from tests.goheap.located import opened
from tests.read.test_pclntab import OLD, table
from whyrss.errors import Missing
from whyrss.facts.waitreasons import DEAD, STATES, WAIT_REASONS
from whyrss.goheap import goroutines
from whyrss.goheap.goroutines import count_goroutines, read_goroutines
from whyrss.goheap.layout import Layout, layouts_for
from whyrss.goheap.locate import Located, locate
from whyrss.goheap.memory import ImageMemory
from whyrss.goroutines import MOST_SITES, Goroutines, Site
from whyrss.lab import debian, toolchain
from whyrss.sources.executable import build_of

VERSIONS = ("1.15", "1.19", "1.21", "1.24", "1.27")
SOURCE = Path(__file__).parent / "programs" / "goroutines.go"
EXTERNAL = "-ldflags=-linkmode=external -s -w"
# How to build: flags of `go build`, and whether the C compiler links.
MODES: dict[str, tuple[list[str], bool]] = {
    "plain": ([], False),
    "-s -w": (["-ldflags=-s -w"], False),
    "stripped": ([], False),
    "PIE": (["-buildmode=pie", "-ldflags=-s -w"], False),
    "external PIE": (["-buildmode=pie", EXTERNAL], True),
}
Sites = Counter[tuple[str, str, str]]


def program(version: str, mode: str) -> Path:
    support.needs_linux()
    flags, external = MODES[mode]
    if external and not shutil.which("gcc"):
        pytest.skip("needs gcc")
    env = {"CGO_ENABLED": "1"} if external else {}
    built = toolchain.build(toolchain.find(version), SOURCE, flags=flags, env=env)
    return _stripped(built) if mode == "stripped" else built


def _stripped(built: Path) -> Path:
    strip = shutil.which("strip")
    if not strip:
        pytest.skip("needs strip (binutils)")

    def write(folder: Path) -> None:
        subprocess.run([strip, "-o", str(folder / built.name), str(built)], check=True)

    return debian.cached(built.parent.with_name(f"{built.parent.name}-stripped"), write) / built.name


def located_in(pid: int, memory: Any, image: Any) -> Located:
    return locate(memory, image, build_of(f"/proc/{pid}/exe"), wanted=("allgs", "moduledata"))


def read(running: support.Program) -> Goroutines:
    with opened(running.pid) as (memory, image):
        found = read_goroutines(memory, located_in(running.pid, memory, image), image)
    assert found.live + found.dead + found.unread == found.total
    assert sum(site.count for site in found.sites) + found.other_count == found.live - found.system
    assert sum(found.states.values()) == found.live - found.system
    return found


@pytest.fixture(scope="module", params=VERSIONS)
def running(request: pytest.FixtureRequest) -> Iterator[support.Program]:
    with support.running([program(request.param, "-s -w")]) as started:
        yield started


def traces(running: support.Program) -> Sites:
    """(created by, where it began, state) of the goroutines of the program's own traceback, but the first one, which
    writes it. What the runtime made is shown without its maker."""
    found: Sites = Counter()
    for trace in json.loads(running.ask("traces")).strip().split("\n\n"):
        head, *lines = trace.split("\n")
        number, state = re.fullmatch(r"goroutine (\d+) \[([^],]*).*\]:", head).groups()  # type: ignore[union-attr]
        frames = [line for line in lines if not line.startswith("\t")]
        made = frames.pop()[len("created by ") :] if frames[-1].startswith("created by ") else ""
        if number != "1":
            found[re.sub(r" in goroutine \d+$", "", made), re.sub(r"\([^()]*\)$", "", frames[-1]), state] += 1
    return found


def sites(found: Goroutines) -> Sites:
    """The same of what was read."""
    counted: Sites = Counter()
    for site in found.sites:
        for state, count in site.states.items():
            if site.start != "runtime.main":
                made = "" if site.created_by.startswith("runtime.") else site.created_by
                counted[made, site.start, state] += count
    return counted


def without_start(counted: Sites) -> Counter[tuple[str, str]]:
    total: Counter[tuple[str, str]] = Counter()
    for (made, _, state), count in counted.items():
        total[made, state] += count
    return total


# Of real programs, with what they say themselves


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", VERSIONS)
def test_sites_and_states_are_those_of_the_programs_own_traceback(version: str, mode: str) -> None:
    with support.running([program(version, mode)]) as running:
        found, said = read(running), traces(running)
    assert without_start(sites(found)) == without_start(said)
    assert not found.unnamed and not found.unread and not found.other_sites
    shown = {key: count for key, count in sites(found).items() if not hidden(key[1])}
    assert {key: said[key] for key in shown} == shown
    assert ("main.makeMany", "main.receiving", "chan receive") in shown
    assert ("main.makeMany", "main.makeMany.func1", "chan receive") in shown
    assert len(shown) >= 13


def hidden(start: str) -> bool:
    """Whether tracebacks leave out where a goroutine began: the runtime's own, and what the compiler makes of a `go`
    statement with arguments."""
    return start.startswith("runtime.") or "wrap" in start or bool(re.search(r"makeMany\.func2|start\.func", start))


def test_the_first_goroutine_was_made_by_nobody(running: support.Program) -> None:
    (site,) = [site for site in read(running).sites if site.start == "runtime.main"]
    assert (site.created_by, site.count) == ("", 1)


def test_a_blocked_finalizer_is_the_programs(running: support.Program) -> None:
    starts = {site.start: site for site in read(running).sites}
    (site,) = [starts[name] for name in ("runtime.runfinq", "runtime.runFinalizers") if name in starts]
    assert site.states == {"chan receive": 1}


def test_as_many_as_the_profile_counts(running: support.Program) -> None:
    found = read(running)
    profile = json.loads(running.ask("profile"))
    assert profile.startswith(f"goroutine profile: total {found.live - found.system}\n")
    with opened(running.pid) as (memory, image):
        assert count_goroutines(memory, located_in(running.pid, memory, image)) == found.total


def test_a_leak_has_a_name(running: support.Program) -> None:
    before = read(running)
    running.ask("leak 25000")
    running.ask("gc")
    after = read(running)
    (site,) = [site for site in after.sites if site.created_by == "main.leak"]
    assert after.sites[0] is site
    assert (site.start, site.count, site.states) == ("main.leaked", 25_000, {"chan receive": 25_000})
    assert site.waiting_since_gc == 25_000
    assert site.stack_bytes >= 25_000 * 2048
    assert after.stack_bytes - before.stack_bytes == pytest.approx(site.stack_bytes, rel=0.01)
    assert sum(count for key, count in traces(running).items() if key[0] == "main.leak") == 25_000


def test_what_a_burst_leaves_behind_is_dead(running: support.Program) -> None:
    before = read(running)
    running.ask("burst 5000")
    found = read(running)
    assert found.dead >= 5000
    assert found.total >= before.live + 5000
    # The goroutine that calls a finalizer is the runtime's for NumGoroutine, and the program's for a profile.
    assert found.dead + found.system + 1 == found.total - int(running.ask("count"))
    assert found.dead_stack_bytes < 5000 * 65536


def test_a_goroutine_that_goes_on_no_longer_waits_since_a_collection(running: support.Program) -> None:
    running.ask("gc")
    running.ask("count")
    waiting = {site.start: site.waiting_since_gc for site in read(running).sites}
    assert waiting["main.receiving"] == 7
    assert waiting["runtime.main"] == 0


def test_without_moduledata_there_are_no_names(running: support.Program) -> None:
    with opened(running.pid) as (memory, image):
        located = located_in(running.pid, memory, image)
        named = read_goroutines(memory, located, image)
        located.moduledata = None
        located.reasons["moduledata"] = "no such place"
        found = read_goroutines(memory, located, image)
    assert found.unnamed == "no such place"
    assert [(site.created_by, site.start) for site in found.sites] == [("", "")]
    assert (found.live, found.dead, found.system) == (named.live, named.dead, 0)
    assert found.sites[0].count == found.live


def test_the_size_of_a_structure_is_that_of_its_class(running: support.Program) -> None:
    found = read(running)
    version = build_of(f"/proc/{running.pid}/exe").go_version
    assert version
    sizes = {15: 384, 19: 416, 21: 416, 24: 448, 27: 480}
    assert found.g_bytes == sizes[int(version.split(".")[1])]


# The texts of states


@pytest.mark.parametrize("version", (*VERSIONS, "1.22", "1.23", "1.25", "1.26"))
def test_wait_reasons_are_those_of_the_sources(version: str) -> None:
    support.needs_linux()
    runtime = toolchain.find(version).parent.parent / "src" / "runtime"
    source = (runtime / "runtime2.go").read_text()
    constants = re.search(r"\twaitReasonZero .*?\n\)", source, re.DOTALL)
    assert constants
    names = re.findall(r"^\t(waitReason\w+)", constants[0], re.MULTILINE)
    texts = dict(re.findall(r'^\t(waitReason\w+):\s+"(.*)"', source, re.MULTILINE))
    minor = int(version.split(".")[1])
    (known,) = [texts for since, until, texts in WAIT_REASONS if since <= minor <= until]
    assert [texts[name] for name in names] == list(known)


@pytest.mark.parametrize("version", VERSIONS)
def test_states_are_those_of_the_sources(version: str) -> None:
    support.needs_linux()
    runtime = toolchain.find(version).parent.parent / "src" / "runtime"
    numbers = {}
    for line in (runtime / "runtime2.go").read_text().splitlines():
        if found := re.match(r"\t(_G\w+)(?: += iota)? // (\d+)$", line):
            numbers[found[1]] = int(found[2])
    strings = re.search(r"var gStatusStrings = .*?\n}", (runtime / "traceback.go").read_text(), re.DOTALL)
    assert strings
    texts = dict(re.findall(r'(_G\w+):\s+"(.*)"', strings[0]))
    assert texts and {numbers[name]: text for name, text in texts.items()}.items() <= STATES.items()
    assert {number for name, number in numbers.items() if name.startswith("_Gdead")} <= set(DEAD)


def test_the_table_of_wait_reasons_has_no_gap() -> None:
    covered = [minor for since, until, _ in WAIT_REASONS for minor in range(since, until + 1)]
    assert covered == list(range(12, 28))
    assert all(texts[0] == "" and len(set(texts)) == len(texts) for _, _, texts in WAIT_REASONS)


# By hand

HEADER, LIST, GS, STACKS, MODULE, TABLE, TEXT = (
    0x1000,
    0x10_0000,
    0xC0_0000_0000,
    0xC1_0000_0000,
    0x2000,
    0x3000,
    0x40_0000,
)
FUNCTIONS = [
    "runtime.main",
    "runtime.bgsweep",
    "main.made",
    "main.began",
    "runtime.runFinalizers",
    "runtime.corostart",
]
PLACES = {name: TEXT + 64 * at for at, name in enumerate(FUNCTIONS)}


def layout(version: str = "go1.27.3") -> Layout:
    return layouts_for(version, "amd64")[0]


def g(form: Layout, **values: int) -> bytes:
    """A structure with these fields; a stack has its size alone."""
    raw = bytearray(form.size("g"))
    stack_bytes = values.pop("stack_bytes", 2048)
    fields = {"atomicstatus": 4, **values}
    for name, value in fields.items():
        width = form.width(f"g.{name}")
        at = form.offset(f"g.{name}")
        raw[at : at + width] = value.to_bytes(width, "little")
    raw[:16] = STACKS.to_bytes(8, "little") + (STACKS + stack_bytes).to_bytes(8, "little")
    return bytes(raw)


def header(pointer: int, count: int, capacity: int | None = None) -> bytes:
    return b"".join(each.to_bytes(8, "little") for each in (pointer, count, count if capacity is None else capacity))


def image() -> Any:
    """A program of Go 1.27 with FUNCTIONS of 64 bytes each."""
    data = table([(64 * at, name) for at, name in enumerate(FUNCTIONS)], 64 * len(FUNCTIONS))
    pointers = {MODULE: TABLE, MODULE + layout().offset("moduledata.text"): TEXT}
    return SimpleNamespace(
        pointer=pointers.get, stored=lambda at, size: data[at - TABLE :][:size], bias=0, elf=SimpleNamespace(kind=2)
    )


def where(**changes: Any) -> Any:
    return SimpleNamespace(**{"layout": layout(), "allgs": HEADER, "moduledata": MODULE, "reasons": {}, **changes})


def walked(gs: Mapping[int, bytes], located: Any = None, program: Any = None) -> Goroutines:
    """What is read of these structures by their addresses; one without bytes is not in memory."""
    listed = b"".join(at.to_bytes(8, "little") for at in gs)
    memory = ImageMemory({HEADER: header(LIST, len(gs)), LIST: listed, **gs})
    return read_goroutines(memory, located or where(), program or image())


def made(**values: int) -> bytes:
    return g(layout(), **{"gopc": PLACES["main.made"] + 5, "startpc": PLACES["main.began"], **values})


def row(*structures: bytes) -> dict[int, bytes]:
    return {GS + 480 * at: structure for at, structure in enumerate(structures)}


def test_states_by_hand() -> None:
    found = walked(
        row(
            made(waitreason=19),
            made(waitreason=19, atomicstatus=0x1004),
            made(waitreason=19, atomicstatus=1),
            made(waitreason=200),
            made(),
            made(waitreason=18, atomicstatus=10),
            made(atomicstatus=0x1002),
            made(atomicstatus=77),
            made(atomicstatus=9),
        )
    )
    assert found.states == {
        "chan receive": 2,
        "runnable": 1,
        "waiting (200)": 1,
        "waiting": 1,
        "select (leaked)": 1,
        "running": 1,
        "???": 1,
        "preempted": 1,
    }
    assert [(site.created_by, site.start, site.count) for site in found.sites] == [("main.made", "main.began", 9)]


def test_the_runtimes_own_by_hand() -> None:
    finalizers, pcs = PLACES["runtime.runFinalizers"], {"gopc": PLACES["runtime.main"] + 9}
    found = walked(
        row(
            made(**pcs, startpc=PLACES["runtime.bgsweep"]),
            made(**pcs, startpc=finalizers, waitreason=10),
            made(**pcs, startpc=finalizers, waitreason=13),
            made(startpc=PLACES["runtime.corostart"]),
            made(startpc=PLACES["runtime.main"]),
            made(startpc=0, gopc=0),
            made(startpc=1 << 40, gopc=1),
        )
    )
    assert found.system == 2
    assert {(site.created_by, site.start): site.count for site in found.sites} == {
        ("runtime.main", "runtime.runFinalizers"): 1,
        ("main.made", "runtime.corostart"): 1,
        ("", "runtime.main"): 1,
        ("", ""): 2,
    }


def test_the_call_may_be_the_last_of_its_function() -> None:
    found = walked(row(made(gopc=PLACES["main.began"])))
    assert found.sites[0].created_by == "main.made"


def test_the_dead_and_their_stacks() -> None:
    dead = [made(atomicstatus=status, stack_bytes=4096) for status in (6, 0x1006, 11)]
    found = walked(row(*dead, made(atomicstatus=6, stack_bytes=0), made(stack_bytes=8192), made(stack_bytes=32768)))
    assert (found.total, found.dead, found.live) == (6, 4, 2)
    assert (found.dead_stack_bytes, found.stack_bytes) == (3 * 4096, 40960)
    assert found.sites[0].stack_bytes == 40960


@pytest.mark.parametrize("stack_bytes", [3000, 1 << 40])
def test_a_stack_that_cannot_be_is_none(stack_bytes: int) -> None:
    assert walked(row(made(stack_bytes=stack_bytes), made())).stack_bytes == 2048


def test_since_when_they_wait() -> None:
    waits = [made(waitsince=5, atomicstatus=status) for status in (4, 3, 10, 1, 2, 6)]
    found = walked(row(*waits, made()))
    assert found.sites[0].waiting_since_gc == 3


def test_what_is_not_in_memory_is_counted_apart() -> None:
    gs = row(made(), made(), made(), made())
    gs[GS + 480] = gs[GS + 3 * 480] = b""
    found = walked(gs)
    assert (found.total, found.live, found.unread) == (4, 2, 2)
    with pytest.raises(Missing, match=r"none of 2 goroutines could be read: there is no memory at 0xc0000001e0"):
        walked(row(b"", b""))


def test_only_so_many_sites() -> None:
    ranked = Goroutines(0, 0)
    many = []
    for number in range(MOST_SITES + 3):
        many.append(Site("", f"main.f{number:03}"))
        many[-1].add(1 + (number == 7), 2048, "select", 0)
    ranked.rank(many)
    assert ranked.sites[0].start == "main.f007" and len(ranked.sites) == MOST_SITES
    assert (ranked.other_sites, ranked.other_count, ranked.other_stack_bytes) == (3, 3, 3 * 2048)
    assert ranked.states == {"select": MOST_SITES + 4}


def test_goroutines_of_too_many_kinds_are_still_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goroutines, "MOST_KEYS", 4)
    found = walked(row(*(made(gopc=PLACES["main.made"] + at) for at in range(1, 11))))
    assert (found.live, found.stack_bytes) == (10, 10 * 2048)
    assert {(site.created_by, site.start): site.count for site in found.sites} == {
        ("main.made", "main.began"): 4,
        ("", ""): 6,
    }


@pytest.mark.parametrize("limit", ["MOST_FUNCTIONS", "MOST_NAMES_BYTES"])
def test_names_have_an_end(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goroutines, limit, 1)
    found = walked(row(made(), made()))
    assert [(site.created_by, site.start, site.count) for site in found.sites] == [("", "main.began", 2)]


def test_strewn_goroutines_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    strewn = {GS + (at << 20): made() for at in range(40)}
    assert walked(strewn).live == 40
    monkeypatch.setattr(goroutines, "MOST_READS", 30)
    with pytest.raises(Missing, match="strewn"):
        walked(strewn)


def test_neighbours_are_read_at_once() -> None:
    class Counted(ImageMemory):
        reads = 0

        def read(self, address: int, size_bytes: int) -> bytes:
            self.reads += 1
            return super().read(address, size_bytes)

    gs = row(*[made()] * 1000)
    block = b"".join(structure.ljust(480, b"\0") for structure in gs.values())
    memory = Counted({HEADER: header(LIST, 1000), LIST: b"".join(at.to_bytes(8, "little") for at in gs), GS: block})
    assert read_goroutines(memory, where(), image()).live == 1000
    assert memory.reads == 4  # the header before and after the list, the list, all structures


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (header(LIST, 3_000_000), "has 3000000 of 3000000 elements"),
        (header(LIST, 2, 1), "has 2 of 1 elements"),
        (header(LIST, 5), "there is no memory"),
        (b"", "there is no memory"),
    ],
)
def test_a_list_that_cannot_be(raw: bytes, why: str) -> None:
    memory = ImageMemory({HEADER: raw, LIST: bytes(8)})
    with pytest.raises(Missing, match=why):
        read_goroutines(memory, where(), image())


def test_a_list_that_was_not_found() -> None:
    for reasons, why in (({"allgs": "not there"}, "not there"), ({}, "was not looked for")):
        with pytest.raises(Missing, match=why):
            count_goroutines(ImageMemory({}), where(allgs=None, reasons=reasons))


def test_a_list_that_moves_while_it_is_read() -> None:
    class Moving(ImageMemory):
        moves = 1

        def read(self, address: int, size_bytes: int) -> bytes:
            if address == HEADER:
                self.moves -= 1
                return header(LIST if self.moves >= 0 else LIST + 4096, 1)
            return super().read(address, size_bytes)

    lists = {LIST: bytes(8), LIST + 4096: GS.to_bytes(8, "little")}
    memory = Moving({**lists, GS: made()})
    assert read_goroutines(memory, where(), image()).live == 1


@pytest.mark.parametrize(
    ("pointers", "why"), [({}, "does not say where"), ({MODULE: TABLE + 9}, "not a table of Go's functions")]
)
def test_a_table_of_functions_that_cannot_be(pointers: dict[int, int], why: str) -> None:
    program = image()
    known = {MODULE + layout().offset("moduledata.text"): TEXT, **pointers}
    program.pointer = known.get
    found = walked(row(made()), program=program)
    assert why in found.unnamed
    assert (found.live, found.sites[0].created_by) == (1, "")


def test_an_old_program_has_its_addresses_from_the_loader() -> None:
    """GNU ld for arm64 leaves 0 where the loader is to put an address; Go 1.15 has addresses in its table."""
    form, bias = layout("go1.15.15"), 0x5555_0000_0000
    there = table([(bias + PLACES[name], name) for name in FUNCTIONS], bias + TEXT + 64 * len(FUNCTIONS), OLD)
    in_file = table([(0, name) for name in FUNCTIONS], 0, OLD)
    pointers = {MODULE: TABLE, MODULE + form.offset("moduledata.text"): bias + TEXT}
    program = SimpleNamespace(
        pointer=pointers.get,
        stored=lambda at, size: in_file[at - TABLE :][:size],
        bias=bias,
        elf=SimpleNamespace(kind=3),
    )
    called = {"gopc": bias + PLACES["main.made"] + 5, "startpc": bias + PLACES["main.began"]}
    gs = {GS: g(form, **called)}
    memory = {HEADER: header(LIST, 1), LIST: GS.to_bytes(8, "little"), **gs}
    names_at = there.index(b"main.made")
    for loaded in (there, there[:names_at]):  # what the loader need not change may be in the file alone
        found = read_goroutines(ImageMemory({**memory, TABLE: loaded}), where(layout=form), program)  # type: ignore[arg-type]
        assert [(site.created_by, site.start) for site in found.sites] == [("main.made", "main.began")]


@pytest.mark.parametrize("ask", ["pointer", "stored"])
def test_a_file_that_cannot_be_read_has_no_names(ask: str) -> None:
    def fail(*_: int) -> bytes:
        raise OSError(5, "Input/output error")

    program = image()
    setattr(program, ask, fail)
    found = walked(row(made()), program=program)
    assert found.unnamed == "the program's table of functions: [Errno 5] Input/output error"
    assert found.live == 1


def test_a_file_that_can_no_longer_be_read_has_no_more_names() -> None:
    program = image()
    stored, left = program.stored, [12]

    def failing(at: int, size: int) -> bytes:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(5, "Input/output error")
        return bytes(stored(at, size))

    program.stored = failing
    found = walked(row(made(), made(), made(startpc=PLACES["runtime.corostart"])), program=program)
    assert left[0] < 0
    assert {site.start: site.count for site in found.sites} == {"main.began": 2, "": 1}


@settings(deadline=None)
@given(st.lists(st.binary(min_size=456, max_size=456), max_size=6), st.binary(max_size=64))
def test_noise_is_counted_or_refused(structures: list[bytes], listed: bytes) -> None:
    gs = row(*structures)
    whole = listed + b"".join(at.to_bytes(8, "little") for at in gs)
    memory = ImageMemory({HEADER: header(LIST, len(whole) // 8), LIST: whole, **gs})
    try:
        found = read_goroutines(memory, where(), image())
    except Missing:
        return
    assert found.live + found.dead + found.unread == found.total == len(whole) // 8
    assert 0 <= found.stack_bytes <= found.total << 30
