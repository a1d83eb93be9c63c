"""One file of the dedup store: entries sorted by digest, written once, read by position.

Layout: a head of 48 bytes (magic, count, oldest and newest time in milliseconds, CRC-32 of the digests, of the places and of the head before it);
then 16 bytes for each entry with its digest, in order; then for each entry two 64-bit little-endian numbers, when and where it was first seen.
Entries with the same digest lie in the order in which they were added.

Digests are hashes, so they are spread evenly: a small index of where each range of them begins leads to some sixty neighbours, which one
read brings in. Reads go through the page cache, and none of it counts as memory of the process.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.ports.store import DIGEST_BYTES, Block, StoreRefused

CHUNK_IDS: Final = 32_768
"""Entries that are worked on between two turns of the loop: about 5 ms."""
_MAGIC: Final = b"HRdedup3"
_HEAD: Final = struct.Struct("<8sQqqIIII")
_PLACE: Final = struct.Struct("<qq")
_NEIGHBOURS: Final = 64


class Segment:
    """A segment that is open for reading.

    Args:
        path: Its file.

    Attributes:
        ids: How many entries it has.
        oldest_ms: Earliest time in it, milliseconds since the epoch.
        newest_ms: Latest time in it.

    Raises:
        StoreRefused: The file is missing, cut off, or no segment.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise StoreRefused(f"{path}: {error.strerror}") from error
        head = os.pread(self._file, _HEAD.size, 0)
        try:
            magic, ids, oldest_ms, newest_ms, self._digests_crc, self._places_crc, crc, _ = _HEAD.unpack(head)
        except struct.error:
            magic, ids, oldest_ms, newest_ms, crc = b"", 0, 0, 0, 0
        self.ids: int = ids
        self.oldest_ms: int = oldest_ms
        self.newest_ms: int = newest_ms
        if magic != _MAGIC or crc != zlib.crc32(head[:-8]) or os.fstat(self._file).st_size != _HEAD.size + 32 * self.ids:
            os.close(self._file)
            raise StoreRefused(f"{path} is cut off, damaged or no segment of this format")
        self._places = _HEAD.size + DIGEST_BYTES * self.ids
        bits = max(1, (self.ids // _NEIGHBOURS).bit_length())
        self._shift = 32 - bits
        self._counts = np.zeros((1 << bits) + 1, np.uint32)
        self._starts = self._counts.data

    def load(self) -> Iterator[NDArray[np.uint32]]:
        """Check the file against its checksums, and index it; has to be driven to its end before `find`.

        Yields:
            The digests of one chunk after the other, as rows of four numbers (`words`).

        Raises:
            StoreRefused: A checksum does not fit.
        """
        digests_crc = places_crc = 0
        for start in range(0, self.ids, CHUNK_IDS):
            count = min(CHUNK_IDS, self.ids - start)
            digests = os.pread(self._file, DIGEST_BYTES * count, _HEAD.size + DIGEST_BYTES * start)
            digests_crc = zlib.crc32(digests, digests_crc)
            places_crc = zlib.crc32(os.pread(self._file, 16 * count, self._places + 16 * start), places_crc)
            rows = words(digests)
            self._counts[1:] += np.bincount(rows[:, 0] >> np.uint32(self._shift), minlength=len(self._counts) - 1).astype(np.uint32)
            yield rows
        if (digests_crc, places_crc) != (self._digests_crc, self._places_crc):
            raise StoreRefused(f"{self.path} is damaged: its checksum does not fit")
        np.cumsum(self._counts, out=self._counts)

    def find(self, digest: bytes, first_word: int) -> tuple[int, int] | None:
        """Look an id up.

        Args:
            digest: 16 bytes.
            first_word: Their first four as a big-endian number.

        Returns:
            When and where it was first seen, by the entry that was added last, or None.
        """
        bucket = first_word >> self._shift
        start = self._starts[bucket]
        near = os.pread(self._file, DIGEST_BYTES * (self._starts[bucket + 1] - start), _HEAD.size + DIGEST_BYTES * start)
        place = near.rfind(digest)
        while place % DIGEST_BYTES:  # across the border of two neighbours; -1 % 16 is not 0 either
            if place < 0:
                return None
            place = near.rfind(digest, 0, place + DIGEST_BYTES - 1)
        at_ms, offset = _PLACE.unpack(os.pread(self._file, 16, self._places + 16 * start + place))
        return at_ms, offset

    def between(self, first: int, end: int) -> Block:
        """Give the entries whose digests lie in a range, in their order.

        Args:
            first: First two bytes of the lowest digest, as a big-endian number.
            end: First two bytes of the lowest digest that does not belong to it.

        Returns:
            The entries.
        """
        start, stop = self._position(first), self._position(end)
        digests = os.pread(self._file, DIGEST_BYTES * (stop - start), _HEAD.size + DIGEST_BYTES * start)
        places = os.pread(self._file, 16 * (stop - start), self._places + 16 * start)
        return Block(digests, np.frombuffer(places, np.int64).reshape(-1, 2))

    def _position(self, prefix: int) -> int:
        if prefix >> 16:
            return int(self.ids)
        bucket = (prefix << 16) >> self._shift
        start = int(self._starts[bucket])
        near = os.pread(self._file, DIGEST_BYTES * (self._starts[bucket + 1] - start), _HEAD.size + DIGEST_BYTES * start)
        return start + int(np.searchsorted(np.frombuffer(near, ">u2")[::8], prefix))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def remove(self) -> None:
        """Close and delete the file."""
        self.close()
        self.path.unlink(missing_ok=True)


class SegmentWriter:
    """Writes a segment, chunk by chunk in the order of its digests.

    Args:
        path: Its file; one that is there is overwritten.
        ids: How many entries it will have.
    """

    def __init__(self, path: Path, ids: int) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._ids = ids
        self._written = 0
        self._crcs = [0, 0]
        self._times: list[int] = []

    def write(self, block: Block) -> None:
        """Append a sorted chunk.

        Args:
            block: Entries, all of them after those written so far.
        """
        count = len(block.places)
        if not count:
            return
        places = np.ascontiguousarray(block.places).tobytes()
        _write_all(self._file, block.digests, _HEAD.size + DIGEST_BYTES * self._written)
        _write_all(self._file, places, _HEAD.size + DIGEST_BYTES * self._ids + 16 * self._written)
        self._crcs = [zlib.crc32(data, crc) for data, crc in zip((block.digests, places), self._crcs, strict=True)]
        self._times += [int(block.places[:, 0].min()), int(block.places[:, 0].max())]
        self._written += count

    def finish(self) -> None:
        """Write the head: only now it is a segment."""
        head = _HEAD.pack(_MAGIC, self._ids, min(self._times, default=0), max(self._times, default=0), *self._crcs, 0, 0)[:-8]
        _write_all(self._file, head + struct.pack("<II", zlib.crc32(head), 0), 0)

    def __enter__(self) -> Self:
        """Give the writer."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close the file, whole or not."""
        os.close(self._file)


def _write_all(file: int, data: bytes, place: int) -> None:
    written = os.pwrite(file, data, place)
    if written != len(data):
        raise OSError(f"only {written} of {len(data)} bytes of the dedup store were written; the disk may be full")


def words(digests: bytes) -> NDArray[np.uint32]:
    """Give each digest as four big-endian numbers.

    Args:
        digests: 16 bytes each.

    Returns:
        A row for each.
    """
    return np.frombuffer(digests, ">u4").reshape(-1, 4).astype(np.uint32)


def sorted_block(blocks: list[Block]) -> Block:
    """Put entries in the order of a segment.

    Args:
        blocks: Entries in the order in which they were added.

    Returns:
        All of them, by digest; those with the same digest in their order.
    """
    digests = np.frombuffer(b"".join(block.digests for block in blocks), ">u8").reshape(-1, 2)
    order = np.argsort(digests[:, 0].astype(np.uint64), kind="stable")
    places = np.concatenate([block.places for block in blocks]) if blocks else np.zeros((0, 2), np.int64)
    return Block(digests.take(order, axis=0).tobytes(), places.take(order, axis=0))
