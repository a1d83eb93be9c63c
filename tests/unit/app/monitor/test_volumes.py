"""Ledger records fold into volumes by minute, once each, whatever is read twice."""

from collections import Counter
from collections.abc import Iterable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.app.monitor.volumes import (
    EVENT_CHARACTERS,
    MINUTE_MS,
    MINUTES_KEPT,
    SERIES_MOST,
    Entry,
    Run,
    Window,
    WindowKey,
    fold,
    is_kept,
    read_entry,
)
from pipeline.model.ledger import OTHER, Row, Tally, ledger_value

NOW = 29_000_000
"""A minute since the epoch."""
AT = NOW * MINUTE_MS
PASSED = Row("web", "track", "Order Completed", "passed")


def entry(start: int, end: int, at_ms: int = AT, *, place: str = "raw/0", rows: tuple[tuple[Row, int], ...] | None = None) -> Entry:
    """Make a record of `validate` that counts each of its inputs as passed."""
    return Entry("validate", place, start, end, at_ms, ((PASSED, end - start),) if rows is None else rows)


class Table:
    """A table of windows as the worker keeps it: bytes under bytes."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def load(self, key: WindowKey) -> Window | None:
        """Give a window as it is stored."""
        value = self.values.get(key.to_bytes())
        return None if value is None else Window.from_bytes(value)

    def take(self, entries: Iterable[Entry]) -> None:
        """Fold a batch and store what changed."""
        self.values |= {key.to_bytes(): window.to_bytes() for key, window in fold(entries, self.load, NOW).items()}

    def counts(self) -> dict[tuple[bytes, Row], int]:
        """Give all counts."""
        return {(key, row): count for key, value in self.values.items() for row, count in Window.from_bytes(value).counts.items()}


def test_reads_what_the_ledger_writes() -> None:
    """A record of the ledger's own making is read whole."""
    tally = Tally()
    tally.rows[PASSED] = 2
    tally.rows[Row("web", "page", "", "withheld", "unrouted", "crm")] = 1
    value = ledger_value(tally, processor="filter", topic="enriched", partition=3, start=10, end=12, at_ms=AT + 59_999)
    read = read_entry(value)
    assert read == Entry("filter", "enriched/3", 10, 12, AT + 59_999, ((PASSED, 2), (Row("web", "page", "", "withheld", "unrouted", "crm"), 1)))
    assert read.minute == NOW


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b"null",
        b'{"processor":"p","topic":"t","partition":0,"from":0,"to":1,"at":0,"rows":[[1]]}',
        b'{"processor":"p","topic":"t","partition":0,"from":0,"to":1,"at":0,"rows":[["a","b","c","lost","",""  ,1]]}',
        b'{"processor":"p","topic":"t","partition":0,"from":0,"to":1,"at":0,"rows":[["a","b",7,"passed","","",1]]}',
        b'{"processor":"p","topic":"t","partition":0,"from":null,"to":1,"at":0,"rows":[]}',
    ],
)
def test_passes_over_what_is_no_ledger_record(value: bytes) -> None:
    """A foreign or broken record is no entry, and no error."""
    assert read_entry(value) is None


def test_counts_by_minute_and_processor() -> None:
    """Two records of one minute share a window, one of the next minute has its own."""
    table = Table()
    table.take([entry(0, 3), entry(3, 5, AT + 1), entry(5, 6, AT + MINUTE_MS)])
    first, second = WindowKey(NOW, "validate").to_bytes(), WindowKey(NOW + 1, "validate").to_bytes()
    assert table.counts() == {(first, PASSED): 5, (second, PASSED): 1}


def test_passes_over_a_record_that_is_counted() -> None:
    """The same record counts once, in one batch and in the next."""
    window = Window()
    assert window.add(entry(0, 3)) is True
    assert window.add(entry(0, 3)) is False
    assert window.add(entry(3, 5, AT + 7)) is True
    assert Window.from_bytes(window.to_bytes()).add(entry(0, 3)) is False
    assert window.counts == {PASSED: 5}
    assert window.runs == {"raw/0": [Run(0, 5, AT, AT + 7)]}


def test_counts_inputs_that_were_taken_again() -> None:
    """A group that was reset takes the same offsets at a later time, even in the same minute: that is work that was done."""
    window = Window()
    assert [window.add(entry(0, 3)), window.add(entry(3, 6, AT + 10))] == [True, True]
    assert [window.add(entry(0, 3, AT + 20)), window.add(entry(3, 6, AT + 30))] == [True, True]
    assert window.counts == {PASSED: 12}
    assert [window.add(entry(0, 3)), window.add(entry(3, 6, AT + 30))] == [False, False]


