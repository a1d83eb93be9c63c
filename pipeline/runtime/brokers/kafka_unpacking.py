"""Unpacks the batches of any codec, none further than a bound: what a batch unpacks to is up to whoever wrote it."""

from __future__ import annotations

import gzip
import io
import mmap
import struct
import threading
import zlib
from typing import Any, Final

import cramjam

from pipeline.model.limits import TOPIC_MESSAGE_BYTES

UNPACKED_BYTES: Final = 4 * TOPIC_MESSAGE_BYTES
"""The most that a compressed batch may unpack to, and about the most that one fetch unpacks of a partition; our own batches have 1 MiB."""
NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
"""Kafka's numbers of the codecs."""
_XERIAL: Final = b"\x82SNAPPY\0\0\0\0\1\0\0\0\1"
"""What Java's and aiokafka's snappy begins with; blocks follow, each with its length before it."""


def unpack(codec: int, packed: memoryview) -> tuple[int | None, memoryview | None]:
    """Unpack at most UNPACKED_BYTES, never taking more memory than that on the way.

    Args:
        codec: Kafka's number of the codec: 1 gzip, 2 snappy, 3 lz4, 4 zstd.
        packed: What it made.

    Returns:
        The unpacked size, or None where it is more or the bytes are not of that codec; and what was unpacked, which stands until the next call,
        but for snappy, which says its size in advance and is left to aiokafka.
    """
    if codec == SNAPPY:
        size = _snappy_size(packed)
        return (size if size is not None and size <= UNPACKED_BYTES else None), None
    plain = _gunzip(packed) if codec == GZIP else _into_room(cramjam.lz4 if codec == LZ4 else cramjam.zstd, packed)
    return (len(plain), plain) if plain is not None and len(plain) <= UNPACKED_BYTES else (None, None)


def _gunzip(packed: memoryview) -> memoryview | None:
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        plain = stream.decompress(packed, UNPACKED_BYTES + 1)
        if stream.unused_data:  # more members follow, as gzip allows; read one by one here they would be copied over and over
            plain = gzip.GzipFile(fileobj=io.BytesIO(packed)).read(UNPACKED_BYTES + 1)
        elif not stream.eof:
            return None
    except (OSError, EOFError, zlib.error):
        return None
    return memoryview(plain)


class _Room(threading.local):
    """Where a thread unpacks, so that megabytes are not cleared and given back for each batch; pages that no batch needed are not taken."""

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, UNPACKED_BYTES))


_room: Final = _Room()


def _into_room(codec: Any, packed: memoryview) -> memoryview | None:  # noqa: ANN401 (one of cramjam's modules)
    """Unpack into this thread's room: what is given there stands until the next call."""
    try:
        size = codec.decompress_into(packed, _room.view)
    except cramjam.DecompressionError:
        return None
    return _room.view[:size]


def _snappy_size(packed: memoryview) -> int | None:
    try:
        if len(packed) <= len(_XERIAL) or packed[: len(_XERIAL)].tobytes() != _XERIAL:
            return int(cramjam.snappy.decompress_raw_len(packed))
        size, place = 0, len(_XERIAL)
        while place < len(packed):
            (length,) = struct.unpack_from(">i", packed, place)
            if length < 0:
                return None
            size += cramjam.snappy.decompress_raw_len(packed[place + 4 : place + 4 + length])
            place += 4 + length
    except (cramjam.DecompressionError, struct.error):
        return None
    return size
