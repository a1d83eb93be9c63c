"""What one record says about one event: read once, as little of it as is needed."""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import orjson

from pipeline.model import headers as names
from pipeline.model.json_text import decode
from pipeline.model.record import Record

TEXT_CHARACTERS: Final = 200
"""Longest text that is kept of an id or a name; events are written by strangers."""


class Place(NamedTuple):
    """Where a record lies; the topic without the workspace's prefix."""

    topic: str
    partition: int
    offset: int


class About(NamedTuple):
    """What is shown of an event.

    Attributes:
        source: Source id, or empty where it is not known yet.
        type: Spec call.
        event: Event name of a track call, name of a page, screen or group, else empty.
        user: User id, else anonymous id.
        received_at: When the collector took it, milliseconds since the epoch.
    """

    source: str = ""
    type: str = ""
    event: str = ""
    user: str = ""
    received_at: int = 0


class Fact(NamedTuple):
    """One thing that happened to an event.

    Attributes:
        message_id: The event's message id.
        kind: `event`: a stage wrote it; `dead`, `blocked`: it ended; `request`: a request was made of it; `attempt`: a delivery was tried.
        place: Where the record lies.
        at: When it was written, milliseconds since the epoch.
        about: What is shown of the event.
        origin: For `dead` and `blocked`, the topic and place of the record that ended; for `request` that of the event.
        destination: Destination of a request or an attempt.
        mapping: Mapping of a request or an attempt.
        outcome: Of an attempt: delivered, retried, dead or parked. Of `dead`: the stage.
        reason: Registered reason, or empty.
        detail: What is wrong, or the error of an attempt, for a person.
        status: HTTP status of an attempt, 0 for none.
        attempt: Number of an attempt, from 1.
        latency_ms: How long an attempt took.
        answer: The beginning of the answer to an attempt.
        routes: Ids of the destinations and storages that the event is for; None where the record does not say.
    """

    message_id: str
    kind: Literal["event", "dead", "blocked", "request", "attempt"]
    place: Place
    at: int
    about: About
    origin: Place | None = None
    destination: str = ""
    mapping: str = ""
    outcome: str = ""
    reason: str = ""
    detail: str = ""
    status: int = 0
    attempt: int = 0
    latency_ms: float = 0.0
    answer: str = ""
    routes: tuple[str, ...] | None = None


def fact(record: Record, prefix: str) -> Fact | None:
    """Read a record of any topic that the page follows, but the ledger.

    Args:
        record: The record.
        prefix: The workspace's name; places are given without it.

    Returns:
        What it says, or None where it names no event.
    """
    headers = dict(record.headers)
    topic = record.topic.removeprefix(f"{prefix}.")
    place = Place(topic, record.partition, record.offset)
    if topic == "deliveries":
        return _attempt(record, place, prefix)
    if topic.startswith("requests."):
        return _request(record, place, headers, prefix)
    if topic.startswith("dead.") or topic == "blocked":
        return _ended(record, place, headers, prefix)
    found = _message(record.value)
    if found is None:
        return None
    message_id, body = found
    routes = headers.get(names.ROUTES)
    return Fact(
        message_id,
        "event",
        place,
        record.timestamp,
        _about(body, headers, record.timestamp),
        routes=None if routes is None else tuple(_text(routes).split(",")),
    )


def _attempt(record: Record, place: Place, prefix: str) -> Fact | None:
    body = _object(record.value)
    message_id = body.get("message_id")
    if not isinstance(message_id, str) or not message_id:
        return None
    about = About(_short(body.get("source")), _short(body.get("type")), _short(body.get("event")))
    return Fact(
        message_id,
        "attempt",
        place,
        record.timestamp,
        about,
        origin=_origin(_short(body.get("event_origin"), 400), prefix),
        destination=_short(body.get("destination")),
        mapping=_short(body.get("mapping")),
        outcome=_short(body.get("outcome")),
        reason=_short(body.get("reason")),
        detail=_short(body.get("error")),
        status=_number(body.get("status")),
        attempt=_number(body.get("attempt")),
        latency_ms=_number(body.get("latency_ms")),
        answer=_short(body.get("answer"), 1024),
    )


