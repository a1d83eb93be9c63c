"""Types of columns: the widening lattice (warehouse reference §3), applied to the values of one file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from pipeline.model.json_text import encode

ColumnType = Literal["boolean", "bigint", "double", "varchar", "timestamp", "json"]

_EXACT_INTEGER: Final = 2**53
_INT64_MOST: Final = 2**63 - 1
_NOTHING: Final = type(None)
_ONLY: Final[Mapping[type, ColumnType]] = MappingProxyType({str: "varchar", bool: "boolean", float: "double", int: "bigint"})


class Column(NamedTuple):
    """One column of one file.

    Attributes:
        name: Its name.
        type: Its type; the values of a `timestamp` are ISO-8601 texts, those of a `json` are UTF-8 bytes.
        values: One value for each row, None for null.
    """

    name: str
    type: ColumnType
    values: list[Any]


def widen(name: str, values: list[Any]) -> Column | None:
    """Find the narrowest type that holds every value of a column exactly.

    Booleans and strings widen to string; integers to float, as long as a float holds each of them exactly, else to string. In a
    column of strings every other value stands as its JSON text.

    Args:
        name: Name of the column.
        values: JSON scalars, None for null.

    Returns:
        The column, or None where all values are null.
    """
    kinds = set(map(type, values))
    kinds.discard(_NOTHING)
    if not kinds:
        return None
    only = _ONLY.get(next(iter(kinds))) if len(kinds) == 1 else None
    if only is not None and (only != "bigint" or _within(values, _INT64_MOST)):
        return Column(name, only, values)
    if kinds == {int, float} and _within((value for value in values if value.__class__ is int), _EXACT_INTEGER):
        return Column(name, "double", [None if value is None else float(value) for value in values])
    return Column(name, "varchar", [value if value is None or value.__class__ is str else text(value) for value in values])


def _within(values: Iterable[int | None], most: int) -> bool:
    return all(value is None or -most <= value <= most for value in values)


def text(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    """Write a value as compact JSON text.

    Args:
        value: Any JSON value.

    Returns:
        The text, integers of any size exactly.

    Raises:
        ValueError: The value is nested too deeply to write.
    """
    return encode(value).decode()


def conflicts(files: Iterable[Mapping[str, ColumnType]]) -> frozenset[str]:
    """Find the columns that no reader may unite by itself: boolean in one file and a number in another.

    Args:
        files: Columns of each file, by name.

    Returns:
        Names of the columns that must be read as strings.
    """
    booleans: set[str] = set()
    numbers: set[str] = set()
    for columns in files:
        for name, kind in columns.items():
            if kind == "boolean":
                booleans.add(name)
            elif kind in ("bigint", "double"):
                numbers.add(name)
    return frozenset(booleans & numbers)
