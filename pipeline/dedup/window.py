"""What is remembered of a message, for how long, and how one transaction's memories lie in a changelog record.

A changelog record is, in big-endian order: one byte with the version of the layout (1); 8 bytes with the earliest time in
milliseconds; 4 bytes for each entry with its distance from that time; 16 bytes for each entry with its digest.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from pipeline.dedup.step import DIGEST_BYTES

_VERSION: Final = 1
_HEAD: Final = struct.Struct(">Bq")
_DISTANCE_BYTES: Final = 4
_FARTHEST: Final = 2 ** (8 * _DISTANCE_BYTES) - 1


class Entry(NamedTuple):
    """One message that was seen.

    Attributes:
        digest: 16 bytes.
        first_seen_ms: When its first copy was appended, milliseconds since the epoch.
    """

    digest: bytes
    first_seen_ms: int


def is_duplicate(first_seen_ms: int, now_ms: int, window_ms: int) -> bool:
    """Say whether a second copy counts as a duplicate.

    Args:
        first_seen_ms: When the first copy was appended, milliseconds since the epoch.
        now_ms: When the second was. It may be earlier: brokers' clocks differ, and logs are read again.
        window_ms: How long a message is remembered, in milliseconds.

    Returns:
        Whether less than the window lies between them.
    """
    return now_ms - first_seen_ms < window_ms


def pack(entries: Sequence[tuple[bytes, int]]) -> bytes:
    """Write the entries of one transaction as one changelog record.

    Args:
        entries: Digests of 16 bytes with their times in milliseconds since the epoch, in any order.

    Returns:
        9 bytes and 20 for each entry.

    Raises:
        ValueError: A digest has another length, or the times lie more than 49 days apart.
    """
    times = [time for _, time in entries]
    earliest = min(times, default=0)
    if times and max(times) - earliest > _FARTHEST:
        raise ValueError("the times of one transaction lie more than 49 days apart")
    if any(len(name) != DIGEST_BYTES for name, _ in entries):
        raise ValueError(f"a digest has {DIGEST_BYTES} bytes")
    distances = struct.pack(f">{len(times)}I", *(time - earliest for time in times))
    return b"".join((_HEAD.pack(_VERSION, earliest), distances, *(name for name, _ in entries)))


def unpack(value: bytes) -> list[Entry]:
    """Read a changelog record.

    Args:
        value: What `pack` wrote.

    Returns:
        The entries in their order.

    Raises:
        ValueError: The record has another version or is cut off: the state has to be rebuilt by who knows it.
    """
    if len(value) < _HEAD.size or value[0] != _VERSION:
        raise ValueError("the dedup changelog record has a layout that this version does not know")
    count, rest = divmod(len(value) - _HEAD.size, _DISTANCE_BYTES + DIGEST_BYTES)
    if rest:
        raise ValueError("the dedup changelog record is cut off")
    earliest = _HEAD.unpack_from(value)[1]
    distances = struct.unpack_from(f">{count}I", value, _HEAD.size)
    start = _HEAD.size + count * _DISTANCE_BYTES
    return [
        Entry(value[start + index * DIGEST_BYTES : start + (index + 1) * DIGEST_BYTES], earliest + distance)
        for index, distance in enumerate(distances)
    ]
