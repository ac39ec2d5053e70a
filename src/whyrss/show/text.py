"""A verdict for a terminal of 80 columns: the sentence, the account, the findings, what was not checked."""

from __future__ import annotations

from whyrss.account import Line
from whyrss.errors import Missing
from whyrss.finding import PROBLEM
from whyrss.show.sentence import sentence, summary
from whyrss.show.units import share, size
from whyrss.snapshot import Build, Host, Process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.finding import Evidence, Finding
    from whyrss.snapshot import Snapshot
    from whyrss.verdict import Verdict

WIDTH = 80
BAR_WIDTH = 26
NAME_WIDTH = 30
DEPTH = 3  # as deep as heap/released/lazyfree; the segments of a library are for --json
SMALL_SHARE = 100
BASES = {"page": "by page", "vma": "by VMA", "runtime": "by the runtime's figures"}

PLAIN = {"problem": "", "note": "", "bold": "", "dim": "", "off": ""}
COLOURS = {"problem": "\x1b[1;31m", "note": "\x1b[33m", "bold": "\x1b[1m", "dim": "\x1b[2m", "off": "\x1b[0m"}


def show(verdict: Verdict, colours: bool = False) -> str:
    """The whole page, ending in a newline."""
    paint = COLOURS if colours else PLAIN
    parts = [
        [paint["bold"] + line + paint["off"] for line in wrap(sentence(verdict))],
        wrap(_target(verdict)) + _not_read(verdict),
        _account(verdict, paint),
    ]
    for number, found in enumerate(verdict.diagnosis.findings):
        headline = number == 0 and found.weight == PROBLEM
        show = _finding if found.weight == PROBLEM else _note
        parts.append(show(found, headline, verdict.account.rss_bytes, paint))
    if verdict.diagnosis.not_checked:
        parts.append(_not_checked(verdict))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def clean(text: str) -> str:
    """Text of the target without what could drive a terminal: control characters and lone surrogates."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else f"\\x{ord(char) & 0xFF:02x}" for char in text)


def wrap(text: str, indent: str = "", first: str | None = None) -> list[str]:
    """Lines of at most WIDTH columns; a word that is longer stands alone."""
    lines, line = [], first if first is not None else indent
    start = True
    for word in text.split():
        if not start and len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line, start = indent, True
        line += word if start else " " + word
        start = False
    lines.append(line)
    return lines


def _target(verdict: Verdict) -> str:
    snapshot = verdict.snapshot
    process, build, host = snapshot[Process], snapshot.get(Build), snapshot.get(Host)
    words = [f"{clean(process.comm)} (PID {process.pid})", _language(snapshot)]
    if build is not None and build.is_go and build.stripped:
        words.append("stripped")
    if host is not None and host.kernel:
        words.append(f"Linux {clean(host.kernel)}")
    words.append(BASES[verdict.account.basis])
    if snapshot.asked_for("Held"):
        words.append(_held(snapshot))
    return ", ".join(words)


def _held(snapshot: Snapshot) -> str:
    """For how long --freeze has stopped the target."""
    from whyrss.sources.freeze import Held

    held = snapshot[Held]
    stops = f" in {held.stops} stops" if held.stops > 1 else ""
    return f"held for {max(1, round(held.seconds * 1000))} ms{stops}"


def _not_read(verdict: Verdict) -> list[str]:
    """What the verdict had to do without, and why: the executable, of a Go program its heap and environment."""
    snapshot = verdict.snapshot
    reasons = [verdict.account.basis_reason] if verdict.account.basis_reason else []
    try:
        if snapshot[Build].is_go:
            _ = snapshot[Process].environ
    except Missing as missing:
        reasons.append(missing.reason)
    return [line for reason in reasons for line in wrap(f"Not read: {clean(reason)}", "  ")[:4]]


def _language(snapshot: Snapshot) -> str:
    try:
        build = snapshot[Build]
    except Missing:
        return "build unknown"
    if not build.is_go:
        return "not a Go program"
    return clean(build.go_version) if build.go_version else "Go, version unknown"


def _account(verdict: Verdict, paint: dict[str, str]) -> list[str]:
    root = verdict.account.root
    lines = [_line(0, root, root.bytes, paint)]
    for line in root.children:
        lines += _branch(1, line, root.bytes, paint)
    if verdict.account.residue_bytes:
        lines += wrap(f"RSS moved by {size(verdict.account.residue_bytes)} while it was read.", "  ")
    for text in _contradictions(verdict.snapshot):
        lines += wrap(f"This cannot be true: {text}.", "  ")
    return lines


def _contradictions(snapshot: Snapshot) -> list[str]:
    """Of the runtime's figures, one with another."""
    if not snapshot.asked_for("Runtime"):
        return []
    from whyrss.runtime import Runtime

    runtime = snapshot.get(Runtime)
    return [clean(text) for _, text in runtime.contradictions] if runtime else []


