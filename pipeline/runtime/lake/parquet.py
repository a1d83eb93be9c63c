"""Columns as Parquet, and several small Parquet files as one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lake.columns import Column, ColumnType, conflicts
from pipeline.lake.hours import instant
from pipeline.lake.rows import MESSAGE

_TYPES: Final[Mapping[ColumnType, pa.DataType]] = MappingProxyType(
    {
        "varchar": pa.string(),
        "boolean": pa.bool_(),
        "bigint": pa.int64(),
        "double": pa.float64(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "json": pa.string(),
    }
)
_NAMES: Final = {data_type: name for name, data_type in _TYPES.items() if name != "json"}
_PLAIN_TEXTS: Final = frozenset(("id", MESSAGE))
"""Columns whose values hardly repeat: a dictionary of them costs time and saves nothing."""


def to_arrow(columns: Iterable[Column]) -> pa.Table:
    """Lay columns out in memory.

    Args:
        columns: Columns of one table, all of the same length.

    Returns:
        The table.
    """
    names, arrays = [], []
    for column in columns:
        names.append(column.name)
        arrays.append(_array(column))
    return pa.Table.from_arrays(arrays, names=names)


def _array(column: Column) -> pa.Array:
    if column.type == "timestamp":
        return _timestamps(column.values)
    if column.type == "json":  # by way of binary, because Arrow copies bytes faster than it checks them one by one
        return pa.array(column.values, pa.binary()).cast(pa.string())
    return pa.array(column.values, _TYPES[column.type])


def _timestamps(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.string()).cast(_TYPES["timestamp"])
    except pa.ArrowInvalid:  # a form that only the slower reader knows, or no time at all
        return pa.array([None if value is None else instant(value) for value in values], _TYPES["timestamp"])


def write_table(table: pa.Table) -> bytes:
    """Write a table as one Parquet file, compressed with zstd.

    Args:
        table: The table.

    Returns:
        The file's bytes.
    """
    buffer = BytesIO()
    dictionary = [name for name in table.column_names if name not in _PLAIN_TEXTS]
    pq.write_table(table, buffer, compression="zstd", compression_level=1, use_dictionary=dictionary, write_statistics=["received_at", "timestamp"])
    return buffer.getvalue()


def column_types(table: pa.Table) -> dict[str, ColumnType]:
    """Give the types of a table's columns.

    Args:
        table: The table.

    Returns:
        Type by column name.
    """
    return {field.name: _NAMES[field.type] for field in table.schema}


def read_united(paths: Sequence[Path]) -> pa.Table:
    """Read several files of one table as one, each column as the narrowest type that holds all its values.

    Args:
        paths: The files, in the order in which their rows are to lie.

    Returns:
        The table.

    Raises:
        OSError: A file is missing or damaged.
    """
    tables = [pq.ParquetFile(path).read() for path in paths]
    types = [column_types(table) for table in tables]
    texts = conflicts(types)
    united: dict[str, set[ColumnType]] = {}
    for columns in types:
        for name, kind in columns.items():
            united.setdefault(name, set()).add(kind)
    targets = {name: _TYPES[_common(kinds, is_text=name in texts)] for name, kinds in united.items()}
    cast = [table.cast(pa.schema([(name, targets[name]) for name in table.column_names]), safe=False) for table in tables]
    return pa.concat_tables(cast, promote_options="default").combine_chunks()


def _common(kinds: set[ColumnType], *, is_text: bool) -> ColumnType:
    if len(kinds) == 1:
        return next(iter(kinds))
    return "double" if kinds == {"bigint", "double"} and not is_text else "varchar"
