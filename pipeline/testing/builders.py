"""Events and records for tests, made of overrides only: a test says what matters to it and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Any, Final

from pipeline.model.json_text import encode
from pipeline.model.record import Record

_OWN: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "track": {"event": "Button Clicked", "properties": {}},
        "identify": {"userId": "u-1", "traits": {}},
        "page": {"name": "Home", "properties": {}},
        "screen": {"name": "Home", "properties": {}},
        "group": {"groupId": "g-1", "traits": {}},
        "alias": {"userId": "u-1", "previousId": "a-1"},
    }
)


def event(type: str = "track", **overrides: Any) -> dict[str, Any]:  # noqa: A002, ANN401 (`type` is the spec's own name; its fields hold any JSON value)
    """Make a sound spec message.

    Args:
        type: Spec call.
        overrides: Fields that replace or join the defaults.

    Returns:
        The message. Its `messageId` is derived from everything else in it: equal events are copies of one message, different ones are not.
    """
    body = {"type": type, "anonymousId": "a-1", "timestamp": "2026-01-01T00:00:00.000Z", **_OWN.get(type, {}), **overrides}
    body.setdefault("messageId", f"m-{blake2b(encode(body), digest_size=8).hexdigest()}")
    return body


def record(
    value: bytes | Mapping[str, Any] | None = None,
    *,
    topic: str = "test.raw",
    partition: int = 0,
    offset: int = 0,
    timestamp: int = 0,
    key: bytes | None = b"a-1",
    headers: Mapping[str, bytes] | None = None,
) -> Record:
    """Make a record as it is read from a topic.

    Args:
        value: Bytes as they are, or a JSON object; `event()` where nothing is given.
        topic: Topic with the workspace's prefix.
        partition: Partition number.
        offset: Offset.
        timestamp: Broker append time, milliseconds since the epoch.
        key: Key bytes, or None.
        headers: Headers by name.

    Returns:
        The record.
    """
    return Record(topic, partition, offset, timestamp, key, as_bytes(event() if value is None else value), tuple((headers or {}).items()))


def as_bytes(value: bytes | Mapping[str, Any]) -> bytes:
    """Write a JSON object as it lies in a topic.

    Args:
        value: The object; bytes are taken as they are.

    Returns:
        Compact JSON, with integers of any size.
    """
    return value if isinstance(value, bytes) else encode(dict(value))
