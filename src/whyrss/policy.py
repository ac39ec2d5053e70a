"""What a Go program does with free heap pages on Linux: decided by the tables of `whyrss.facts`, in steps.

Only releases and release candidates of the known range are decided. Between releases, before and after them
there is a Missing, never the nearest table.
"""

from __future__ import annotations

from whyrss.errors import Missing, UsageError
from whyrss.facts import go as table
from whyrss.facts import kernel as linux

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN = f"known: go1.{table.FIRST_MINOR} to go1.{table.LAST_MINOR}"
INT32_MAX = (1 << 31) - 1
UTS_LEN = 64  # include/uapi/linux/utsname.h: the longest release that uname can give
DIGITS = "0123456789"


class GoVersion:
    """A release of Go, or a candidate of one (`pre` is "rc1"). `text` is its name: "go1.15.15"."""

    __slots__ = ("minor", "patch", "pre", "text")

    def __init__(self, minor: int, patch: int | None = None, pre: str = "") -> None:
        self.minor = minor
        self.patch = patch or 0
        self.pre = pre
        self.text = f"go1.{minor}{'' if patch is None else f'.{patch}'}{pre}"

    @classmethod
    def parse(cls, text: str) -> GoVersion:
        """From what runtime.Version() and the build info say, with or without "go"; experiments and names of
        vendors after it do not count. Raises Missing with the reason for whatever has no table."""
        release = text.strip().removeprefix("go")
        number = release[: len(release) - len(release.lstrip(DIGITS + "."))]
        pre, known_tail = _pre_release(release[len(number) :])
        parts = number.split(".")
        if not known_tail or parts[0] != "1" or not 2 <= len(parts) <= 3 or not all(map(_is_count, parts)):
            raise Missing(_no_release(text))
        minor = int(parts[1])
        if not table.FIRST_MINOR <= minor <= table.LAST_MINOR:
            raise Missing(f"how Go 1.{minor} returns memory is not known here; {KNOWN}")
        return cls(minor, int(parts[2]) if len(parts) == 3 else None, pre)

    @property
    def release(self) -> str:
        """The release by which the table goes: "Go 1.15"."""
        return f"Go 1.{self.minor}"

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"GoVersion.parse({self.text!r})"


class Policy:
    """How free heap pages leave a Go program, and why. `chosen` is what Go asks for, `advice` what it ends up
    with on this kernel; `fallback` is `advice` where the two differ, else None. `rss` says what it means for
    RSS, `chosen_by` who chose: "default of Go 1.15", "GODEBUG=madvdontneed=1"."""

    __slots__ = ("advice", "chosen", "chosen_by", "fallback", "go", "kernel", "rss", "steps")

    def __init__(
        self, go: GoVersion, kernel: str, chosen: str, chosen_by: str, advice: str, rss: str, steps: list[str]
    ) -> None:
        self.go = go
        self.kernel = kernel
        self.chosen = chosen
        self.chosen_by = chosen_by
        self.advice = advice
        self.fallback = advice if advice != chosen else None
        self.rss = rss
        self.steps = steps


def decide(
    go: GoVersion, kernel: str, godebug: Mapping[str, str], godebug_default: Mapping[str, str] | None = None
) -> Policy:
    """The policy of a program built by `go`, on the kernel release `kernel` ("4.4", "6.1.0-18-amd64"),
    started with the GODEBUG settings `godebug`, and with `godebug_default` linked in (-X
    runtime.godebugDefault). Raises UsageError for a kernel that is none, Missing for a Go without a table."""
    release = parse_kernel(kernel)
    steps = [_default_step(go)]
    chosen, chosen_by = _chosen(go, godebug, godebug_default or {}, steps)
    advice = _granted(go, release, chosen, steps)
    return Policy(go, kernel, chosen, chosen_by, advice, _effect(release, advice, steps), steps)


def parse_godebug(text: str, go: GoVersion | None = None) -> dict[str, str]:
    """The settings in a GODEBUG variable that count. A field without "=" does not, blanks are part of what
    they stand in, and of a repeated key the last counts; for the runtime's integers that is the last
    *number*, as `go` reads numbers (without it, as the newest known Go does). Raises nothing."""
    minor = go.minor if go else table.LAST_MINOR
    settings: dict[str, str] = {}
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if not equals or (key in settings and key in table.INTEGER_VARIABLES and _int32(value, minor) is None):
            continue
        settings[key] = value
    return settings


