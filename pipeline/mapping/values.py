"""Values of both languages, by the rules of JavaScript that users of mappings rely on: truth, text, JSON text.

Source of the rules: reference/mapping.md §1.1, §1.5, §1.6, §1.10; ECMA-262 Number::toString and JSON.stringify.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias

import orjson

JSON: TypeAlias = Any
"""A parsed JSON value; inside this package also `MISSING`. A recursive alias would forbid list[str] for list[JSON]."""


class Missing(Enum):
    """The type of `MISSING`."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
"""What is not there, as distinct from null, which is there: JavaScript's `undefined`."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_EXPONENT_FROM: Final = 10**21
_EXPONENT_BELOW: Final = 1e-6
_TYPE_NAMES: Final = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
    type(None): "null",
    Missing: "missing",
}


def type_name(value: JSON) -> str:
    """Return the JSON type of a value with its article, for messages."""
    return _TYPE_NAMES.get(type(value), f"a {type(value).__name__}, which JSON has not")


def is_falsy(value: JSON) -> bool:
    """Tell whether JavaScript counts a value as false: missing, null, false, 0, NaN, "" (but no list or object)."""
    if value is None or value is MISSING:
        return True
    if isinstance(value, (str, bool)):
        return not value
    return isinstance(value, (int, float)) and (value == 0 or math.isnan(value))


def is_blank(value: JSON) -> bool:
    """Tell whether a value is missing, null or loosely equal to "": 0, false, [] and lists whose text is empty too."""
    if isinstance(value, list):
        return text_of(value) == ""
    return is_falsy(value) and not (isinstance(value, float) and math.isnan(value))


def utf16_length(text: str) -> int:
    """Count the UTF-16 units of a text, which is what JavaScript calls its length."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def number_text(number: float) -> str:
    """Write a number as JavaScript does: no `.0`, an exponent only from 1e21 up and below 1e-6.

    Integers below 1e21 are written exactly, where JavaScript would round them to a double.
    """
    if isinstance(number, int):
        if -_EXPONENT_FROM < number < _EXPONENT_FROM:
            return str(int(number))
        try:
            number = float(number)
        except OverflowError:
            number = float("inf") if number > 0 else float("-inf")
    text = repr(number)
    if "e" in text:
        mantissa, _, exponent = text.partition("e")
        positional = _EXPONENT_BELOW <= abs(number) < _EXPONENT_FROM
        return format(Decimal(text), "f") if positional else f"{mantissa}e{int(exponent):+d}"
    if text.endswith(".0"):
        return "0" if number == 0 else text[:-2]
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(text, text)


def text_of(value: JSON) -> str:
    """Write a value as JavaScript's String() does, but missing and null as "".

    Lists are joined with commas, at every depth; an object is `[object Object]`, as users of Segment see it.
    """
    if isinstance(value, str):
        return value
    if value is None or value is MISSING:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return number_text(value)
    if isinstance(value, list):
        return ",".join(map(text_of, value))
    return "[object Object]"


def json_text(value: JSON) -> str:
    """Write a value as compact JSON with JavaScript's numbers; missing keys are left out, missing items become null.

    Keys keep their order (JavaScript puts those that look like integers first). NaN and infinities become null.
    """
    if isinstance(value, str):
        return _json_string(value)
    if value is None or value is MISSING:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        text = number_text(value)
        return "null" if text[-1] in "yN" else text
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    pairs = (f"{_json_string(key)}:{json_text(item)}" for key, item in value.items() if item is not MISSING)
    return "{" + ",".join(pairs) + "}"


def _json_string(text: str) -> str:
    try:
        return orjson.dumps(text).decode()
    except orjson.JSONEncodeError:  # lone surrogates, which JSON.stringify escapes
        pieces = _SURROGATE.split(text)
        escapes = [f"\\u{ord(lone):04x}" for lone in _SURROGATE.findall(text)]
        written = [orjson.dumps(piece).decode()[1:-1] for piece in pieces]
        return '"' + "".join(map("".join, zip(written, [*escapes, ""], strict=True))) + '"'


def sweep(value: JSON, hole: JSON) -> JSON:
    """Return a value without missing object keys, at any depth; a missing list item becomes `hole`."""
    if isinstance(value, dict):
        return {key: sweep(item, hole) for key, item in value.items() if item is not MISSING}
    if isinstance(value, list):
        return [hole if item is MISSING else sweep(item, hole) for item in value]
    return value
