"""Records on their way into files."""

import orjson
import pytest

from pipeline.lake.gathering import Gathering
from pipeline.model.ledger import Row
from pipeline.model.record import Record

RECEIVED = "2026-03-14T09:26:54.100Z"


def _record(offset: int, value: bytes | None, *, routes: bytes = b"lake", source: bytes = b"web") -> Record:
    headers = (("source", source), ("routes", routes), ("received_at", b"1773480414100"))
    return Record("shop.routed", 0, offset, 1773480414200, None, value, headers)


def _event(**fields: object) -> bytes:
    return orjson.dumps({"type": "track", "messageId": "m", "event": "Bought", "receivedAt": RECEIVED, **fields})


def test_rows_are_parted_by_source_call_and_hour() -> None:
    """Each file holds one call of one source, received in one hour."""
    gathering = Gathering("lake")
    for offset, record in enumerate(
        (
            _record(0, _event()),
            _record(1, _event(type="page")),
            _record(2, _event(receivedAt="2026-03-14T10:00:00.000Z")),
            _record(3, _event(), source=b"app"),
            _record(4, _event(event="Sold")),
        )
    ):
        assert record.offset == offset
        gathering.add(record)
    files = gathering.take().files
    assert [(file.source, file.call, file.hour, len(file.columns[0].values), file.events) for file in files] == [
        ("app", "track", "2026-03-14T09", 1, ("bought",)),
        ("web", "page", "2026-03-14T09", 1, ()),
        ("web", "track", "2026-03-14T09", 2, ("bought", "sold")),
        ("web", "track", "2026-03-14T10", 1, ("bought",)),
    ]


def test_events_for_others_are_dropped_unread() -> None:
    """A record that is not routed here is counted, whatever its value is."""
    gathering = Gathering("lake")
    for routes in (b"crm", b"", b"lakes,crm"):
        gathering.add(_record(0, b"not JSON", routes=routes))
    gathered = gathering.take()
    assert gathered.files == []
    assert gathered.tally.rows == {Row("web", "", "", "dropped", "other_destination", "lake"): 3}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "invalid_json"),
        (b"{", "invalid_json"),
        (b"\xff", "invalid_json"),
        (b"[]", "not_an_object"),
        (b"{}", "unknown_type"),
        (b'{"type":"delete"}', "unknown_type"),
        (b'{"type":["track"]}', "unknown_type"),
        (b"[" * 100_000 + b"]" * 100_000, "invalid_json"),
    ],
)
def test_what_cannot_be_stored_is_dead(value: bytes | None, reason: str) -> None:
    """A record that is no spec message ends with a registered reason and stops nothing."""
    gathering = Gathering("lake")
    gathering.add(_record(0, value))
    gathering.add(_record(1, _event()))
    gathered = gathering.take()
    assert [ended.reason for ended in gathered.ended] == [reason]
    assert gathered.tally.totals() == {"passed": 1, "dropped": 0, "dead": 1, "blocked": 0}


def test_a_message_without_time_gets_the_headers() -> None:
    """The hour is never missing: the header says when the collector took the event."""
    gathering = Gathering("lake")
    gathering.add(_record(0, b'{"type":"page","messageId":"m"}'))
    (file,) = gathering.take().files
    assert file.hour == "2026-03-14T09"
    assert next(column.values for column in file.columns if column.name == "received_at") == [RECEIVED]


def test_a_message_that_no_reader_could_parse_is_written_anew() -> None:
    """NaN is not JSON: the stored message has what the table of odd JSON makes of it."""
    gathering = Gathering("lake")
    gathering.add(_record(0, b'{"type":"page","messageId":"m","properties":{"n":NaN}}'))
    (file,) = gathering.take().files
    message = next(column.values for column in file.columns if column.name == "message_json")[0]
    assert orjson.loads(message)["properties"] == {"n": None}


def test_every_input_ends_once() -> None:
    """Passed, dropped and dead add up to what was taken, and a second take is empty."""
    gathering = Gathering("lake")
    for record in (_record(0, _event()), _record(1, b"x"), _record(2, _event(), routes=b"crm")):
        gathering.add(record)
    gathering.end(_record(3, _event()), "crashed", "KeyError")
    assert gathering.records == 4
    assert sum(gathering.take().tally.totals().values()) == 4
    assert sum(gathering.take().tally.totals().values()) == 0
