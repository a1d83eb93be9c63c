"""One rendered request: its id, its bytes and its headers."""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from pipeline.model import headers as names
from pipeline.model.ids import NAMESPACE
from pipeline.model.json_text import encode
from pipeline.model.record import Headers, Message


def idempotency_id(source: str, message_id: str, mapping: str) -> str:
    """Give the id under which a tool sees a request, the same at every try and every replay.

    Args:
        source: Source id.
        message_id: The event's message id.
        mapping: Name of the mapping.

    Returns:
        A UUIDv5 in text form: equal arguments give equal ids.
    """
    return str(uuid.uuid5(NAMESPACE, f"{source}\n{message_id}\n{mapping}"))


def request_head(method: str, url: str, headers: dict[str, str]) -> bytes:
    """Write the part of a request that is the same for all events, from after the id to before the body.

    Args:
        method: HTTP method.
        url: URL, secrets as placeholders.
        headers: Headers, secrets as placeholders.

    Returns:
        JSON text that continues `{"id":"…"`.
    """
    return b"," + orjson.dumps({"method": method, "url": url, "headers": headers})[1:-1] + b',"body":'


def request_value(request_id: str, head: bytes, body: Any) -> bytes:  # noqa: ANN401 (any JSON value)
    """Write a request as it stands in its topic.

    Text of the event that looks like a placeholder (`${secret:x}`) gets one more `$`, which deliver takes away again:
    only a request template may name secrets, never an event.

    Args:
        request_id: Idempotency id.
        head: What `request_head` gave.
        body: What the mapping gave.

    Returns:
        JSON.

    Raises:
        ValueError: The body is nested too deeply to write.
    """
    text = encode(body).replace(b"${secret:", b"$${secret:")
    return b'{"id":"' + request_id.encode() + b'"' + head + text + b"}"


def request_headers(message: Message, destination: bytes, mapping: bytes) -> tuple[tuple[str, bytes], ...]:
    """Give the Kafka headers of a request.

    Args:
        message: The event; its record is where the event lies.
        destination: Destination id.
        mapping: Name of the mapping.

    Returns:
        Names and values in a fixed order.
    """
    body, own, record = message.body, message.headers, message.record
    event = body.get("event")
    result = [
        (names.DESTINATION, destination),
        (names.MESSAGE_ID, str(body.get("messageId", "")).encode()),
        (names.MAPPING, mapping),
        (names.SOURCE, message.source.encode() if message.source else own.get(names.SOURCE, b"")),
        (names.TYPE, str(body.get("type", "")).encode()),
        (names.EVENT_ORIGIN, f"{record.topic}/{record.partition}/{record.offset}".encode()),
    ]
    if event.__class__ is str:
        result.append((names.EVENT, event.encode()))
    result += _passed_on(own)
    return tuple(result)


def user_key(message: Message) -> bytes | None:
    """Give the key of a request whose destination keeps the order of each user.

    Args:
        message: The event.

    Returns:
        The user id, so that all devices of a user share a key; the event's own key where nobody is known.
    """
    user = message.body.get("userId")
    return user.encode() if isinstance(user, str) and user else message.key


def _passed_on(own: Headers) -> list[tuple[str, bytes]]:
    return [(name, own[name]) for name in (names.RECEIVED_AT, names.CONFIG, names.TRACEPARENT, names.REPLAY) if name in own]
