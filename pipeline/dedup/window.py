"""What is remembered of a message, for how long, and how one transaction's memories lie in a changelog record.

A changelog record is, in big-endian order: one byte with the version of the layout (2); 8 bytes with the earliest time in
milliseconds; 8 bytes with the lowest offset; then for each entry 4 bytes with its distance from that time, for each entry 4 bytes with its
distance from that offset, and for each entry 16 bytes with its digest. Version 1, which is still read, had no offsets.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import chain
from typing import Final, NamedTuple

import numpy as np

from pipeline.ports.store import DIGEST_BYTES, Block

DAY_MS: Final = 24 * 3_600_000
"""The shortest window that lets nobody be warned."""
_WITHOUT_OFFSETS: Final = 1
_VERSION: Final = 2
_HEADS: Final = {_WITHOUT_OFFSETS: struct.Struct(">Bq"), _VERSION: struct.Struct(">Bqq")}
_DISTANCE_BYTES: Final = 4
_MOST: Final = 2**62
_FARTHEST: Final = 2 ** (8 * _DISTANCE_BYTES) - 1
UNKNOWN_OFFSET: Final = -1
"""The offset of an entry that was written before offsets were kept."""


class Coverage(NamedTuple):
    """How much of its window a partition's dedup state really knows.

    Attributes:
        seconds: The stretch up to now of which every id is known; at most the window.
        short: Whether that is less than the window, or less than a day.
    """

    seconds: float
    short: bool


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


def coverage(covered_since_ms: int, now_ms: int, window_ms: int) -> Coverage:
    """Say how much of the window is known.

    Args:
        covered_since_ms: Time up to which ids may be missing, milliseconds since the epoch; 0 where none are.
        now_ms: Broker time of the newest record.
        window_ms: How long a message is to be remembered.

    Returns:
        The stretch, and whether somebody should be told.
    """
    known_ms = window_ms if not covered_since_ms else max(0, min(window_ms, now_ms - covered_since_ms))
    return Coverage(known_ms / 1000, known_ms < max(window_ms, DAY_MS))


def pack(entries: Mapping[bytes, tuple[int, int]]) -> bytes:
    """Write the entries of one transaction as one changelog record.

    Args:
        entries: For each digest of 16 bytes the time in milliseconds since the epoch, and the offset.

    Returns:
        17 bytes and 24 for each entry.

    Raises:
        ValueError: A digest has another length, the times lie more than 49 days apart, or the offsets more than 4 billion.
    """
    names = b"".join(entries)
    if len(names) != DIGEST_BYTES * len(entries) or any(len(name) != DIGEST_BYTES for name in entries):
        raise ValueError(f"a digest has {DIGEST_BYTES} bytes")
    places = np.fromiter(chain.from_iterable(entries.values()), np.int64, 2 * len(entries)).reshape(-1, 2)
    lowest = places.min(axis=0, initial=_MOST)
    distances = places - lowest
    if (distances > _FARTHEST).any():
        raise ValueError("the times of one transaction lie more than 49 days apart, or its offsets more than 4 billion")
    return b"".join((_HEADS[_VERSION].pack(_VERSION, *lowest.tolist()), distances.T.astype(">u4").tobytes(), names))


def unpack(value: bytes) -> Block:
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
    _, *lowest = head.unpack_from(value)
    places = np.full((count, 2), UNKNOWN_OFFSET, np.int64)
    for column, least in enumerate(lowest):
        places[:, column] = np.frombuffer(value, ">u4", count, head.size + column * count * _DISTANCE_BYTES)
        places[:, column] += least
    return Block(value[len(value) - count * DIGEST_BYTES :], places)
