"""Glob patterns of the filter language, compiled once and matched in one pass, without backtracking over `*`.

Source of the rules: reference/mapping.md §2.4. Python's fnmatch has other brackets and a `!` that negates.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

Match = Callable[[str], bool]
"""Takes a text, tells whether all of it matches."""

_EMPTY_CLASS: Final = "(?!)"
_ANY: Final = r"[\s\S]"


class _MalformedError(Exception):
    """The pattern has a bracket or an escape that does not end."""


@lru_cache(maxsize=256)  # patterns that come from events come again
def compile_glob(pattern: str) -> Match:
    r"""Compile a glob over a whole text, case-sensitive.

    Args:
        pattern: `*` any run of characters, `?` one, `[abc]`, `[a-z]`, `[^a]` one of or not of a set, `\x` literally x.

    Returns:
        The matcher. A malformed pattern (`[`, `[]a]`, `[x-]`, a backslash at the end) matches nothing.
    """
    try:
        runs = _runs(pattern)
    except _MalformedError:
        return lambda _text: False
    if len(runs) == 1:
        whole = re.compile(runs[0][0])
        return lambda text: whole.fullmatch(text) is not None
    return _with_stars(runs)


def _with_stars(runs: list[tuple[str, int]]) -> Match:
    """Match the first run at the start, the last at the end, and each other one as early as it comes."""
    head, (tail, tail_length) = re.compile(runs[0][0]), runs[-1]
    last = re.compile(tail)
    middle = tuple(re.compile(expression) for expression, length in runs[1:-1] if length)

    def match(text: str) -> bool:
        found = head.match(text)
        if found is None:
            return False
        position, limit = found.end(), len(text) - tail_length
        for run in middle:
            found = run.search(text, position, max(limit, 0))
            if found is None:
                return False
            position = found.end()
        return position <= limit and last.match(text, limit) is not None

    return match


def _runs(pattern: str) -> list[tuple[str, int]]:
    """Split a pattern at its stars; each run is an expression and the number of characters that it takes."""
    runs, expression, length, position = [], "", 0, 0
    while position < len(pattern):
        character = pattern[position]
        if character == "*":
            runs.append((expression, length))
            expression, length, position = "", 0, position + 1
            continue
        if character == "[":
            one, position = _class(pattern, position + 1)
        elif character == "?":
            one, position = _ANY, position + 1
        else:
            literal, position = _literal(pattern, position)
            one = re.escape(literal)
        expression, length = expression + one, length + 1
    return [*runs, (expression, length)]


def _literal(pattern: str, position: int) -> tuple[str, int]:
    if pattern[position] == "\\":
        position += 1
    if position >= len(pattern):
        raise _MalformedError
    return pattern[position], position + 1


def _class(pattern: str, position: int) -> tuple[str, int]:
    """Read a bracket from behind its `[`; return its expression and where it ends."""
    negated = pattern[position : position + 1] == "^"
    position += negated
    start, members = position, ""
    while pattern[position : position + 1] != "]" or position == start:
        low, position = _member(pattern, position)
        high = low
        if pattern[position : position + 1] == "-":
            high, position = _member(pattern, position + 1)
        if low <= high:
            members += f"{re.escape(low)}-{re.escape(high)}"
    if not members:
        return (_ANY if negated else _EMPTY_CLASS), position + 1
    return f"[{'^' if negated else ''}{members}]", position + 1


def _member(pattern: str, position: int) -> tuple[str, int]:
    if position >= len(pattern) or pattern[position] in "-]":
        raise _MalformedError
    return _literal(pattern, position)
