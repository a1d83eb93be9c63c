"""SQL over a lake: views of its tables in DuckDB, reading only the files that the manifest lists (`headrace query`)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import duckdb

from pipeline.lake.columns import conflicts
from pipeline.lake.manifest import BrokenChain, DataFile
from pipeline.lake.names import TABLES
from pipeline.lake.rows import MESSAGE, extracted_columns, stored_columns
from pipeline.runtime.lake.chain import MANIFEST, read_chain

VIEWS_MOST: Final = 1000
"""Most views of single events."""

_WEB_COLUMNS: Final = ("url", "path", "title", "search", "referrer")
_CONTEXT_COLUMNS: Final = (
    *(f"context_campaign_{name}" for name in ("source", "medium", "name", "term", "content")),
    "context_ip",
    "context_user_agent",
)
"""Columns that the common dbt packages expect, whether or not a value ever came (warehouse reference §11)."""

_INTEGER_LEAST: Final = -(2**63)
_INTEGER_MOST: Final = 2**64 - 1
"""The integers that the writer of JSON takes."""
_WORD: Final = re.compile(r"\w+", re.ASCII)
_LISTING: Final = frozenset(("show", "describe", "information_schema", "duckdb_views", "duckdb_tables", "duckdb_columns", "summarize"))
_SQL_TYPES: Final = {
    "varchar": "VARCHAR",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "boolean": "BOOLEAN",
    "bigint": "BIGINT",
    "double": "DOUBLE",
    "json": "VARCHAR",
}


class QueryError(Exception):
    """The query cannot be answered; the message says why and what to do."""


class Answer(NamedTuple):
    """What a query gives.

    Attributes:
        columns: Column names, in order.
        rows: Values, with those types that JSON has: times as ISO-8601 text in UTC.
    """

    columns: list[str]
    rows: list[list[Any]]


class Contents(NamedTuple):
    """What a lake holds.

    Attributes:
        rows: How many rows its files have.
        checksum: A text that is equal for equal rows (source, message id, time of receipt and the whole message), in whatever order and files.
    """

    rows: int
    checksum: str


def lake_contents(root: Path) -> Contents:
    """Add up the rows of a lake as they lie in the files that count, doubled ones twice.

    Args:
        root: The lake's folder.

    Returns:
        Rows and checksum.

    Raises:
        QueryError: The manifest is damaged, or a file is missing.
    """
    files = lake_files(root)
    if not files:
        return Contents(0, "0" * 16)
    paths = ", ".join(_text(str(root / file.path)) for file in files)
    sql = f"SELECT count(*), sum(CAST(hash(source, id, received_at, {MESSAGE}) AS HUGEINT)) FROM read_parquet([{paths}], union_by_name = true)"  # noqa: S608 (paths are quoted)
    connection = duckdb.connect(":memory:")
    try:
        found = connection.execute(sql).fetchone()
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    finally:
        connection.close()
    rows, total = found or (0, 0)
    return Contents(rows, f"{(total or 0) % 2**64:016x}")


def lake_files(root: Path) -> list[DataFile]:
    """List the files of a lake that count.

    Args:
        root: The lake's folder.

    Returns:
        Its files; empty where there is no lake yet.

    Raises:
        QueryError: The manifest is damaged.
    """
    manifest = root / MANIFEST
    if not manifest.is_dir():
        return []
    try:
        return [file for chain in sorted(manifest.iterdir()) if chain.is_dir() for record in read_chain(chain) for file in record.files]
    except (BrokenChain, ValueError) as error:
        raise QueryError(f"The manifest of {root} is damaged: {error}.") from error


def count_rows(root: Path, since: datetime | None = None) -> Counter[str]:
    """Count the rows of a lake by message id, without the views, which would hide a second row of one message.

    Args:
        root: The lake's folder.
        since: Count only messages that were received then or later; all of them unless given.

    Returns:
        Rows by message id.

    Raises:
        QueryError: The manifest is damaged.
    """
    paths = [str(root / file.path) for file in lake_files(root)]
    if not paths:
        return Counter()
    rows = "SELECT id, count(*) FROM read_parquet($paths, union_by_name = true, hive_partitioning = false)"
    with duckdb.connect(":memory:") as connection:
        if since is None:
            return Counter(dict(connection.execute(f"{rows} GROUP BY id", {"paths": paths}).fetchall()))
        recent = f"{rows} WHERE received_at >= $since GROUP BY id"
        return Counter(dict(connection.execute(recent, {"paths": paths, "since": since}).fetchall()))


def open_lake(root: Path, *, only: Iterable[str] | None = None, listed: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a lake for queries: the views see the rows that were committed up to now, one for each source and message id.

    The connection can read the lake's files and nothing else outside, and its settings are locked.

    Args:
        root: The lake's folder; where it does not exist, the views are empty.
        only: Names of the views that are wanted, or None for all: the six tables, and one view for each track event.
        listed: Whether the views of the other events are there too, without rows, so that a listing names them. A view with rows takes as long to
            make as the columns of the whole table take to be looked up: a minute for a thousand of them.

    Returns:
        The connection; close it.

    Raises:
        QueryError: The manifest is damaged.
    """
    root = root.resolve()
    files = lake_files(root)
    connection = duckdb.connect(":memory:")
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET parquet_metadata_cache = true")
        wanted = None if only is None else frozenset(only) | (frozenset(TABLES.values()) if listed else frozenset())
        events = _event_views(files)
        for call, table in TABLES.items():
            needs = {table} | (set(events) if call == "track" else set())
            if wanted is None or wanted & needs:
                _make_view(connection, root, call, [file for file in files if file.call == call])
        for view, slug in events.items():
            if wanted is None or view in wanted:
                connection.execute(f"CREATE VIEW {_name(view)} AS SELECT * FROM tracks WHERE event = {_text(slug)}")  # noqa: S608 (quoted)
            elif listed:
                connection.execute(f"CREATE VIEW {_name(view)} AS SELECT NULL AS id WHERE false")
        connection.execute(f"SET allowed_directories = [{_text(f'{root}/')}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return connection


def run_query(root: Path, sql: str) -> Answer:
    """Answer one SELECT over a lake.

    Args:
        root: The lake's folder.
        sql: One statement in DuckDB's SQL that reads (SELECT, SHOW, DESCRIBE, SUMMARIZE, VALUES, FROM).

    Returns:
        Columns and rows.

    Raises:
        QueryError: The statement is not one that reads, names what is not there, or the manifest is damaged.
    """
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise QueryError("Give one statement that reads: SELECT, SHOW, DESCRIBE or SUMMARIZE. A lake is written by its pipeline only.")
    words = {word.lower() for word in _WORD.findall(sql)}
    connection = open_lake(root, only=words, listed=bool(words & _LISTING))
    try:
        found = connection.execute(statements[0])
        columns = _unique([description[0] for description in found.description or ()])
        return Answer(columns, [[_plain(value) for value in row] for row in found.fetchall()])
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    finally:
        connection.close()


def _event_views(files: Sequence[DataFile]) -> dict[str, str]:
    """Name the view of each track event; one that would hide a table gets a `_` before its name."""
    slugs = sorted({slug for file in files for slug in file.events})[:VIEWS_MOST]
    return {f"_{slug}" if slug in TABLES.values() else slug: slug for slug in slugs}


def _make_view(connection: duckdb.DuckDBPyConnection, root: Path, call: str, files: Sequence[DataFile]) -> None:
    columns = stored_columns(call)
    expected = dict.fromkeys((*(_WEB_COLUMNS if call == "page" else ()), *_CONTEXT_COLUMNS), "varchar")
    known = {name for file in files for name in file.columns}
    padding = {name: kind for name, kind in {**columns, **expected}.items() if name not in known}
    nulls = "".join(f", CAST(NULL AS {_SQL_TYPES[kind]}) AS {_name(name)}" for name, kind in padding.items())
    extracted = ", ".join(
        f"nullif(CAST(json_extract({MESSAGE}, '$.{field}') AS VARCHAR), 'null') AS {name}" for name, field in extracted_columns(call).items()
    )
    if not files:
        connection.execute(f"CREATE VIEW {TABLES[call]} AS SELECT *, {extracted} FROM (SELECT {nulls.removeprefix(', ')}) WHERE false")  # noqa: S608 (the same)
        return
    rows = f"SELECT *{nulls} FROM ({_union(root, files)})"  # noqa: S608 (names are quoted)
    doubled = connection.execute(f"SELECT count(*) > count(DISTINCT hash(source, id)) FROM ({rows})").fetchone()  # noqa: S608 (the same)
    if doubled is not None and doubled[0]:
        rows += " QUALIFY row_number() OVER (PARTITION BY source, id ORDER BY received_at, sent_at) = 1"
    connection.execute(f"CREATE VIEW {TABLES[call]} AS SELECT * EXCLUDE ({MESSAGE}), {extracted}, {MESSAGE} FROM ({rows})")  # noqa: S608 (the same)


def _union(root: Path, files: Sequence[DataFile]) -> str:
    """Read files as one. DuckDB widens types by itself, except that it takes booleans for numbers: such columns are read as texts."""
    texts = conflicts(file.columns for file in files)
    groups: dict[tuple[tuple[str, str], ...], list[DataFile]] = {}
    for file in files:
        kinds = tuple((name, file.columns[name]) for name in sorted(texts & file.columns.keys())) if texts else ()
        groups.setdefault(kinds, []).append(file)
    return " UNION ALL BY NAME ".join(_read(root, group, [name for name, _ in kinds]) for kinds, group in groups.items())


def _read(root: Path, files: Sequence[DataFile], texts: Sequence[str]) -> str:
    paths = ", ".join(_text(str(root / file.path)) for file in files)
    casts = ", ".join(f"CAST({_name(name)} AS VARCHAR) AS {_name(name)}" for name in texts)
    replace = f" REPLACE ({casts})" if casts else ""
    return f"SELECT *{replace} FROM read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"  # noqa: S608 (paths are quoted)


def _unique(columns: Sequence[str]) -> list[str]:
    """Tell columns of one name apart: the second `id` is `id_1`, unless another column is called that."""
    taken = set(columns)
    given: list[str] = []
    for name in columns:
        new = name
        number = 0
        while new in given or (number and new in taken):
            number += 1
            new = f"{name}_{number}"
        given.append(new)
    return given


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _plain(value: Any) -> Any:  # noqa: ANN401, PLR0911 (any SQL value; one line for each type)
    """Give a value as a type that JSON has; a number that neither a 64-bit integer nor a double can say is text with its digits."""
    if isinstance(value, int) and not _INTEGER_LEAST <= value <= _INTEGER_MOST:
        return str(value)
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, datetime):
        utc = value.astimezone(UTC) if value.tzinfo else value
        return utc.isoformat(timespec="microseconds" if utc.microsecond % 1000 else "milliseconds").replace("+00:00", "Z")
    if isinstance(value, Decimal):
        if value == value.to_integral_value():
            return _plain(int(value))
        return float(value) if Decimal(repr(float(value))) == value else str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return str(value)
