"""What one record says about one event."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.app.live.facts import Place, fact
from pipeline.model.record import Record


def record(topic: str, value: bytes | None, **headers: str) -> Record:
    """Make a record at partition 2, offset 7, written at 1000."""
    return Record(f"shop.{topic}", 2, 7, 1000, b"u-1", value, tuple((name, text.encode()) for name, text in headers.items()))


def test_event_of_raw() -> None:
    """A raw record names its event, source and time of receipt."""
    value = orjson.dumps({"type": "track", "event": "Signed Up", "messageId": "m-1", "userId": "u-1"})
    found = fact(record("raw", value, source="web", received_at="900"), "shop")
    assert found is not None
    assert ("m-1", "event", Place("raw", 2, 7), 1000) == (found.message_id, found.kind, found.place, found.at)
    assert ("web", "track", "Signed Up", "u-1", 900) == found.about
    assert found.routes is None


def test_foreign_record_has_the_brokers_time() -> None:
    """A record without headers is shown at the time when the broker wrote it, from an unknown source."""
    found = fact(record("raw", b'{"messageId":"m","type":"page","name":"Home","anonymousId":"a"}'), "shop")
    assert found is not None
    assert ("", "page", "Home", "a", 1000) == found.about


def test_routed_names_its_targets() -> None:
    """The header `routes` says where an event is for."""
    found = fact(record("routed", b'{"messageId":"m"}', routes="crm,lake"), "shop")
    assert found is not None
    assert ("crm", "lake") == found.routes


def test_request_is_read_from_its_headers() -> None:
    """A request needs no parsing: its headers say which event, destination and mapping it is of."""
    found = fact(record("requests.crm", b"not read", message_id="m", destination="crm", mapping="all", event_origin="shop.routed/1/5"), "shop")
    assert found is not None
    assert ("m", "request", "crm", "all", Place("routed", 1, 5)) == (found.message_id, found.kind, found.destination, found.mapping, found.origin)


def test_attempt() -> None:
    """A delivery says how a try went."""
    value = {"message_id": "m", "destination": "crm", "mapping": "all", "source": "web", "event": "E", "type": "track", "attempt": 2, "status": 429}
    found = fact(record("deliveries", orjson.dumps({**value, "outcome": "retried", "latency_ms": 12.4, "answer": "slow", "error": ""})), "shop")
    assert found is not None
    assert ("attempt", "crm", 429, 2, "retried", "slow") == (
        found.kind,
        found.destination,
        found.status,
        found.attempt,
        found.outcome,
        found.answer,
    )


def test_dead_letter() -> None:
    """A dead letter says stage, reason, and which record died."""
    headers = {
        "dead_stage": "validate",
        "dead_reason": "id_required",
        "dead_detail": "groupId",
        "dead_topic": "shop.raw",
        "dead_partition": "1",
        "dead_offset": "4",
    }
    found = fact(record("dead.validate", b'{"messageId":"m","type":"group"}', **headers), "shop")
    assert found is not None
    assert ("dead", "validate", "id_required", "groupId", Place("raw", 1, 4)) == (found.kind, found.outcome, found.reason, found.detail, found.origin)


def test_unreadable_dead_letter_has_a_row() -> None:
    """What is not even JSON is shown under its place."""
    found = fact(record("dead.validate", b"\xff{", dead_stage="validate", dead_reason="invalid_json"), "shop")
    assert found is not None
    assert "dead.validate/2/7" == found.message_id


@pytest.mark.parametrize("value", [None, b"", b"[]", b"1", b"{", b'{"messageId":1}', b'{"messageId":""}'])
def test_records_that_name_no_event(value: bytes | None) -> None:
    """A record without a message id says nothing."""
    assert fact(record("raw", value), "shop") is None


@given(
    st.sampled_from(["raw", "routed", "requests.x", "deliveries", "dead.validate", "blocked"]),
    st.one_of(st.none(), st.binary(max_size=40), st.recursive(st.none() | st.text() | st.integers(-(2**60), 2**60), st.lists).map(orjson.dumps)),
    st.dictionaries(st.sampled_from(["source", "received_at", "message_id", "event_origin", "dead_offset", "routes"]), st.binary(max_size=9)),
)
def test_any_record_can_be_read(topic: str, value: bytes | None, headers: dict[str, bytes]) -> None:
    """Whatever a stranger writes, reading it does not fail."""
    fact(Record(f"shop.{topic}", 0, 0, 0, None, value, tuple(headers.items())), "shop")