def _branch(depth: int, line: Line, rss_bytes: int, paint: dict[str, str]) -> list[str]:
    """A line and its children, the largest first; those below a hundredth of RSS become one line together."""
    lines = [_line(depth, line, rss_bytes, paint)]
    if depth == DEPTH:
        return lines
    children = sorted((child for child in line.children if child.bytes), key=lambda child: -child.bytes)
    small = [child for child in children[1:] if child.bytes * SMALL_SHARE < rss_bytes]
    if len(small) > 1:
        children = [
            *children[: -len(small)],
            Line(f"({len(small)} more)", sum(child.bytes for child in small)),
        ]
    for child in children:
        lines += _branch(depth + 1, child, rss_bytes, paint)
    return lines


def _line(depth: int, line: Line, rss_bytes: int, paint: dict[str, str]) -> str:
    size_bytes = line.bytes
    label = "  " * depth + _short(clean(line.name), NAME_WIDTH - 2 * depth)
    cells = round(BAR_WIDTH * size_bytes / rss_bytes) if rss_bytes else 0
    bar = paint["dim"] + "█" * cells + paint["off"] if cells else ""
    return f"{label:<{NAME_WIDTH}} {size(size_bytes):>10} {share(size_bytes, rss_bytes):>8}  {bar}".rstrip()


def _short(name: str, width: int) -> str:
    """The end of a name that is too long: of a path that is the part which tells files apart."""
    return name if len(name) <= width else "…" + name[-(width - 1) :]


def _finding(finding: Finding, headline: bool, rss_bytes: int, paint: dict[str, str]) -> list[str]:
    """`headline`: its sentence is the verdict, and stands on top of the page already."""
    colour = paint["problem" if finding.weight == PROBLEM else "note"]
    lines = [f"{colour}{finding.weight.upper()} {finding.cause}{paint['off']} ({finding.confidence})"]
    reclaimable = f"{size(finding.reclaimable_bytes)} reclaimable"
    lines += wrap(
        f"{size(finding.bytes)} in {finding.line}, {reclaimable}; counts in {', '.join(finding.affects)}", "  "
    )
    if not headline:
        lines += wrap(summary(finding, rss_bytes), "  ")
    for evidence in finding.evidence:
        lines += wrap(f"{evidence.what}: {_value(evidence)}", "    ", "  · ")
        lines.append(f"    {paint['dim']}$ {evidence.check}{paint['off']}")
    return lines + _fixes(finding)


def _note(finding: Finding, headline: bool, rss_bytes: int, paint: dict[str, str]) -> list[str]:
    """Shorter than a problem: its figures in one paragraph, without the commands (--json has them)."""
    lines = [f"{paint['note']}NOTE {finding.cause}{paint['off']} ({finding.confidence})"]
    lines += wrap(summary(finding, rss_bytes), "  ")
    figures = "; ".join(f"{found.what}: {_value(found, short=True)}" for found in finding.evidence)
    return lines + wrap(figures, "    ", "  · ") + _fixes(finding)


def _fixes(finding: Finding) -> list[str]:
    lines = ["  To do:"] if finding.fixes else []
    for fix in finding.fixes:
        cost = f" ({fix.safety}: {fix.cost})" if fix.cost else f" ({fix.safety})"
        lines += wrap(f"{fix.text}{cost}", " " * 12, f"    {fix.kind:<7} ")
    return lines


def _value(evidence: Evidence, short: bool = False) -> str:
    if evidence.unit == "bytes" and isinstance(evidence.value, int):
        return size(evidence.value) if short else f"{size(evidence.value)} ({evidence.value} bytes)"
    return str(evidence.value) if evidence.unit in ("", "advice") else f"{evidence.value} {evidence.unit}"


def _not_checked(verdict: Verdict) -> list[str]:
    """By their reason, which most of them share."""
    by_reason: dict[str, list[str]] = {}
    for cause, reason in verdict.diagnosis.not_checked:
        by_reason.setdefault(reason, []).append(cause)
    lines = ["Not checked:"]
    for reason, causes in by_reason.items():
        lines += wrap(f"{', '.join(causes)}: {clean(reason)}", "    ", "  ")
    return lines
