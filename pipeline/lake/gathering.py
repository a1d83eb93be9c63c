"""Records on their way into one manifest record: which are for this lake, and in which file each row goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from pipeline.lake.columns import Column
from pipeline.lake.hours import received_hour, timestamp_text
from pipeline.lake.names import TABLES, event_slug
from pipeline.lake.rows import Table
from pipeline.model import headers as names
from pipeline.model.json_text import decode, encode
from pipeline.model.ledger import Row, Tally
from pipeline.model.record import Record

_ROUTES_REMEMBERED: Final = 4096
_COPIES: Final = 2.6
"""A row holds its message as it came, and the values in it once more, each as an object of its own; measured on the demo shop's events."""
EVENTS_MOST: Final = 1000
"""Most event slugs that a file's entry in the manifest lists; they only serve the views of single events."""


FileKey = tuple[str, str, str]
"""Source id, spec call, and the hour in which events were received, `YYYY-MM-DDTHH`."""


class Rows(NamedTuple):
    """Rows of one file.

    Attributes:
        source: Source id.
        call: Spec call.
        hour: Hour in which they were received, `YYYY-MM-DDTHH`.
        columns: The rows, by column.
        events: Slugs of their track events.
    """

    source: str
    call: str
    hour: str
    columns: list[Column]
    events: tuple[str, ...]


class Ended(NamedTuple):
    """A record that cannot be stored, with the registered reason."""

    record: Record
    reason: str
    detail: str


class Gathered(NamedTuple):
    """What a range of records comes to.

    Attributes:
        files: Rows of each file.
        tally: How every record ended.
        ended: Records for the dead letters.
        notes: What could not be flattened, by kind.
    """

    files: list[Rows]
    tally: Tally
    ended: list[Ended]
    notes: Counter[str]


def summed(parts: Sequence[Gathered]) -> Gathered:
    """Add up what several runs of records come to.

    Args:
        parts: At least one.

    Returns:
        One account of all of them.
    """
    if len(parts) == 1:
        return parts[0]
    whole = Gathered([], Tally(), [], Counter())
    for part in parts:
        whole.files.extend(part.files)
        whole.tally.rows.update(part.tally.rows)
        whole.ended.extend(part.ended)
        whole.notes.update(part.notes)
    return whole


