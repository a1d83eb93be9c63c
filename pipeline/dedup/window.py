"""What is remembered of a message, for how long, and how one transaction's memories lie in a changelog record.

A changelog record is, in big-endian order: one byte with the version of the layout (2); 8 bytes with the earliest time in
milliseconds; 8 bytes with the lowest offset; then for each entry 4 bytes with its distance from that time, for each entry 4 bytes with its
distance from that offset, and for each entry 16 bytes with its digest. Version 1, which is still read, had no offsets.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from pipeline.dedup.step import DIGEST_BYTES

_WITHOUT_OFFSETS: Final = 1
_VERSION: Final = 2
_HEADS: Final = {_WITHOUT_OFFSETS: struct.Struct(">Bq"), _VERSION: struct.Struct(">Bqq")}
_DISTANCE_BYTES: Final = 4
_FARTHEST: Final = 2 ** (8 * _DISTANCE_BYTES) - 1
UNKNOWN_OFFSET: Final = -1
"""The offset of an entry that was written before offsets were kept."""


class Entry(NamedTuple):
    """One message that was seen.

    Attributes:
        digest: 16 bytes.
        first_seen_ms: When its first copy was appended, milliseconds since the epoch.
        offset: Where its first copy lies in its partition of the input, or UNKNOWN_OFFSET.
    """

    digest: bytes
    first_seen_ms: int
    offset: int


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


def pack(entries: Sequence[tuple[bytes, int, int]]) -> bytes:
    """Write the entries of one transaction as one changelog record.

    Args:
        entries: Digests of 16 bytes with their times in milliseconds since the epoch and their offsets, in any order.

    Returns:
        17 bytes and 24 for each entry.

    Raises:
        ValueError: A digest has another length, the times lie more than 49 days apart, or the offsets more than 4 billion.
    """
    names, times, offsets = zip(*entries, strict=True) if entries else ((), (), ())
    earliest, lowest = min(times, default=0), min(offsets, default=0)
    if entries and max(times) - earliest > _FARTHEST:
        raise ValueError("the times of one transaction lie more than 49 days apart")
    if entries and max(offsets) - lowest > _FARTHEST:
        raise ValueError("the offsets of one transaction lie more than 4 billion apart")
    if any(len(name) != DIGEST_BYTES for name in names):
        raise ValueError(f"a digest has {DIGEST_BYTES} bytes")
    distances = struct.pack(f">{2 * len(names)}I", *(time - earliest for time in times), *(offset - lowest for offset in offsets))
    return b"".join((_HEADS[_VERSION].pack(_VERSION, earliest, lowest), distances, *names))


def unpack(value: bytes) -> list[Entry]:
    """Read a changelog record.

    Args:
        value: What `pack` wrote, in this version or an earlier one.

    Returns:
        The entries in their order.

    Raises:
        ValueError: The record has another version or is cut off: the state has to be rebuilt by who knows it.
    """
    head = _HEADS.get(value[0]) if value else None
    if head is None or len(value) < head.size:
        raise ValueError("the dedup changelog record has a layout that this version does not know")
    columns = value[0]
    count, rest = divmod(len(value) - head.size, columns * _DISTANCE_BYTES + DIGEST_BYTES)
    if rest:
        raise ValueError("the dedup changelog record is cut off")
    _, earliest, *lowest = head.unpack_from(value)
    distances = struct.unpack_from(f">{columns * count}I", value, head.size)
    times = [earliest + distance for distance in distances[:count]]
    offsets = [lowest[0] + distance for distance in distances[count:]] if lowest else [UNKNOWN_OFFSET] * count
    start = head.size + columns * count * _DISTANCE_BYTES
    names = [value[place : place + DIGEST_BYTES] for place in range(start, len(value), DIGEST_BYTES)]
    return list(map(Entry, names, times, offsets))