def _request(record: Record, place: Place, headers: dict[str, bytes], prefix: str) -> Fact | None:
    message_id = _text(headers.get(names.MESSAGE_ID, b""))
    if not message_id:
        return None
    about = About(
        _text(headers.get(names.SOURCE, b"")),
        _text(headers.get(names.TYPE, b"")),
        _text(headers.get(names.EVENT, b"")),
        received_at=_decimal(headers.get(names.RECEIVED_AT, b"")),
    )
    return Fact(
        message_id,
        "request",
        place,
        record.timestamp,
        about,
        origin=_origin(_text(headers.get(names.EVENT_ORIGIN, b"")), prefix),
        destination=_text(headers.get(names.DESTINATION, b"")),
        mapping=_text(headers.get(names.MAPPING, b"")),
    )


def _ended(record: Record, place: Place, headers: dict[str, bytes], prefix: str) -> Fact | None:
    stage = _text(headers.get(names.DEAD_STAGE, b""))
    message_id = _text(headers.get(names.MESSAGE_ID, b""))
    about = About(_text(headers.get(names.SOURCE, b"")), received_at=_decimal(headers.get(names.RECEIVED_AT, b"")))
    if not message_id:
        found = _message(record.value)
        # What has no message id is still an event that someone looks for: it goes by its place among the dead letters.
        message_id, body = found if found is not None else (f"{place.topic}/{place.partition}/{place.offset}", {})
        about = _about(body, headers, record.timestamp)
    topic = _text(headers.get(names.DEAD_TOPIC, b"")).removeprefix(f"{prefix}.")
    origin = Place(topic, _decimal(headers.get(names.DEAD_PARTITION, b"")), _decimal(headers.get(names.DEAD_OFFSET, b""))) if topic else None
    return Fact(
        message_id,
        "blocked" if place.topic == "blocked" else "dead",
        place,
        record.timestamp,
        about,
        origin=origin,
        destination=_text(headers.get(names.DESTINATION, b"")),
        mapping=_text(headers.get(names.MAPPING, b"")),
        outcome=stage,
        reason=_text(headers.get(names.DEAD_REASON, b"")),
        detail=_text(headers.get(names.DEAD_DETAIL, b""))[:1024],
    )


def _about(body: dict[str, Any], headers: dict[str, bytes], timestamp: int) -> About:
    call = _short(body.get("type"))
    if call == "track":
        event = body.get("event")
    elif call == "group":
        event = body.get("groupId")
    else:
        event = body.get("name") if call in {"page", "screen"} else ""
    return About(
        _text(headers.get(names.SOURCE, b"")),
        call,
        _short(event),
        _short(body.get("userId")) or _short(body.get("anonymousId")),
        _decimal(headers.get(names.RECEIVED_AT, b"")) or timestamp,
    )


def _message(value: bytes | None) -> tuple[str, dict[str, Any]] | None:
    body = _object(value)
    message_id = body.get("messageId")
    if not isinstance(message_id, str) or not message_id:
        return None
    return message_id[:TEXT_CHARACTERS], body


def _object(value: bytes | None) -> dict[str, Any]:
    if value is None:
        return {}
    try:
        body = orjson.loads(value)
    except orjson.JSONDecodeError:
        try:
            body = decode(value)[0]
        except ValueError:
            return {}
    return body if isinstance(body, dict) else {}


def _origin(text: str, prefix: str) -> Place | None:
    topic, _, rest = text.partition("/")
    partition, _, offset = rest.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        return None
    return Place(topic.removeprefix(f"{prefix}."), int(partition), int(offset))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _short(value: object, characters: int = TEXT_CHARACTERS) -> str:
    if isinstance(value, str):
        return value[:characters]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _decimal(value: bytes) -> int:
    return int(value) if value.isdigit() and len(value) < 20 else 0
