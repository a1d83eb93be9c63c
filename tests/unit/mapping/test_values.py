"""JavaScript's truth, text and JSON text."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pipeline.mapping.values import MISSING, is_blank, is_falsy, json_text, number_text, sweep, text_of, type_name, utf16_length


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (0.1, "0.1"),
        (1e-6, "0.000001"),
        (1.5e-6, "0.0000015"),
        (1e-7, "1e-7"),
        (1.25e-10, "1.25e-10"),
        (1e16, "10000000000000000"),
        (1e20, "100000000000000000000"),
        (123456789012345678901.0, "123456789012345680000"),
        (1e21, "1e+21"),
        (10**21, "1e+21"),
        (-1.5e300, "-1.5e+300"),
        (10**400, "Infinity"),
        (-(10**400), "-Infinity"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (9007199254740993, "9007199254740993"),
    ],
)
def test_number_text(number: float, text: str) -> None:
    """Numbers are written as JavaScript writes them; exact integers stay exact."""
    assert number_text(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        (None, ""),
        (MISSING, ""),
        (True, "true"),
        (False, "false"),
        (2.0, "2"),
        ([], ""),
        ([1, None, "a", [2, [True]]], "1,,a,2,true"),
        ({"a": 1}, "[object Object]"),
        ([{}], "[object Object]"),
    ],
)
def test_text_of(value: object, text: str) -> None:
    """Text in templates is JavaScript's, not Python's."""
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, 2.0, None]}, '{"a":[1,2,null]}'),
        ("é\u2028", '"é\u2028"'),
        ({"b": MISSING, "c": [MISSING]}, '{"c":[null]}'),
        (math.nan, "null"),
        (math.inf, "null"),
        (-math.inf, "null"),
        (1e-7, "1e-7"),
        (True, "true"),
        (False, "false"),
        ("x\ud800y\udfffz", '"x\\ud800y\\udfffz"'),
        ('say "hi"\n', '"say \\"hi\\"\\n"'),
    ],
)
def test_json_text(value: object, text: str) -> None:
    """JSON text is compact, keeps letters and leaves out what is missing."""
    assert json_text(value) == text


@pytest.mark.parametrize("value", [None, MISSING, False, 0, 0.0, "", math.nan])
def test_falsy(value: object) -> None:
    """JavaScript's falsy values."""
    assert is_falsy(value)


@pytest.mark.parametrize("value", [[], {}, "0", " ", -1, True])
def test_truthy(value: object) -> None:
    """Empty lists and objects are truthy."""
    assert not is_falsy(value)


@pytest.mark.parametrize(
    ("value", "blank"),
    [
        (MISSING, True),
        (None, True),
        ("", True),
        (0, True),
        (False, True),
        ([], True),
        ([""], True),
        ([None], True),
        ([[]], True),
        (" ", False),
        ("0", False),
        ([0], False),
        ({}, False),
        (["", ""], False),
        (math.nan, False),
        (True, False),
    ],
)
def test_blank(value: object, blank: bool) -> None:  # noqa: FBT001 (a column of the table)
    """Blank is missing, null, or loosely equal to ""."""
    assert is_blank(value) is blank


def test_sweep() -> None:
    """Missing keys vanish at any depth, lists never shrink, and what is merely empty stays."""
    value: dict[str, Any] = {"a": MISSING, "b": [MISSING, {"c": MISSING}], "d": {}, "e": None, "f": ""}

    assert sweep(value, None) == {"b": [None, {}], "d": {}, "e": None, "f": ""}


def test_utf16_length() -> None:
    """Length counts UTF-16 units."""
    assert (utf16_length("abc"), utf16_length("é"), utf16_length("\U0001f600")) == (3, 1, 2)


def test_type_name_of_what_is_no_json() -> None:
    """What JSON has not is named by its class."""
    assert type_name(b"") == "a bytes, which JSON has not"
