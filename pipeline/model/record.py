"""What lies in a topic, and a message on its way through the steps of one processor."""

from __future__ import annotations

from typing import Any, NamedTuple

Headers = dict[str, bytes]
"""Kafka headers by name. Where a name is repeated on the wire, the last one counts."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Record(NamedTuple):
    """One record as it was read from a topic.

    Attributes:
        topic: Topic name with the workspace's prefix.
        partition: Partition number.
        offset: Offset in the partition.
        timestamp: Broker append time, milliseconds since the epoch.
        key: Key bytes, or None.
        value: Value bytes, or None for a tombstone.
        headers: Headers in the order of the wire.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Output(NamedTuple):
    """One record to be written, as part of a transaction.

    Attributes:
        topic: Topic name with the workspace's prefix.
        key: Key bytes, or None.
        value: Value bytes, or None for a tombstone.
        headers: Headers in the order of the wire.
        partition: Partition number, or None to place by murmur2 over the key (partition 0 where the key is None).
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class Message:
    """A parsed record on its way through the steps of one processor; a step owns it while it holds it.

    Attributes:
        body: The parsed spec message. Steps change it in place.
        key: Key for the output; a step may replace it.
        headers: Headers for the output; a step may add to them.
        record: The record it came from, untouched.
        source: Id of the source it belongs to; empty until validate has named it.
        withheld: Where the message does not go, as (destination, reason name), counted beside its outcome.
    """

    __slots__ = ("body", "headers", "key", "record", "source", "withheld")

    def __init__(self, body: Any, key: bytes | None, headers: Headers, record: Record, source: str = "") -> None:  # noqa: ANN401 (JSON)
        self.body = body
        self.key = key
        self.headers = headers
        self.record = record
        self.source = source
        self.withheld: list[tuple[str, str]] = []
