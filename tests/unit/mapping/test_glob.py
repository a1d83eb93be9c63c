"""Globs: what matches, and what is malformed and so matches nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.mapping.glob import compile_glob


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("a*d", "abcd", True),
        ("*", "", True),
        ("", "", True),
        ("", "a", False),
        ("ab", "abc", False),
        ("b*", "abc", False),
        ("a??d", "abcd", True),
        ("a?d", "abcd", False),
        ("*d", "abcd", True),
        ("a*", "abcd", True),
        ("*b*", "abcd", True),
        ("*x*", "abcd", False),
        ("*b*d*", "abcd", True),
        ("*d*b*", "abcd", False),
        ("**a**", "a", True),
        ("ab*ba", "aba", False),
        ("ab*ba", "abba", True),
        ("a*b*a", "aba", True),
        ("a*b*a", "ab", False),
        ("a*bb*b", "abb", False),
        (r"ab\*d", "ab*d", True),
        (r"ab\*d", "abxd", False),
        (r"\\", "\\", True),
        ("ab[cC]d", "abCd", True),
        ("ab[a-z]d", "abcd", True),
        ("ab[A-Z]d", "abcd", False),
        ("[^a]", "b", True),
        ("[^a]", "a", False),
        ("[!a]", "b", False),
        ("[!a]", "!", True),
        (r"[\]]", "]", True),
        (r"[\-]", "-", True),
        (r"[a\-z]", "b", False),
        ("[z-a]", "m", False),
        ("[^z-a]", "m", True),
        ("[^a-c]*", "dog", True),
        ("a]", "a]", True),
        ("a.c", "abc", False),
        ("a.c", "a.c", True),
        ("*/login", "https://example.com/login", True),
        ("a*c", "a\nb\nc", True),
        ("a?c", "a\nc", True),
        ("A*", "abc", False),
        ("?", "\U0001f600", True),
    ],
)
def test_glob(pattern: str, text: str, matches: bool) -> None:  # noqa: FBT001 (a column of the table)
    """The whole text matches, case and line breaks included."""
    assert compile_glob(pattern)(text) is matches


@pytest.mark.parametrize("pattern", ["[", "a[", "a\\", "[]a]", "[^]a]", "[-x]", "[x-]", "[a-b-c]", "[]", "[^]", "*[", "[a\\", "[a"])
@pytest.mark.parametrize("text", ["", "a", "[", "a[", "]", "-", "x", "a\\"])
def test_malformed_glob(pattern: str, text: str) -> None:
    """A malformed pattern matches nothing, not even itself."""
    assert compile_glob(pattern)(text) is False


@given(pattern=st.text("ab*?", max_size=8), text=st.text("ab", max_size=8))
def test_stars_equal_a_backtracking_expression(pattern: str, text: str) -> None:
    """Matching each run as early as it comes finds what trying every way finds."""
    expression = "".join({"*": ".*", "?": "."}.get(character, character) for character in pattern)

    assert compile_glob(pattern)(text) is (re.fullmatch(expression, text) is not None)


def test_many_stars_end_soon() -> None:
    """A pattern of many stars over a long text takes one pass, where backtracking would take ages."""
    assert compile_glob("*a" * 50 + "*b")("a" * 20_000) is False
