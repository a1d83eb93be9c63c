"""A query's text to tokens. Source of the rules: reference/mapping.md §2.1, §2.2."""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from pipeline.mapping.problems import QueryError
from pipeline.mapping.values import JSON

_IDENT: Final = r"(?:[A-Za-z_-]|\\[\s\S])(?:[A-Za-z0-9_-]|\\[\s\S])*"
_TOKEN: Final = re.compile(
    rf"""(?P<space>[ \t\r\n]+)|(?P<number>[+-]?[0-9]+(?:\.[0-9]+)?)|(?P<name>{_IDENT}(?:\.{_IDENT})*)"""
    r"""|(?P<string>"[^"]*"|'[^']*')|(?P<sign>!=|<=|>=|[=<>!()\[\],])"""
)
_PIECE: Final = re.compile(_IDENT)
_ESCAPE: Final = re.compile(r"\\([\s\S])")
_HINTS: Final = {
    "&": "write and",
    "|": "write or",
    '"': "the quote is never closed",
    "'": "the quote is never closed",
    "\\": "a backslash escapes the character after it",
    "\u201c": "quotes are \" or '",
    "\u201d": "quotes are \" or '",
    ".": "a path is names joined by single dots; a digit at a name's start needs a backslash",
    "*": "patterns belong into match(field, 'pattern')",
    "~": "write match(field, 'pattern')",
}
_EXACT_DIGITS: Final = 18


class Token(NamedTuple):
    """One token of a query.

    Attributes:
        kind: What it is; `end` closes the list.
        value: The string, the number, the tuple of a path's names, or the sign.
        start: Index of its first character.
        end: Index behind its last character.
        raw: The token as written.
    """

    kind: Literal["string", "number", "name", "sign", "end"]
    value: JSON
    start: int
    end: int
    raw: str


def tokens(query: str) -> list[Token]:
    """Split a query into tokens, the last of kind `end`.

    Raises:
        QueryError: A character that begins no token, an open quote, or a number and a name that touch.
    """
    found, position = [], 0
    while position < len(query):
        match = _TOKEN.match(query, position)
        if match is None:
            character = query[position]
            hint = _HINTS.get(character, "in a name, put a backslash before it; in a text, put the text in quotes")
            raise QueryError(f"unexpected {character}", position + 1, hint)
        position = match.end()
        if match.lastgroup != "space":
            found.append(_token(match))
        following = query[position : position + 1]
        if match.lastgroup == "number" and (following.isalnum() or following in ("_", "-", "\\", ".")) and following:
            raise QueryError(
                "a number runs into a name",
                match.start() + 1,
                "a name that begins with a digit needs a backslash before it",
            )
    return [*found, Token("end", None, len(query), len(query), "the end")]


def _token(match: re.Match[str]) -> Token:
    raw, start, end = match[0], match.start(), match.end()
    if match.lastgroup == "string":
        return Token("string", raw[1:-1], start, end, raw)
    if match.lastgroup == "number":
        exact = "." not in raw and len(raw) <= _EXACT_DIGITS
        return Token("number", int(raw) if exact else float(raw), start, end, raw)
    if match.lastgroup == "name":
        names = tuple(_ESCAPE.sub(r"\1", piece) for piece in _PIECE.findall(raw))
        return Token("name", names, start, end, raw)
    return Token("sign", raw, start, end, raw)
