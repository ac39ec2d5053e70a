"""A policy as text, a step at a time, and as the document of --json."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from whyrss.policy import Policy

WIDTH = 80


def render_policy(policy: Policy) -> str:
    """Numbered steps with their sources in brackets and a conclusion, in lines of at most WIDTH columns
    unless a word is longer. Ends with a newline."""
    lines = _wrap(f"{policy.go} on Linux {policy.kernel}", "", "")
    for number, step in enumerate(policy.steps, 1):
        first = f"{number:3}. "
        lines += _wrap(_sentence(step), first, " " * len(first))
    lines += ["", *_wrap(f"{policy.advice} ({policy.chosen_by}): {policy.rss}.", "", "")]
    return "\n".join(lines) + "\n"


def policy_document(policy: Policy, godebug: Mapping[str, str]) -> dict[str, object]:
    """What --json prints: strings, but for `godebug` (an object of strings), `fallback` (a string or null)
    and `steps` (a list of strings)."""
    return {
        "go": policy.go.text,
        "kernel": policy.kernel,
        "godebug": dict(godebug),
        "advice": policy.advice,
        "fallback": policy.fallback,
        "steps": policy.steps,
    }


def _sentence(step: str) -> str:
    """The full stop goes before the source."""
    text, bracket, source = step.rpartition(" [")
    return f"{text}.{bracket}{source}" if bracket else f"{step}."


def _wrap(text: str, first: str, other: str) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=other,
        break_long_words=False,
        break_on_hyphens=False,
    )
