"""Texts quoted as in Go source (strconv.Quote)."""

from __future__ import annotations

_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}


def split_setting(text: str) -> tuple[str, str]:
    """Key and value of a build setting, KEY=VALUE, each of which may be quoted (runtime/debug/mod.go)."""
    if text[:1] in ('"', "`"):
        end = _closing_quote(text)
        return unquote(text[: end + 1]), unquote(text[end + 2 :])
    key, _, value = text.partition("=")
    return key, unquote(value)


def _closing_quote(text: str) -> int:
    """Where the quoted text that `text` starts with ends; an odd number of backslashes escapes a quote."""
    end, escaped = 0, True
    while escaped and (end := text.find(text[0], end + 1)) > 0:
        escaped = text[0] == '"' and (end - len(text[:end].rstrip("\\"))) % 2 == 1
    return end if end > 0 else len(text)


def unquote(text: str) -> str:
    """Undo strconv.Quote; a text that is not quoted, or wrongly, stays as it is."""
    if len(text) < 2 or text[0] not in '"`' or text[-1] != text[0]:
        return text
    inner = text[1:-1]
    if text[0] == "`" or "\\" not in inner:
        return inner
    pieces = inner.split("\\\\")
    return "\\".join(_unescape(piece) for piece in pieces)


def _unescape(text: str) -> str:
    """Replace the escapes of a Go string literal that holds no escaped backslash."""
    first, *rest = text.split("\\")
    return first + "".join(_escape(piece) for piece in rest)


def _escape(piece: str) -> str:
    """The text of one escape, of which `piece` is all that follows the backslash."""
    letter = piece[:1]
    digits = _HEX_DIGITS.get(letter)
    if digits is None:
        return _ESCAPES.get(letter, letter) + piece[1:]
    try:
        return chr(int(piece[1 : 1 + digits], 16)) + piece[1 + digits :]
    except (ValueError, OverflowError):
        return piece
