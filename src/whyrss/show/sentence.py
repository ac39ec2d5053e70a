"""The verdict in one sentence that a person can act on."""

from __future__ import annotations

from whyrss.finding import PROBLEM
from whyrss.show.units import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whyrss.finding import Finding
    from whyrss.verdict import Verdict


def sentence(verdict: Verdict) -> str:
    """The most important finding with its numbers, or that nothing is wrong, or what could not be judged."""
    rss_bytes = verdict.account.rss_bytes
    problems = [found for found in verdict.diagnosis.findings if found.weight == PROBLEM]
    if problems:
        more = len(problems) - 1
        others = f" {more} more problem{'s' if more > 1 else ''} below." if more else ""
        return summary(problems[0], rss_bytes) + others
    skipped = verdict.diagnosis.not_checked
    checked = len(verdict.diagnosis.silent) + len(verdict.diagnosis.findings)
    if skipped and not checked:
        return f"No verdict about {size(rss_bytes)} RSS: nothing could be checked, see below."
    but = f", as far as could be checked ({len(skipped)} not checked)" if skipped else ""
    notes = verdict.diagnosis.findings
    if notes:
        return f"Healthy{but}: {size(rss_bytes)} RSS. To note: {summary(notes[0], rss_bytes)}"
    return f"Healthy{but}: {size(rss_bytes)} RSS, and no known cause keeps memory that could be given back."


def summary(finding: Finding, rss_bytes: int) -> str:
    """A finding's own sentence with its sizes."""
    first = finding.evidence[0] if finding.evidence else None
    shown = size(int(first.value)) if first and first.unit == "bytes" else ""
    return finding.summary.format(bytes=size(finding.bytes), rss=size(rss_bytes), first=shown)
