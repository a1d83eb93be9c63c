"""Identities: Kafka's key placement and message ids for events that came without one."""

from __future__ import annotations

import struct
import uuid
from functools import lru_cache
from typing import Any, Final

NAMESPACE: Final = uuid.UUID("7b1f3d0e-6c5a-5d2f-9a57-2b8f6f1f3c11")
"""Namespace of the message ids that we derive; changing it would break the recognition of an SDK's retries."""

_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Hash a key as Kafka's Java client does.

    Args:
        data: The key.

    Returns:
        The 32-bit hash, unsigned. Source: org.apache.kafka.common.utils.Utils.murmur2.
    """
    words, rest = divmod(len(data), 4)
    value = 0x9747B28C ^ len(data)
    for word in struct.unpack_from(f"<{words}I", data):
        scrambled = word * 0x5BD1E995 & _MASK
        value = value * 0x5BD1E995 & _MASK ^ (scrambled ^ scrambled >> 24) * 0x5BD1E995 & _MASK
    if rest:
        value ^= int.from_bytes(data[-rest:], "little")
        value = value * 0x5BD1E995 & _MASK
    value ^= value >> 13
    value = (value * 0x5BD1E995) & _MASK
    return value ^ (value >> 15)


@lru_cache(maxsize=65536)
def partition_of(key: bytes, partitions: int) -> int:
    """Place a key as Kafka's default partitioner does.

    Args:
        key: The key.
        partitions: How many partitions the topic has, at least 1.

    Returns:
        The partition, 0 to partitions - 1.
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def event_key(body: dict[str, Any]) -> bytes | None:
    """Derive the key of an event: its anonymous id, else its user id.

    Args:
        body: The spec message; ids of a wrong type do not count.

    Returns:
        The key as UTF-8, or None where the message has neither id.
    """
    for name in ("anonymousId", "userId"):
        value = body.get(name)
        if value.__class__ is str and value:
            return value.encode("utf-8", "replace")
        if value.__class__ is int:
            return b"%d" % value
    return None


def derived_message_id(source: str, sent_at: str, index: int, value: bytes) -> str:
    """Make the message id of an event that came without one, so that an SDK's retry of it is recognised.

    Args:
        source: Source id.
        sent_at: The `sentAt` of the event or of its request; empty where it has none.
        index: Position in its batch, from 0.
        value: The event's bytes.

    Returns:
        A UUIDv5 in text form: equal arguments give equal ids.
    """
    name = f"{source}\n{sent_at}\n{index}\n".encode() + value
    return str(uuid.uuid5(NAMESPACE, name.hex()))
