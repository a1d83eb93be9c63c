"""The widening lattice."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lake.columns import Column, conflicts, widen

SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, None, 2], ("bigint", [1, None, 2])),
        ([1, 2.5], ("double", [1.0, 2.5])),
        ([2**53 + 1, 2.5], ("varchar", ["9007199254740993", "2.5"])),
        ([2**53 + 1], ("bigint", [2**53 + 1])),
        ([2**63], ("varchar", ["9223372036854775808"])),
        ([True, None], ("boolean", [True, None])),
        ([True, 1], ("varchar", ["true", "1"])),
        ([True, "x"], ("varchar", ["true", "x"])),
        ([1, "x"], ("varchar", ["1", "x"])),
    ],
)
def test_widen_finds_the_narrowest_exact_type(values: list[Any], expected: tuple[str, list[Any]]) -> None:
    """Types widen along the lattice, and never at the cost of a value."""
    assert widen("c", values) == Column("c", *expected)  # type: ignore[arg-type]  # a pair of the table


def test_widen_gives_no_column_for_nulls() -> None:
    """A column exists only with a value."""
    assert widen("c", [None, None]) is None


@given(st.lists(SCALARS, min_size=1))
def test_widen_keeps_nulls_and_length(values: list[Any]) -> None:
    """Every row keeps its place, and only nulls are null."""
    column = widen("c", values)
    if column is not None:
        assert [value is None for value in column.values] == [value is None for value in values]


def test_conflicts_are_booleans_beside_numbers() -> None:
    """Only what a reader would unite wrongly is named."""
    files: list[Any] = [{"a": "boolean", "b": "boolean", "c": "bigint"}, {"a": "bigint", "b": "varchar", "c": "double"}]
    assert conflicts(files) == {"a"}
