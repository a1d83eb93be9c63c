"""Routed messages as rows of one table, gathered until they are written to one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from pipeline.lake.columns import Column, ColumnType, text, widen
from pipeline.lake.names import column_name, event_slug
from pipeline.model import limits

COLUMNS_MOST: Final = 400
"""Most flattened columns in one file; values beyond are kept in the whole message only, and counted."""
PATHS_MOST: Final = 20_000
"""Most different places of values that a table remembers before it starts afresh."""

_ROW_BYTES: Final = 200
"""What a row takes in memory beside its values and its place in each flattened column."""
_SLOT_BYTES: Final = 8

TIMESTAMPS: Final[Mapping[str, str]] = MappingProxyType(
    {"received_at": "receivedAt", "sent_at": "sentAt", "timestamp": "timestamp", "original_timestamp": "originalTimestamp"}
)
"""Columns of type timestamp, with their field of the message."""
MESSAGE: Final = "message_json"
"""Column with the whole message as it was routed, JSON text."""

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


def stored_columns(call: str) -> dict[str, ColumnType]:
    """List the columns that every file of a table has.

    Args:
        call: Spec call (`track`).

    Returns:
        Column names with their types, in order.
    """
    names = ("id", "source", "type", "anonymous_id", "user_id", *(("event",) if call == "track" else ()), *_CALL_TEXTS[call])
    return {**dict.fromkeys(names, "varchar"), **dict.fromkeys(TIMESTAMPS, "timestamp"), MESSAGE: "json"}


def extracted_columns(call: str) -> dict[str, str]:
    """List the columns that a reader takes out of the whole message: the objects that a call carries, as JSON text.

    Args:
        call: Spec call (`track`).

    Returns:
        Column names with their field of the message.
    """
    return {name: name for name in (_CALL_OBJECT[call], "context", "integrations")}


class _Values:
    """The values of one flattened column; shorter than the table while its last rows have none."""

    __slots__ = ("name", "owner", "places", "values")

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: list[Any] = []
        self.places: list[_Place] = []
        self.owner: _Place | None = None

    def begin(self) -> None:
        """Start with no values; what held them keeps them."""
        self.values = []
        self.share()

    def share(self) -> None:
        """Let its place add values by itself, where no other place shares the column."""
        for place in self.places:
            place.values = None if len(self.places) > 1 else self.values


class _Place:
    """A place in messages (`context.page.url`), and the column that its values go to.

    Attributes:
        values: The column's values where no other place shares the column; else None, and `_put` decides.
    """

    __slots__ = ("children", "column", "path", "rank", "refused", "values")

    def __init__(self, path: tuple[str, ...], rank: int) -> None:
        self.path = path
        self.rank = rank
        self.children: dict[str, _Place] = {}
        self.column: _Values | None = None
        self.refused = ""
        self.values: list[Any] | None = None

    def precedence(self, name: str) -> tuple[int, bool, tuple[str, ...]]:
        """Order the places that fold to one column: context, then an exact name, then the first in sorted order."""
        return self.rank, self.path[-1] != name, self.path


class Table:
    """Rows of one spec call, on their way to one file.

    Args:
        call: Spec call (`track`).
        source: Source id.

    Attributes:
        call: Spec call (`track`).
        rows: How many rows it holds.
        notes: What was not flattened as it is named, by kind: `over_limit`, `unnamed`, `clash`, `renamed` (places, once for each file).
        events: How many rows each track event has, by its name as it was sent; the empty name for other calls.
    """

    __slots__ = (
        "_columns",
        "_context",
        "_fields",
        "_known",
        "_object",
        "_others",
        "_paths",
        "_reserved",
        "_source",
        "_stored",
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
        self._begin()
        fields = self._fields
        self._known = frozenset((*fields.values(), *extracted_columns(call).values(), "type"))
        self._reserved = stored_columns(call).keys() | extracted_columns(call).keys()
        self._forget()

    def _begin(self) -> None:
        self._stored: dict[str, list[Any]] = {name: [] for name in stored_columns(self.call)}
        self._texts = [(self._stored[name], field) for name, field in self._fields.items()]

    def _forget(self) -> None:
        self._columns: dict[str, _Values] = {}
        self._paths = 0
        self._context = _Place(("context",), 0)
        self._object = _Place((), 1)
        self._others = _Place((), 2)

    def add(self, body: dict[str, Any], message: bytes) -> None:
        """Add a message as a row; where this raises, the table is as it was before.

        Args:
            body: The spec message, of this table's call.
            message: Its JSON text.

        Raises:
            ValueError: A value is nested too deeply to write.
        """
        try:
            self._add(body, message)
        except BaseException:
            self._truncate()
            raise
        self.rows += 1

    def _add(self, body: dict[str, Any], message: bytes) -> None:
        get = body.get
        for values, field in self._texts:
            value = get(field)
            values.append(value if value.__class__ is str or value is None else text(value))
        self._stored[MESSAGE].append(message)
        fields = body.get("context")
        if fields.__class__ is dict:
            self._flatten(self._context, fields, 0)
        fields = body.get(_CALL_OBJECT[self.call])
        if fields.__class__ is dict:
            self._flatten(self._object, fields, 0)
        if not body.keys() <= self._known:
            self._flatten(self._others, {name: value for name, value in body.items() if name not in self._known}, 0)
        if self.call == "track":
            event = body.get("event")
            event = event if event.__class__ is str else ""
            self._stored["event"].append(event_slug(event) or None)
            self.events[event] += 1
        else:
            self.events[""] += 1

    def _flatten(self, parent: _Place, fields: dict[str, Any], depth: int) -> None:
        places = parent.children
        row = self.rows
        for key, value in fields.items():
            if value is None:
                continue
            try:
                place = places[key]
            except KeyError:
                place = places[key] = _Place((*parent.path, key), parent.rank)
                self._paths += 1
            kind = value.__class__
            if kind is dict and depth < limits.DEPTH:
                self._flatten(place, value, depth + 1)
                continue
            if kind is list or kind is dict:
                value = text(value)  # noqa: PLW2901 (arrays are stored as JSON text)
            values = place.values
            if values is None:
                self._put(place, value)
                continue
            missing = row - len(values)
            if missing:
                values.extend([None] * missing)
            values.append(value)

    def _put(self, place: _Place, value: Any) -> None:  # noqa: ANN401 (any JSON scalar)
        """Add a value whose place has no column yet, or shares its column with other places."""
        column = place.column or self._column(place)
        if column is None:
            self.notes[place.refused] += 1
            return
        missing = self.rows - len(column.values)
        if missing >= 0:
            column.values.extend([None] * missing)
            column.values.append(value)
            column.owner = place
            return
        self.notes["clash"] += 1
        if column.owner is None or place.precedence(column.name) < column.owner.precedence(column.name):
            column.values[-1] = value
            column.owner = place

    def _column(self, place: _Place) -> _Values | None:
        name = column_name(place.path)
        if not name:
            place.refused = "unnamed"
            return None
        if name in self._reserved:
            name = f"_{name}"
            self.notes["renamed"] += 1
        column = self._columns.get(name)
        if column is None:
            if len(self._columns) >= COLUMNS_MOST:
                place.refused = "over_limit"
                return None
            column = self._columns[name] = _Values(name)
        place.column = column
        column.places.append(place)
        if len(column.places) > 1 and column.owner is None:
            column.owner = column.places[0]
        column.share()
        return column

    @property
    def memory(self) -> int:
        """About how many bytes its columns take beside the values."""
        return self.rows * (_ROW_BYTES + _SLOT_BYTES * len(self._columns))

    def _truncate(self) -> None:
        """Let go of what a failed row has added."""
        for values in self._stored.values():
            del values[self.rows :]
        for column in self._columns.values():
            del column.values[self.rows :]

    def take(self) -> list[Column]:
        """Give the columns of all rows, and start empty; what was learnt of names is kept as long as it is not too much.

        Returns:
            The stored columns in their order, then those that have a value, sorted by name.
        """
        columns = list(self._take())
        self._begin()
        if len(self._columns) >= COLUMNS_MOST or self._paths >= PATHS_MOST:
            self._forget()
        for column in self._columns.values():
            column.begin()
        self.rows = 0
        self.notes = Counter()
        self.events = Counter()
        return columns

    def _take(self) -> Iterator[Column]:
        rows = self.rows
        constant = {"source": self._source, "type": self.call}
        for name, kind in stored_columns(self.call).items():
            yield Column(name, kind, [constant[name]] * rows if name in constant else self._stored[name])
        for name in sorted(self._columns):
            values = self._columns[name].values
            if not values:
                continue
            values.extend([None] * (rows - len(values)))
            column = widen(name, values)
            if column is not None:
                yield column