def test_counts_an_owner_whose_clock_is_behind() -> None:
    """A partition handed to an instance with a slower clock goes on being counted, and what it wrote is known again."""
    window = Window()
    records = [entry(0, 3, AT + 500), entry(3, 5, AT + 100), entry(5, 9, AT + 600)]
    assert [window.add(record) for record in records] == [True, True, True]
    assert [window.add(record) for record in records] == [False, False, False]
    assert len(window.runs["raw/0"]) == 2


def test_passes_over_minutes_that_are_not_kept() -> None:
    """Older than a day, or a day ahead, is not counted."""
    table = Table()
    table.take([entry(0, 1, AT - MINUTES_KEPT * MINUTE_MS), entry(1, 2, AT + MINUTES_KEPT * MINUTE_MS)])
    assert table.values == {}
    assert is_kept(NOW - MINUTES_KEPT + 1, NOW)
    assert not is_kept(NOW - MINUTES_KEPT, NOW)


def test_adds_up_series_beyond_the_bound() -> None:
    """Series after the first 200 become `other`, by verdict and reason, and known series go on."""
    window = Window()
    names = [Row("web", "track", f"Event {number}", "passed") for number in range(SERIES_MOST + 5)]
    window.add(entry(0, 9, rows=tuple((name, 2) for name in names)))
    window.add(entry(9, 10, AT + 1, rows=((names[0], 1), (Row("web", "track", "Late", "dead", "invalid"), 4))))
    assert len(window.counts) == SERIES_MOST + 2
    assert window.counts[names[0]] == 3
    assert window.counts[Row("", "", OTHER, "passed")] == 10
    assert window.counts[Row("", "", OTHER, "dead", "invalid")] == 4


def test_cuts_long_event_names() -> None:
    """An event name as long as an event doesn't make the table grow."""
    tally = Tally()
    tally.rows[Row("web", "track", "x" * 5000, "passed")] = 1
    read = read_entry(ledger_value(tally, processor="p", topic="raw", partition=0, start=0, end=1, at_ms=AT))
    assert read is not None
    assert read.rows[0][0].event == "x" * EVENT_CHARACTERS


@given(minute=st.integers(0, 10**9), processor=st.text(st.characters(codec="utf-8"), max_size=30))
def test_keys_are_read_as_written(minute: int, processor: str) -> None:
    """A key survives the table, whatever the processor is called."""
    assert WindowKey.from_bytes(WindowKey(minute, processor).to_bytes()) == WindowKey(minute, processor)


ROWS = st.sampled_from(
    [PASSED, Row("app", "page", "", "passed"), Row("web", "track", "A", "dropped", "duplicate"), Row("", "", "", "dead", "crashed")]
)


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Ledgers as Kafka holds them: each partition's transactions in order, with gaps, resets of groups, and partitions side by side."""
    history = []
    offsets: Counter[str] = Counter()
    at_ms = AT
    for place in draw(st.lists(st.sampled_from(["raw/0", "raw/1", "enriched/0"]), max_size=25)):
        at_ms += draw(st.integers(1, 20_000))
        if draw(st.integers(0, 9)) == 0:
            offsets[place] = 0
        start = offsets[place] + draw(st.integers(0, 2))
        offsets[place] = start + draw(st.integers(1, 50))
        rows = draw(st.dictionaries(ROWS, st.integers(1, 9), max_size=3))
        history.append(entry(start, offsets[place], at_ms, place=place, rows=tuple(rows.items())))
    return history


@given(history=histories(), data=st.data())
def test_any_rereading_gives_the_same_totals(history: list[Entry], data: st.DataObject) -> None:
    """Read once, or in any batches with any going back to an earlier place: the totals are those of the records, each once."""
    table = Table()
    position = 0
    while position < len(history):
        end = data.draw(st.integers(position + 1, len(history)))
        table.take(history[position:end])
        table.take(history[data.draw(st.integers(0, end)) : end])
        position = end
    expected: Counter[tuple[bytes, Row]] = Counter()
    for record in history:
        for row, count in record.rows:
            expected[WindowKey(record.minute, record.processor).to_bytes(), row] += count
    assert table.counts() == expected


def test_a_window_stays_small() -> None:
    """A minute of one partition at 33 transactions a second is one run, however many records it was."""
    window = Window()
    for number in range(2000):
        window.add(entry(number * 10, number * 10 + 10, AT + number * 30))
    assert orjson.loads(window.to_bytes())["runs"] == {"raw/0": [[0, 20_000, AT, AT + 59_970]]}
