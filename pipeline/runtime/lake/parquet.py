"""Columns as Parquet, and several small Parquet files as one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

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
_COMPRESSED_FROM: Final = 64 * 1024
"""Bytes in memory from which a column that has a dictionary is compressed: below, making a compressor ready costs more than all the rest."""
GROUP_BYTES: Final = 24 * 1024 * 1024
"""About the most that one row group of a merged file takes in memory."""
_ROWS_AT_ONCE: Final = 8_000


class Written(NamedTuple):
    """A Parquet file.

    Attributes:
        data: Its bytes.
        rows: How many rows it has.
        columns: Type of each column.
    """

    data: bytes
    rows: int
    columns: dict[str, ColumnType]


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


def write_tables(tables: Iterable[pa.Table]) -> Written:
    """Write tables as one Parquet file, a row group of each, compressed with zstd where that pays.

    Args:
        tables: At least one; all of the same columns.

    Returns:
        The file.
    """
    buffer = BytesIO()
    rows = 0
    with ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        for table in tables:
            if writer is None:
                writer = stack.enter_context(_writer(buffer, table))
            writer.write_table(table)
            rows += table.num_rows
        assert writer is not None  # noqa: S101 (there is at least one table)
    return Written(buffer.getvalue(), rows, column_types(writer.schema))


def _writer(buffer: BytesIO, first: pa.Table) -> pq.ParquetWriter:
    names = first.column_names
    codecs = {
        name: "zstd" if name in _PLAIN_TEXTS or column.nbytes >= _COMPRESSED_FROM else "none"
        for name, column in zip(names, first.columns, strict=True)
    }
    return pq.ParquetWriter(
        buffer,
        first.schema,
        compression=codecs,
        compression_level={name: 1 for name, codec in codecs.items() if codec == "zstd"},
        use_dictionary=[name for name in names if name not in _PLAIN_TEXTS],
        write_statistics=["received_at", "timestamp"],
    )


def column_types(schema: pa.Schema) -> dict[str, ColumnType]:
    """Give the types of columns.

    Args:
        schema: The columns.

    Returns:
        Type by column name.
    """
    return {field.name: _NAMES[field.type] for field in schema}


def read_united(paths: Sequence[Path]) -> Iterator[pa.Table]:
    """Read several files of one table as one, each column as the narrowest type that holds all its values.

    Args:
        paths: The files, in the order in which their rows are to lie.

    Yields:
        The table in pieces of the same columns, each about `GROUP_BYTES` large, so that large files need no more memory than small ones.

    Raises:
        OSError: A file is missing or damaged.
    """
    schema = _united([column_types(pq.read_schema(path)) for path in paths])
    waiting: list[pa.Table] = [schema.empty_table()]
    size = 0
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE):
                piece = pa.Table.from_batches([batch])
                wanted = pa.schema([schema.field(name) for name in piece.column_names])
                if piece.schema != wanted:
                    piece = piece.cast(wanted, safe=False)
                waiting.append(piece)
                size += piece.nbytes
                if size >= GROUP_BYTES:
                    yield pa.concat_tables(waiting, promote_options="default")
                    waiting, size = waiting[:1], 0
    if len(waiting) > 1:
        yield pa.concat_tables(waiting, promote_options="default")


def _united(types: Sequence[Mapping[str, ColumnType]]) -> pa.Schema:
    texts = conflicts(types)
    united: dict[str, set[ColumnType]] = {}
    for columns in types:
        for name, kind in columns.items():
            united.setdefault(name, set()).add(kind)
    return pa.schema([(name, _TYPES[_common(kinds, is_text=name in texts)]) for name, kinds in united.items()])


def _common(kinds: set[ColumnType], *, is_text: bool) -> ColumnType:
    if len(kinds) == 1:
        return next(iter(kinds))
    return "double" if kinds == {"bigint", "double"} and not is_text else "varchar"
