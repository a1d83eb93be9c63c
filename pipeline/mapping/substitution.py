"""Replacing literal text as JavaScript's String.replace does, compiled once.

Source of the rules: reference/mapping.md §1.7; ECMA-262 GetSubstitution and Canonicalize (without the `u` flag).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Final

_DOLLAR: Final = re.compile(r"\$([$&`'])")


def compile_substitution(pattern: str, replacement: str, *, everywhere: bool, ignore_case: bool) -> Callable[[str], str]:
    """Compile a replacement of literal text.

    Args:
        pattern: Text to look for, not empty; no character in it is special.
        replacement: Text to put there; `$$` is a dollar, `$&` the match, `` $` `` and `$'` what is before and after.
        everywhere: Replace every match, not the first alone.
        ignore_case: Compare as JavaScript does: letters outside ASCII never equal one inside it.

    Returns:
        A function from text to text.
    """
    count = 0 if everywhere else 1
    if not ignore_case and _DOLLAR.search(replacement) is None:
        return lambda text: text.replace(pattern, replacement, count or -1)
    expression = re.compile("".join(map(_folded, pattern)) if ignore_case else re.escape(pattern))
    pieces = _DOLLAR.split(replacement)

    def expand(match: re.Match[str]) -> str:
        meanings = {"$": "$", "&": match[0], "`": match.string[: match.start()], "'": match.string[match.end() :]}
        return pieces[0] + "".join(meanings[sign] + after for sign, after in zip(pieces[1::2], pieces[2::2], strict=True))

    return lambda text: expression.sub(expand, text, count=count)


def _folded(character: str) -> str:
    """Return the expression for all characters that equal one when case is ignored."""
    if character.isascii():
        return f"[{character.lower()}{character.upper()}]" if character.isalpha() else re.escape(character)
    return "[" + "".join(map(re.escape, _case_variants(_canonical(character)))) + "]"


def _canonical(character: str) -> str:
    upper = character.upper()
    astral = ord(character) > 0xFFFF or len(upper) != 1
    return character if astral or (not character.isascii() and upper.isascii()) else upper


@cache
def _case_variants(canonical: str) -> str:
    if ord(canonical) > 0xFFFF:
        return canonical
    return "".join(letter for letter in map(chr, range(0x80, 0x10000)) if _canonical(letter) == canonical)
