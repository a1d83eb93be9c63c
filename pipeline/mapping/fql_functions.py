"""What the filter language compares and computes: equality, order, and its functions.

Every function takes any JSON and never raises. Source of the rules: reference/mapping.md §2.3, §2.4; for the
transformations Segment's public page on FQL.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Final, NamedTuple

from pipeline.mapping.glob import compile_glob
from pipeline.mapping.values import JSON, json_text, number_text

_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?")
_VERSION: Final = re.compile(r"[0-9]{1,18}(?:\.[0-9]{1,18}){0,2}")
_TYPES: Final = {str: "string", int: "number", float: "number", bool: "bool", list: "list", dict: "object"}
_ORDERS: Final[dict[str, Callable[[JSON, JSON], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    "!=": operator.ne,
}


def is_number(value: JSON) -> bool:
    """Tell whether a value is a number; booleans are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def equal(left: JSON, right: JSON) -> bool:
    """Tell whether two values have the same type and are equal; lists and objects by their JSON text."""
    if isinstance(left, bool) or isinstance(right, bool) or left is None:
        return left is right
    if isinstance(left, str):
        return isinstance(right, str) and left == right
    if isinstance(left, (list, dict)):
        return type(left) is type(right) and json_text(left) == json_text(right)
    return is_number(right) and bool(left == right)


def ordered(sign: str) -> Callable[[JSON, JSON], bool]:
    """Return the comparison for `<`, `<=`, `>` or `>=`: false unless both sides are numbers."""
    compare = _ORDERS[sign]

    def compared(left: JSON, right: JSON) -> bool:
        return is_number(left) and is_number(right) and compare(left, right)

    return compared


def contained(item: JSON, values: JSON) -> bool:
    """Tell whether a list has an item equal to a value; false where there is no list."""
    return isinstance(values, list) and any(equal(item, value) for value in values)


def _contains(text: JSON, part: JSON) -> bool:
    return isinstance(text, str) and isinstance(part, str) and part in text


def _match(text: JSON, pattern: JSON) -> bool:
    return isinstance(text, str) and isinstance(pattern, str) and compile_glob(pattern)(text)


def _length(value: JSON) -> JSON:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return len(value)
    return 0 if value is None else math.nan  # NaN compares false with every number


def _typeof(value: JSON) -> str:
    return _TYPES.get(type(value), "null")


def _on_text(transform: Callable[[str], str]) -> Callable[[JSON], JSON]:
    return lambda value: transform(value) if isinstance(value, str) else None


def _title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def _bool(value: JSON) -> bool:
    if isinstance(value, str):
        return value == "true"
    return bool(value)


def _string(value: JSON) -> JSON:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, dict, bool)):
        return json_text(value)
    return number_text(value)


def _number(value: JSON) -> JSON:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return value if is_number(value) else None


def _semver(left: JSON, sign: JSON, right: JSON) -> bool:
    first, second = _version(left), _version(right)
    if first is None or second is None or not isinstance(sign, str) or sign not in _ORDERS:
        return False
    return _ORDERS[sign](first, second)


def _version(value: JSON) -> tuple[int, ...] | None:
    if not isinstance(value, str) or _VERSION.fullmatch(value) is None:
        return None
    numbers = tuple(map(int, value.split(".")))
    return numbers + (0,) * (3 - len(numbers))


class Function(NamedTuple):
    """A function of the filter language.

    Attributes:
        signature: How it is written, for hints.
        arity: How many values it takes.
        evaluate: Computes it from values.
    """

    signature: str
    arity: int
    evaluate: Callable[..., JSON]


FUNCTIONS: Final = MappingProxyType(
    {
        "bool": Function("bool(value)", 1, _bool),
        "contains": Function("contains(text, part)", 2, _contains),
        "kebabcase": Function("kebabcase(text)", 1, _on_text(lambda text: text.replace(" ", "-"))),
        "length": Function("length(list or text)", 1, _length),
        "lowercase": Function("lowercase(text)", 1, _on_text(str.lower)),
        "match": Function("match(text, 'pattern*')", 2, _match),
        "number": Function("number(text)", 1, _number),
        "semver": Function("semver(version, '>=', version)", 3, _semver),
        "snakecase": Function("snakecase(text)", 1, _on_text(lambda text: text.replace(" ", "_"))),
        "string": Function("string(value)", 1, _string),
        "titlecase": Function("titlecase(text)", 1, _on_text(_title)),
        "typeof": Function("typeof(value)", 1, _typeof),
        "uppercase": Function("uppercase(text)", 1, _on_text(str.upper)),
    }
)
"""Every function by its name."""