def parse_ldflags(ldflags: str, go: GoVersion | None = None) -> dict[str, str]:
    """The GODEBUG settings that `go build -ldflags` linked into runtime.godebugDefault; {} where none. The
    last -X of a name counts (cmd/link, -X). Raises nothing."""
    words = _split_quoted(ldflags)
    found = ""
    for position, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag not in ("-X", "--X"):
            continue
        if not equals:
            value = words[position + 1] if position + 1 < len(words) else ""
        name, _, text = value.partition("=")
        found = text if name == "runtime.godebugDefault" else found
    return parse_godebug(found, go)


def parse_kernel(text: str) -> tuple[int, int, int]:
    """(major, minor, patch) of a kernel release as uname(2) gives it; patch is 0 where it has none."""
    numbers = []
    rest = text if text.isascii() and text.isprintable() and " " not in text and len(text) <= UTS_LEN else ""
    for _ in range(3):
        digits = rest[: len(rest) - len(rest.lstrip(DIGITS))]
        if not 0 < len(digits) <= 5:
            break
        numbers.append(int(digits))
        dot, rest = rest[len(digits) : len(digits) + 1], rest[len(digits) + 1 :]
        if dot != ".":
            break
    if len(numbers) < 2:
        raise UsageError(
            f"{_shown(text)} is no kernel release", "it starts with two numbers, as in 4.4 or 6.1.0-18-amd64"
        )
    return numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else 0


def fact_of(minor: int, fact: str) -> tuple[str | bool | tuple[str, ...] | None, str]:
    """(value, source) of a fact of facts/go.py in Go 1.`minor`. Raises Missing where there is no row."""
    for since, until, name, value, source in table.ROWS:
        if name == fact and since <= minor <= until:
            return value, source
    raise Missing(f"no row for {fact} in Go 1.{minor}; {KNOWN}")


def huge_fact_of(go: GoVersion, fact: str) -> tuple[str | bool, str]:
    """(value, source) of a fact of facts/hugepages.py in that release. Raises Missing where there is no row."""
    from whyrss.facts import hugepages

    for since, before, name, value, source in hugepages.ROWS:
        if name == fact and since <= (go.minor, go.patch) < before:
            return value, source
    raise Missing(f"no row for {fact} in {go}; {KNOWN}")


def maps_anew(go: GoVersion) -> bool:
    """Whether this release maps new memory over a range on which the kernel refuses all advice, so that it leaves RSS
    all the same. Raises Missing where that is not known."""
    chain = fact_of(go.minor, "chain")[0]
    return isinstance(chain, tuple) and table.MMAP in chain


def kernel_fact_of(release: tuple[int, ...], fact: str) -> tuple[str | bool, str]:
    """(value, source) of a fact of facts/kernel.py in that kernel. Raises Missing where there is no row."""
    for since, until, name, value, source in linux.ROWS:
        if name == fact and (since is None or since <= release[:2]) and (until is None or release[:2] < until):
            return value, source
    raise Missing(f"no row for {fact} in Linux {'.'.join(map(str, release))}")


def _default_step(go: GoVersion) -> str:
    advice, source = fact_of(go.minor, "default_advice")
    candidate = f" ({go} is a candidate of it)" if go.pre else ""
    return f"{go.release}{candidate} returns free heap pages with {advice} unless told otherwise [{source}]"


def _chosen(
    go: GoVersion, godebug: Mapping[str, str], linked: Mapping[str, str], steps: list[str]
) -> tuple[str, str]:
    """The advice that Go asks for and who chose it; what is set in the environment goes before what is linked
    in."""
    choice = str(fact_of(go.minor, "default_advice")[0]), f"default of {go.release}"
    if "madvdontneed" in linked:
        choice = _linked(go, linked["madvdontneed"], steps) or choice
    if "madvdontneed" in godebug:
        choice = _setting(go, godebug["madvdontneed"], "GODEBUG=madvdontneed=", steps) or choice
    else:
        exists, source = fact_of(go.minor, "has_madvdontneed")
        if exists:
            steps.append(f"GODEBUG in its environment does not set madvdontneed, so it changes nothing [{source}]")
    return choice


def _linked(go: GoVersion, value: str, steps: list[str]) -> tuple[str, str] | None:
    exists, source = fact_of(go.minor, "has_godebug_default")
    if exists:
        return _setting(go, value, "-X runtime.godebugDefault=madvdontneed=", steps)
    steps.append(f"{go.release} has no runtime.godebugDefault: what was linked into it is ignored [{source}]")
    return None