class Gathering:
    """Takes records one by one, and gives what they come to.

    Args:
        storage: Id of the storage, as the header `routes` names it.

    Attributes:
        records: How many records were taken since the last `take`.
        size: Bytes of the values that became rows since then.
    """

    def __init__(self, storage: str) -> None:
        self.records = 0
        self.size = 0
        self._storage = storage
        self._tables: dict[tuple[str, str, str], Table] = {}
        self._routed: dict[bytes, bool] = {}
        self._elsewhere: Counter[str] = Counter()
        self._already: Counter[str] = Counter()
        self._ended: list[Ended] = []

    @property
    def memory(self) -> int:
        """About how many bytes what was taken takes in memory; more than 0 as soon as anything was."""
        return min(1, self.records) + int(_COPIES * self.size) + sum(table.memory for table in self._tables.values())

    def place(self, record: Record) -> tuple[FileKey, str] | None:
        """Say in which file a record's row would lie, and under which message id, without taking it.

        Args:
            record: A record of `routed`.

        Returns:
            File and id, or None for one that gives no row.
        """
        headers = dict(record.headers)
        try:
            body = decode(record.value or b"")[0]
        except ValueError:
            return None
        if not self._is_for_us(headers.get(names.ROUTES, b"")) or body.__class__ is not dict or body.get("type") not in TABLES:
            return None
        key = headers.get(names.SOURCE, b"").decode("utf-8", "replace"), body["type"], _hour(body, record, headers.get(names.RECEIVED_AT, b""))
        return key, str(body.get("messageId", ""))

    def skip(self, record: Record) -> None:
        """Take a record whose row is stored already."""
        self._already[_source(record)] += 1
        self.records += 1

    def add(self, record: Record) -> None:
        """Take a record.

        Args:
            record: The next record of `routed`.

        Raises:
            Exception: A bug; nothing of the record was kept, and `end` may take it.
        """
        routes = source = received = b""
        for name, value in record.headers:
            if name == names.ROUTES:
                routes = value
            elif name == names.SOURCE:
                source = value
            elif name == names.RECEIVED_AT:
                received = value
        if not self._is_for_us(routes):
            self._elsewhere[source.decode("utf-8", "replace")] += 1
        else:
            reason, detail = self._store(record, source.decode("utf-8", "replace"), received)
            if reason:
                self._ended.append(Ended(record, reason, detail))
        self.records += 1

    def end(self, record: Record, reason: str, detail: str) -> None:
        """Take a record that `add` failed on.

        Args:
            record: The record.
            reason: Registered reason.
            detail: What went wrong, without values.
        """
        self._ended.append(Ended(record, reason, detail))
        self.records += 1

    def _is_for_us(self, routes: bytes) -> bool:
        known = self._routed.get(routes)
        if known is None:
            if len(self._routed) >= _ROUTES_REMEMBERED:
                self._routed.clear()
            known = self._routed[routes] = self._storage in routes.decode("utf-8", "replace").split(",")
        return known

    def _store(self, record: Record, source: str, received: bytes) -> tuple[str, str]:
        """Make a row; gives a reason and a detail where that is not possible."""
        if record.value is None:
            return "invalid_json", "the record has no value"
        try:
            body, replaced = decode(record.value)
        except ValueError:
            return "invalid_json", "the value cannot be read as JSON"
        if body.__class__ is not dict:
            return "not_an_object", "the value is not an object"
        call = body.get("type")
        if call.__class__ is not str or call not in TABLES:
            return "unknown_type", "type is not a spec call"
        key = (source, call, _hour(body, record, received))
        table = self._tables.get(key)
        if table is None:
            table = self._tables[key] = Table(call, source)
        try:
            table.add(body, encode(body) if replaced else record.value)
        except ValueError:
            return "too_deep", "a value is nested too deeply to write"
        self.size += len(record.value)
        return "", ""

    def take(self) -> Gathered:
        """Give what was gathered, and start empty.

        Returns:
            Files in a fixed order, counts, and what must go to the dead letters.
        """
        tally = Tally()
        notes: Counter[str] = Counter()
        for (source, call, _), table in self._tables.items():
            for event, count in table.events.items():
                tally.rows[Row(source, call, event, "passed", "", self._storage)] += count
            notes.update(table.notes)
        for source, count in self._elsewhere.items():
            tally.rows[Row(source, "", "", "dropped", "other_destination", self._storage)] += count
        for source, count in self._already.items():
            tally.rows[Row(source, "", "", "dropped", "already_stored", self._storage)] += count
        for ended in self._ended:
            tally.rows[Row(_source(ended.record), "", "", "dead", ended.reason, self._storage)] += 1
        files = list(self._files())
        gathered = Gathered(files, tally, self._ended, notes)
        self._elsewhere = Counter()
        self._already = Counter()
        self._ended = []
        self.records = self.size = 0
        return gathered

    def _files(self) -> Iterator[Rows]:
        for key in sorted(self._tables):
            table = self._tables[key]
            if not table.rows:
                del self._tables[key]  # its hour is over; what it learnt of names goes with it
                continue
            events = sorted({slug for event in table.events if (slug := event_slug(event))}) if table.call == "track" else []
            yield Rows(*key, table.take(), tuple(events[:EVENTS_MOST]))


def _hour(body: dict[str, Any], record: Record, received: bytes) -> str:
    """Find the hour in which a message was received; sets `receivedAt` where the message lacks a readable one."""
    text = body.get("receivedAt")
    hour = received_hour(text) if text.__class__ is str else None
    if hour is None:
        text = timestamp_text(int(received) if received.isdigit() and len(received) < 15 else max(0, record.timestamp))
        hour = text[:13]
        body["receivedAt"] = text
    return hour


def _source(record: Record) -> str:
    return next((value.decode("utf-8", "replace") for name, value in record.headers if name == names.SOURCE), "")
