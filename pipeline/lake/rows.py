"""Routed messages as rows of one table, gathered until they are written to one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

import orjson

from pipeline.lake.columns import Column, text, widen
from pipeline.lake.names import column_name, event_slug
from pipeline.model import limits

COLUMNS_MOST: Final = 400
"""Most flattened columns in one file; values beyond are kept in the JSON columns only, and counted."""
PATHS_MOST: Final = 20_000
"""Most different places of values that a table remembers before it starts afresh."""

TIMESTAMPS: Final[Mapping[str, str]] = MappingProxyType(
    {"received_at": "receivedAt", "sent_at": "sentAt", "timestamp": "timestamp", "original_timestamp": "originalTimestamp"}
)
"""Columns of type timestamp, with their field of the message."""

_IDS: Final = {"id": "messageId", "anonymous_id": "anonymousId", "user_id": "userId"}
_CALL_TEXTS: Final[Mapping[str, Mapping[str, str]]] = {
    "identify": {},
    "track": {"event_text": "event"},
    "page": {"name": "name", "category": "category"},
    "screen": {"name": "name", "category": "category"},
    "group": {"group_id": "groupId"},
    "alias": {"previous_id": "previousId"},
}
_CALL_OBJECT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("identify", "group", "alias"), "traits"),
    **dict.fromkeys(("track", "page", "screen"), "properties"),
}
_DERIVED: Final = {"track": ("event",)}

OTHER_FIELDS: Final = "other_fields"
"""Column with the JSON text of the message's fields that have no column of their own."""


def fixed_columns(call: str) -> dict[str, str]:
    """List the columns that every file of a table has.

    Args:
        call: Spec call (`track`).

    Returns:
        Column names with their types, in order.
    """
    names = ["id", "source", "type", *_IDS, *_CALL_TEXTS[call], *_DERIVED.get(call, ())]
    kinds = dict.fromkeys(names, "varchar") | dict.fromkeys(TIMESTAMPS, "timestamp")
    return kinds | dict.fromkeys((_CALL_OBJECT[call], "context", "integrations", OTHER_FIELDS), "varchar")


class _Values:
    """The values of one flattened column; shorter than the table while its last rows have none."""

    __slots__ = ("name", "owner", "values")

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: list[Any] = []
        self.owner: _Place | None = None


class _Place:
    """A place in messages (`context.page.url`), and the column that its values go to."""

    __slots__ = ("children", "column", "path", "rank", "refused")

    def __init__(self, path: tuple[str, ...], rank: int) -> None:
        self.path = path
        self.rank = rank
        self.children: dict[str, _Place] = {}
        self.column: _Values | None = None
        self.refused = ""

    def precedence(self, name: str) -> tuple[int, bool, tuple[str, ...]]:
        """Order the places that fold to one column: context, then an exact name, then the first in sorted order."""
        return self.rank, self.path[-1] != name, self.path