def _setting(go: GoVersion, value: str, name: str, steps: list[str]) -> tuple[str, str] | None:
    """What one setting of madvdontneed chooses, None where it is ignored."""
    exists, source = fact_of(go.minor, "has_madvdontneed")
    if not exists:
        steps.append(f"{go.release} does not know madvdontneed: {name}{_shown(value)} is ignored [{source}]")
        return None
    number = _int32(value, go.minor)
    if number is None:
        source = fact_of(go.minor, "plus_is_number")[1]
        steps.append(f"{name}{_shown(value)} is ignored: {go.release} reads no 32-bit integer in it [{source}]")
        return None
    advice, source = fact_of(go.minor, "advice_if_not_zero" if number else "advice_if_zero")
    meaning = "" if value in ("0", "1") else f" (read as {number})"
    steps.append(f"{name}{_shown(value)}{meaning} asks for {advice} [{source}]")
    return str(advice), f"{name}{_shown(value)}"


def _granted(go: GoVersion, release: tuple[int, ...], chosen: str, steps: list[str]) -> str:
    """The advice that the kernel carries out, and what Go would try after a failure."""
    chain, source = fact_of(go.minor, "chain")
    assert isinstance(chain, tuple)
    advice = chosen
    if chosen == table.FREE:
        known, kernel_source = kernel_fact_of(release, "MADV_FREE")
        has = "has" if known else "has no"
        fails = "" if known else ": madvise fails with EINVAL"
        steps.append(f"Linux {release[0]}.{release[1]} {has} MADV_FREE{fails} [{kernel_source}]")
        if not known:
            advice = chain[chain.index(chosen) + 1]
            steps.append(f"{go.release} then uses {advice} for the rest of the process [{source}]")
    rest = chain[chain.index(advice) + 1 :]
    then = f"Go tries {' and then '.join(rest)}" if rest else "Go ignores it, and the pages stay in RSS"
    steps.append(f"Should {advice} fail (on locked memory it does), {then} [{source}]")
    return advice


def _effect(release: tuple[int, ...], advice: str, steps: list[str]) -> str:
    """What the advice does to RSS, as the end of a sentence."""
    if advice == table.DONTNEED:
        source = kernel_fact_of(release, "dontneed_pages")[1]
        steps.append(f"With {advice} the kernel frees the pages during the call [{source}]")
        return "RSS falls at once"
    lazy, source = kernel_fact_of(release, "free_pages")
    steps.append(f"With {advice} the kernel only marks the pages as free to take [{source}]")
    rss = "freed pages stay in RSS until the kernel needs them"
    return rss if lazy == "lazy" else f"with swap, {rss}; without swap, RSS falls at once"


def _int32(value: str, minor: int) -> int | None:
    """The number that Go 1.`minor` reads in the value of an integer variable, None where it reads none."""
    sign = value[0] if value[:1] in ("-", "+") else ""
    digits = value[len(sign) :]
    if digits.strip(DIGITS) or (sign == "+" and not fact_of(minor, "plus_is_number")[0]):
        return None
    if not digits:
        return 0 if sign == "-" and fact_of(minor, "bare_minus_is_zero")[0] else None
    significant = digits.lstrip("0")
    number = int(significant or "0") if len(significant) <= 10 else INT32_MAX + 2
    number = -number if sign == "-" else number
    return number if -INT32_MAX - 1 <= number <= INT32_MAX else None


def _pre_release(tail: str) -> tuple[str, bool]:
    """("rc1", True) of what follows the numbers of a version; False where it makes another version of it."""
    pre = tail[: len(tail) - len(tail[2:].lstrip(DIGITS))] if tail.startswith("rc") else ""
    rest = tail[len(pre) :]
    if pre == "rc" or "gccgo" in rest:
        return "", False
    if rest[:1] == "b" and rest[1:2].isdigit():  # the BoringCrypto branch: go1.18.3b7
        rest = rest[1:].lstrip(DIGITS)
    return pre, rest[:1] in ("", " ", "-", "+")


def _no_release(text: str) -> str:
    if text.startswith("devel") or "beta" in text:
        return f"{_shown(text)} is a version between two releases of Go; {KNOWN}"
    return f"{_shown(text)} is no release of Go; {KNOWN}"


def _is_count(digits: str) -> bool:
    """Whether it is a number as Go writes one: no leading zero."""
    return 0 < len(digits) <= 3 and (digits[0] != "0" or digits == "0")


def _split_quoted(text: str) -> list[str]:
    """Words as the go command splits flags: a word that starts with a quote ends at the next one, without
    escapes."""
    words = []
    rest = text.lstrip()
    while rest:
        if rest[0] in "'\"":
            word, _, rest = rest[1:].partition(rest[0])
        else:
            word = rest.split(None, 1)[0]
            rest = rest[len(word) :]
        words.append(word)
        rest = rest.lstrip()
    return words


def _shown(text: str) -> str:
    """At most 40 characters of a foreign text, safe to print."""
    cut = text if len(text) <= 40 else text[:37] + "..."
    return cut if cut.isascii() and cut.isprintable() and cut and " " not in cut else ascii(cut)
