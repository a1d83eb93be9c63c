"""Folds ledger records into counts for each minute and processor; the same record read twice counts once.

One window holds what one processor did in one minute, together with which ledger records it has counted. Both are one value under one
key of the table, so that they are stored, logged and restored as one: after a crash the records since the last commit are read again, and
those that the window holds are passed over.

Which record was counted? Not the offsets alone: a group that is reset to an earlier offset takes the same inputs again, which is
work that was done, at a later time. Nor the time alone: an owner with a slow clock may follow one with a fast clock. So a window
keeps *runs*: the offsets and times between the first and the last record of an unbroken sequence. A record is known if some run holds both its
offsets and its time. A new one lengthens the last run, or begins another if its clock is behind. Kafka gives the records of one partition in
the order of their transactions, and this is all that the rule needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple, Self, get_args

import orjson

from pipeline.model.ledger import OTHER, Row, Verdict

MINUTE_MS: Final = 60_000
MINUTES_KEPT: Final = 24 * 60
"""How many minutes are kept; a record from longer ago, or from further in the future, is not counted."""
SERIES_MOST: Final = 200
"""Most series of a window; what comes after them is added up for each verdict and reason, named `other`."""
EVENT_CHARACTERS: Final = 200
"""Longest event name; longer ones are cut."""

_VERDICTS: Final = frozenset(get_args(Verdict))


class Entry(NamedTuple):
    """A ledger record, as far as volumes need it.

    Attributes:
        processor: Consumer group without the workspace's prefix.
        place: Input topic and partition.
        start: Offset of the first input.
        end: Offset after the last input.
        at_ms: When its transaction was made, in milliseconds since the epoch.
        rows: What happened how often.
    """

    processor: str
    place: str
    start: int
    end: int
    at_ms: int
    rows: tuple[tuple[Row, int], ...]

    @property
    def minute(self) -> int:
        """Give the minute since the epoch that it belongs to."""
        return self.at_ms // MINUTE_MS


class WindowKey(NamedTuple):
    """Key of a window.

    Attributes:
        minute: Minute since the epoch.
        processor: Consumer group without the workspace's prefix.
    """

    minute: int
    processor: str

    def to_bytes(self) -> bytes:
        """Write the key as the table holds it."""
        return f"{self.minute}/{self.processor}".encode()

    @classmethod
    def from_bytes(cls, key: bytes) -> Self:
        """Read a key of the table.

        Args:
            key: What `to_bytes` wrote.

        Returns:
            The key.
        """
        minute, _, processor = key.decode().partition("/")
        return cls(int(minute), processor)


class Run(NamedTuple):
    """An unbroken sequence of counted records of one input partition.

    Attributes:
        start: Lowest offset taken.
        end: Offset after the highest taken.
        first_ms: Time of its first record, in milliseconds since the epoch.
        last_ms: Time of its last record.
    """

    start: int
    end: int
    first_ms: int
    last_ms: int


class Window:
    """What one processor did in one minute.

    Attributes:
        counts: How many inputs by series.
        runs: Which records these counts are from, by place.
    """

    __slots__ = ("counts", "runs")

    def __init__(self) -> None:
        self.counts: dict[Row, int] = {}
        self.runs: dict[str, list[Run]] = {}

    def add(self, entry: Entry) -> bool:
        """Count a ledger record, unless it is counted already.

        Args:
            entry: A record of this window's processor and minute.

        Returns:
            Whether it was new.
        """
        runs = self.runs.setdefault(entry.place, [])
        if any(run.start <= entry.start and entry.end <= run.end and run.first_ms <= entry.at_ms <= run.last_ms for run in runs):
            return False
        if runs and runs[-1].last_ms <= entry.at_ms:
            last = runs[-1]
            runs[-1] = Run(min(last.start, entry.start), max(last.end, entry.end), last.first_ms, entry.at_ms)
        else:
            runs.append(Run(entry.start, entry.end, entry.at_ms, entry.at_ms))
        for row, count in entry.rows:
            series = row if row in self.counts or len(self.counts) < SERIES_MOST else Row("", "", OTHER, row.verdict, row.reason)
            self.counts[series] = self.counts.get(series, 0) + count
        return True

    def to_bytes(self) -> bytes:
        """Write the window as the table holds it."""
        runs = {place: [tuple(run) for run in runs] for place, runs in self.runs.items()}
        return orjson.dumps({"counts": [[*row, count] for row, count in self.counts.items()], "runs": runs})

    @classmethod
    def from_bytes(cls, value: bytes) -> Self:
        """Read a window of the table.

        Args:
            value: What `to_bytes` wrote.

        Returns:
            The window.
        """
        body = orjson.loads(value)
        window = cls()
        window.counts = {Row(*row): count for *row, count in body["counts"]}
        window.runs = {place: [Run(*run) for run in runs] for place, runs in body["runs"].items()}
        return window


def read_entry(value: bytes) -> Entry | None:
    """Read a ledger record.

    Args:
        value: The record's value (`schemas/ledger.json`).

    Returns:
        The entry; None if it is no ledger record.
    """
    try:
        body = orjson.loads(value)
        return _entry(body)
    except (ValueError, TypeError, KeyError):
        return None


def _entry(body: Mapping[str, Any]) -> Entry:
    rows = tuple((_row(*labels), int(count)) for *labels, count in body["rows"])
    place = f"{body['topic']}/{int(body['partition'])}"
    return Entry(str(body["processor"]), place, int(body["from"]), int(body["to"]), int(body["at"]), rows)


def _row(source: str, call: str, event: str, verdict: Verdict, reason: str, destination: str) -> Row:
    if verdict not in _VERDICTS:
        raise ValueError(verdict)
    return Row(source, call, event[:EVENT_CHARACTERS], verdict, reason, destination)


def is_kept(minute: int, now_minute: int) -> bool:
    """Say whether a minute is counted: neither too old, nor from a clock that is a day ahead.

    Args:
        minute: Minute since the epoch.
        now_minute: The present one.

    Returns:
        Whether it is kept.
    """
    return abs(now_minute - minute) < MINUTES_KEPT


def fold(entries: Iterable[Entry], load: Callable[[WindowKey], Window | None], now_minute: int) -> dict[WindowKey, Window]:
    """Count a batch of ledger records.

    Args:
        entries: The records, in the order of the ledger.
        load: Gives a window as it is stored; the fold owns what it gives.
        now_minute: The present minute since the epoch.

    Returns:
        The windows that changed, as they are to be stored.
    """
    loaded: dict[WindowKey, Window] = {}
    changed: dict[WindowKey, Window] = {}
    for entry in entries:
        if not is_kept(entry.minute, now_minute):
            continue
        key = WindowKey(entry.minute, entry.processor)
        window = loaded.get(key)
        if window is None:
            window = loaded[key] = load(key) or Window()
        if window.add(entry):
            changed[key] = window
    return changed