class Table:
    """Rows of one spec call, on their way to one file.

    Attributes:
        call: Spec call (`track`).
        rows: How many rows it holds.
        notes: What could not be flattened, by kind: `over_limit`, `unnamed`, `clash`; and `renamed` (a name that is a fixed column's).
        events: How many rows each track event has, by its name as it was sent; the empty name for other calls.
    """

    __slots__ = (
        "_columns",
        "_context",
        "_fields",
        "_fixed",
        "_known",
        "_object",
        "_object_key",
        "_others",
        "_paths",
        "_source",
        "_texts",
        "call",
        "events",
        "notes",
        "rows",
    )

    def __init__(self, call: str, source: str) -> None:
        self.call = call
        self.rows = 0
        self.notes: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self._source = source
        self._fields = {**_IDS, **TIMESTAMPS, **_CALL_TEXTS[call]}
        self._object_key = _CALL_OBJECT[call]
        self._known = frozenset((*self._fields.values(), self._object_key, "type", "context", "integrations"))
        self._start_rows()
        self._forget()

    def _start_rows(self) -> None:
        self._fixed: dict[str, list[Any]] = {name: [] for name in fixed_columns(self.call)}
        self._texts = [(self._fixed[name], field) for name, field in self._fields.items()]

    def _forget(self) -> None:
        self._columns: dict[str, _Values] = {}
        self._paths = 0
        self._context = _Place(("context",), 0)
        self._object = _Place((), 1)
        self._others = _Place((), 2)

    def add(self, body: dict[str, Any]) -> None:
        """Add a message as a row; where this raises, the table is as it was before.

        Args:
            body: The spec message, of this table's call.

        Raises:
            ValueError: A value is nested too deeply to write.
        """
        try:
            self._add(body)
        except BaseException:
            self._truncate()
            raise
        self.rows += 1
        event = body.get("event") if self.call == "track" else ""
        self.events[event if event.__class__ is str else ""] += 1

    def _add(self, body: dict[str, Any]) -> None:
        fixed = self._fixed
        for values, field in self._texts:
            value = body.get(field)
            values.append(value if value is None or value.__class__ is str else text(value))
        self._add_object(self._object_key, body.get(self._object_key), self._object)
        self._add_object("context", body.get("context"), self._context)
        integrations = body.get("integrations")
        fixed["integrations"].append(None if integrations is None else _json(integrations))
        others = body.keys() - self._known
        if others:
            rest = {name: value for name, value in body.items() if name in others}
            fixed[OTHER_FIELDS].append(_json(rest))
            self._flatten(self._others, rest, 0)
        else:
            fixed[OTHER_FIELDS].append(None)
        if self.call == "track":
            event = body.get("event")
            fixed["event"].append((event_slug(event) or None) if event.__class__ is str else None)

    def _add_object(self, name: str, value: Any, place: _Place) -> None:  # noqa: ANN401 (any JSON value)
        self._fixed[name].append(None if value is None else _json(value))
        if value.__class__ is dict:
            self._flatten(place, value, 0)

    def _flatten(self, parent: _Place, fields: dict[str, Any], depth: int) -> None:
        places = parent.children
        row = self.rows
        for key, value in fields.items():
            if value is None:
                continue
            place = places.get(key)
            if place is None:
                place = places[key] = _Place((*parent.path, key), parent.rank)
                self._paths += 1
            kind = value.__class__
            if kind is dict and depth < limits.DEPTH:
                self._flatten(place, value, depth + 1)
                continue
            column = place.column or self._column(place)
            if column is None:
                self.notes[place.refused] += 1
                continue
            if kind is list or kind is dict:
                value = text(value)  # noqa: PLW2901 (arrays are stored as JSON text)
            values = column.values
            missing = row - len(values)
            if missing:
                if missing < 0:
                    self._settle(column, place, value)
                    continue
                values.extend([None] * missing)
            values.append(value)
            column.owner = place

    def _column(self, place: _Place) -> _Values | None:
        name = column_name(place.path)
        if not name:
            place.refused = "unnamed"
            return None
        if name in self._fixed:
            name = f"_{name}"
            self.notes["renamed"] += 1
        column = self._columns.get(name)
        if column is None:
            if len(self._columns) >= COLUMNS_MOST:
                place.refused = "over_limit"
                return None
            column = self._columns[name] = _Values(name)
        place.column = column
        return column

    def _settle(self, column: _Values, place: _Place, value: Any) -> None:  # noqa: ANN401 (any JSON value)
        """Decide between two values of one row that fold to one column."""
        self.notes["clash"] += 1
        owner = column.owner
        if owner is None or place.precedence(column.name) < owner.precedence(column.name):
            column.values[-1] = value
            column.owner = place

    def _truncate(self) -> None:
        for values in self._fixed.values():
            del values[self.rows :]
        for column in self._columns.values():
            del column.values[self.rows :]

    def take(self) -> list[Column]:
        """Give the columns of all rows, and start empty; what was learnt of names is kept as long as it is not too much.

        Returns:
            The fixed columns in their order, then those that have a value, sorted by name.
        """
        columns = list(self._take())
        crowded = len(self._columns) >= COLUMNS_MOST or self._paths >= PATHS_MOST
        self._start_rows()
        if crowded:
            self._forget()
        for column in self._columns.values():
            column.values = []
        self.rows = 0
        self.notes = Counter()
        self.events = Counter()
        return columns

    def _take(self) -> Iterator[Column]:
        rows = self.rows
        constant = {"source": self._source, "type": self.call}
        for name, kind in fixed_columns(self.call).items():
            values = [constant[name]] * rows if name in constant else self._fixed[name]
            yield Column(name, "timestamp" if kind == "timestamp" else "varchar", values)
        for name in sorted(self._columns):
            values = self._columns[name].values
            values.extend([None] * (rows - len(values)))
            column = widen(name, values)
            if column is not None:
                yield column


def _json(value: Any) -> str:  # noqa: ANN401 (any JSON value)
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # integers beyond 64 bits, deep nesting: the exact writer
        return text(value)
