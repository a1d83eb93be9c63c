"""Files in pieces."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.runtime.lake import parquet
from pipeline.runtime.lake.parquet import read_united, write_tables


def test_files_are_united_in_pieces_of_a_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files are never in memory as a whole: rows keep their order, each column its widest type, and one that a file lacks is null."""
    monkeypatch.setattr(parquet, "_ROWS_AT_ONCE", 2)
    monkeypatch.setattr(parquet, "GROUP_BYTES", 1)
    paths = [tmp_path / "a", tmp_path / "b"]
    paths[0].write_bytes(write_tables([pa.table({"id": ["1", "2", "3"], "n": [1, 2, 3]})]).data)
    paths[1].write_bytes(write_tables([pa.table({"id": ["4"], "n": [0.5], "m": ["x"]})]).data)
    written = write_tables(read_united(paths))
    assert (written.rows, written.columns) == (4, {"id": "varchar", "n": "double", "m": "varchar"})
    file = pq.ParquetFile(pa.BufferReader(written.data))
    assert [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)] == [2, 1, 1]
    assert file.read().to_pydict() == {"id": ["1", "2", "3", "4"], "n": [1.0, 2.0, 3.0, 0.5], "m": [None, None, None, "x"]}


def test_only_columns_that_are_worth_it_are_compressed() -> None:
    """The whole message and the ids always are; others from the size on from which it pays."""
    table = pa.table({"id": ["1"] * 9_000, "message_json": ["{}"] * 9_000, "few": [None, *["x"] * 8_999], "many": ["y" * 90] * 9_000})
    group = pq.ParquetFile(pa.BufferReader(write_tables([table]).data)).metadata.row_group(0)
    found = {group.column(number).path_in_schema: group.column(number).compression for number in range(group.num_columns)}
    assert found == {"id": "ZSTD", "message_json": "ZSTD", "few": "UNCOMPRESSED", "many": "ZSTD"}
