"""Reads what any producer may have written: header names that are no text, batches that unpack to gigabytes.

aiokafka 0.14 raises UnicodeDecodeError for a header name that is not UTF-8, which brokers store and other clients write, and unpacks a
batch whole, whatever its size. Both end a process, which would start again at the same record for ever.

The bound on unpacking is here and not in the topic's settings: `max.message.bytes` is about the compressed size, and with
`compression.type=uncompressed` the broker unpacks the batch in its own heap before it measures it; 200 MiB of zeros end a broker of 330 MB.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

import aiokafka.consumer.fetcher
from aiokafka.codec import snappy_decode
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.memory_records import MemoryRecords

from pipeline.model.limits import TOPIC_MESSAGE_BYTES
from pipeline.model.record import Record
from pipeline.runtime.brokers.kafka_unpacking import NONE, SNAPPY, UNPACKED_BYTES, unpack

_log = logging.getLogger(__name__)

UNPACKED_RECORDS: Final = TOPIC_MESSAGE_BYTES // 7
"""The most records in a compressed batch: as many as an uncompressed one could hold. A record takes seven bytes, but hundreds as an object."""
CHUNK_BYTES: Final = 256 * 1024
"""What a chunk of small batches unpacks to; one that is larger is a chunk of its own."""
UNREADABLE: Final = "unreadable_batch"
"""Header of the record that stands for a whole batch: how many records were in it."""

_CODECS: Final = 0x07
_APPEND_TIME: Final = 0x08
_OVERHEAD: Final = 12
_MAGIC: Final = 16
_ATTRIBUTES: Final = 22
_TIMESTAMPS: Final = 27
_COUNT: Final = 57
_RECORDS: Final = 61


class KafkaRecord(NamedTuple):
    """A record as aiokafka's fetcher reads it; attributes as there."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    checksum: None = None


class _Whole(NamedTuple):
    """All records of a batch, which the fetcher takes for one.

    Attributes:
        offset: The batch's last offset.
        records: Its records, in the library's form.
        size: Bytes that they were unpacked to.
    """

    offset: int
    records: list[Any]
    size: int


class TolerantRecords:
    """What a fetch gave of one partition, batch by batch; takes the place of aiokafka's MemoryRecords.

    It ends early once it has unpacked UNPACKED_BYTES or UNPACKED_RECORDS: the fetcher then asks for the rest anew.

    Args:
        data: Record batches one after the other; the last may be cut off.

    Attributes:
        in_wholes: Whether a batch gives all its records as one; whoever reads so takes some at a time, and there is no end before the last.
    """

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._inner: Any = MemoryRecords(data)
        self._place = 0
        self._left = UNPACKED_BYTES
        self._records_left = UNPACKED_RECORDS
        self.in_wholes = False

    def size_in_bytes(self) -> int:
        """Give the size of the data."""
        return len(self._data)

    def has_next(self) -> bool:
        """Say whether there is another whole batch."""
        return bool((self.in_wholes or (self._left > 0 and self._records_left > 0)) and self._inner.has_next())

    def next_batch(self) -> Any:  # noqa: ANN401 (either this module's batch or one of aiokafka's, which have no common type)
        """Give the next batch, or None; control batches and those before format 2 as aiokafka reads them."""
        place = self._place
        batch = self._inner.next_batch()
        if batch is None:
            return None
        (length,) = struct.unpack_from(">i", self._data, place + _OVERHEAD - 4)
        self._place = end = place + _OVERHEAD + length
        if self._data[place + _MAGIC] < 2 or batch.is_control_batch:
            return batch
        return _TolerantBatch(self, batch, self._data[place:end])

    def unpacked(self, size: int, count: int) -> None:
        """Take note of what was unpacked.

        Args:
            size: Bytes.
            count: Records.
        """
        self._left -= size
        self._records_left -= count


class _TolerantBatch:
    """A batch of format 2: what aiokafka says of it, and its records whatever is in them."""

    def __init__(self, records: TolerantRecords, inner: Any, data: memoryview) -> None:  # noqa: ANN401 (aiokafka's batch, in C or in Python)
        self._records = records
        self._inner = inner
        self._data = data
        self.base_offset: int = inner.base_offset
        self.next_offset: int = inner.next_offset
        self.producer_id: int = inner.producer_id
        self.is_transactional: bool = inner.is_transactional
        self.is_control_batch = False
        self.validate_crc = inner.validate_crc

    def __iter__(self) -> Iterator[Any]:
        data = self._data
        codec = data[_ATTRIBUTES] & _CODECS
        inner = self._inner
        size: int | None = len(data)
        if codec != NONE:
            count: int
            (count,) = struct.unpack_from(">i", data, _COUNT)
            size, plain = (None, None) if count > UNPACKED_RECORDS else unpack(codec, data[_RECORDS:])
            if size is None:
                self._records.unpacked(UNPACKED_BYTES, count)  # it has cost as much: a fetch full of such batches must not hold the loop for seconds
                yield from self._given([self._stand_in(count)], UNPACKED_BYTES)
                return
            self._records.unpacked(size, count)
            if plain is not None:
                data = memoryview(_uncompressed(data, plain))
                inner = DefaultRecordBatch(data.obj)
        try:
            yield from self._given(inner, size)
        except (UnicodeDecodeError, CorruptRecordException):  # the second from its Python twin, where there is no C
            if codec == SNAPPY:
                data = memoryview(_uncompressed(data, snappy_decode(data[_RECORDS:].tobytes())))
            # from the first record on: the fetcher leaves out what lies before the offset it has reached
            yield from self._given(parse(data.tobytes()), size)

    def _given(self, records: Iterable[Any], size: int | None) -> Iterable[Any]:
        """Give records one by one, or as one whole."""
        return [_Whole(self.next_offset - 1, list(records), size or 0)] if self._records.in_wholes else records

    def _stand_in(self, count: int) -> KafkaRecord:
        """Make the record that is read in place of all: the batch's own bytes, so that nothing is lost, at its last offset."""
        offset = self.next_offset - 1
        _log.error("The %d records from offset %d to %d do not unpack to %d bytes at most.", count, self.base_offset, offset, UNPACKED_BYTES)
        _, latest = struct.unpack_from(">qq", self._data, _TIMESTAMPS)
        kind = int(bool(self._data[_ATTRIBUTES] & _APPEND_TIME))
        return KafkaRecord(offset, latest, kind, None, self._data.tobytes(), [(UNREADABLE, b"%d" % count)])


def parse(batch: bytes) -> Iterator[KafkaRecord]:
    """Read an uncompressed batch; what is no UTF-8 in a header's name becomes U+FFFD.

    Args:
        batch: A whole batch of format 2, with its codec set to none (KIP-98; Kafka's page "Message format").

    Yields:
        Its records in order.

    Raises:
        CorruptRecordException: A record does not end where its length says, or the batch not after the last record.
    """
    (base,) = struct.unpack_from(">q", batch)
    first, latest = struct.unpack_from(">qq", batch, _TIMESTAMPS)
    (count,) = struct.unpack_from(">i", batch, _COUNT)
    kind = int(bool(batch[_ATTRIBUTES] & _APPEND_TIME))
    place = _RECORDS
    try:
        for _ in range(count):
            length, place = _varint(batch, place)
            end = place + length
            later, place = _varint(batch, place + 1)  # its attributes are unused
            delta, place = _varint(batch, place)
            key, place = _bytes(batch, place)
            value, place = _bytes(batch, place)
            pairs, place = _varint(batch, place)
            headers: list[tuple[str, bytes | None]] = []
            for _ in range(pairs):
                name, place = _bytes(batch, place)
                content, place = _bytes(batch, place)
                headers.append(((name or b"").decode("utf-8", "replace"), content))
            if place != end:
                _corrupt(base + delta)
            yield KafkaRecord(base + delta, latest if kind else first + later, kind, key, value, headers)
    except IndexError:
        _corrupt(base)
    if place != len(batch):
        _corrupt(base)


def _bytes(data: bytes, place: int) -> tuple[bytes | None, int]:
    length, place = _varint(data, place)
    if length < 0:
        return None, place
    return data[place : place + length], place + length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Read a zigzag number of up to 64 bits; aiokafka's own, in C, reads on behind the end of the data."""
    number = shift = 0
    while shift < 70:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), place
        shift += 7
    raise IndexError(place)


def _corrupt(offset: int) -> None:
    reason = f"the batch with offset {offset} does not keep to its lengths"
    raise CorruptRecordException(reason)


def _uncompressed(batch: memoryview, plain: bytes | memoryview) -> bytes:
    """Give a batch with its records unpacked. Its length and CRC are no longer looked at, so they stay."""
    head = bytearray(batch[:_RECORDS])
    head[_ATTRIBUTES] &= ~_CODECS & 0xFF
    return b"".join((head, plain))


def as_they_are(data: bytes | None) -> bytes | None:
    """Deserialise nothing; a consumer with this for its key deserialiser gives our records instead of aiokafka's.

    Args:
        data: A key.

    Returns:
        The same.
    """
    return data


def in_chunks(data: bytes | None) -> bytes | None:
    """Deserialise nothing; a consumer with this for its key deserialiser gives a Chunk of our records for each record of aiokafka's.

    So `max_records` of `getmany` bounds what is unpacked at once; the rest waits as it came.

    Args:
        data: A key.

    Returns:
        The same.
    """
    return data


class Chunk(NamedTuple):
    """Records of whole batches, one after the other.

    Attributes:
        records: The records.
        size: Bytes that they were unpacked to.
    """

    records: list[Record]
    size: int


class DirectRecords(PartitionRecords):  # type: ignore[misc]  # aiokafka ships without types
    """What a fetch gave of one partition, made into our records at once: aiokafka's own record costs as much as reading it."""

    def __iter__(self) -> Iterator[Any]:
        """Give the records in order."""
        return self._records_iterator if self._key_deserializer in _DIRECT else super().__iter__()  # type: ignore[no-any-return]  # see above

    def _unpack_records(self) -> Iterator[Any]:
        found = super()._unpack_records()
        if self._key_deserializer is not in_chunks:
            return found  # type: ignore[no-any-return]  # see above
        self._records.in_wholes = True
        return _chunks(found)

    def _consumer_record(self, tp: Any, record: Any) -> Any:  # noqa: ANN401 (aiokafka's, without types)
        if self._key_deserializer is in_chunks:
            first = self.next_fetch_offset
            whole = (
                record if record.__class__ is _Whole else _Whole(record.offset, [record], len(record.value or b""))
            )  # control batches, old formats
            topic, partition = tp
            return Chunk(
                [
                    _record((topic, partition, offset, one.timestamp, one.key, one.value, tuple(one.headers)))
                    for one in whole.records
                    if (offset := one.offset) >= first
                ],
                whole.size,
            )
        if self._key_deserializer is not as_they_are:  # a library in this process that reads for itself (the monitor)
            return super()._consumer_record(tp, record)
        return _record((*tp, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)))


def _chunks(batches: Iterator[Chunk]) -> Iterator[Chunk]:
    """Put small batches together: of each that is handed on the loop has work, however few records are in it."""
    records: list[Record] = []
    size = 0
    for batch in batches:
        records = records + batch.records if records else batch.records
        size += batch.size
        if size >= CHUNK_BYTES:
            if records:
                yield Chunk(records, size)
            records, size = [], 0
    if records:
        yield Chunk(records, size)


_DIRECT: Final = (as_they_are, in_chunks)
_record: Final[Callable[[tuple[object, ...]], Record]] = partial(tuple.__new__, Record)
"""Makes a record of its seven attributes in a third of the time that its own constructor takes."""


def read_whatever_was_written() -> None:
    """Have every consumer of this process read through TolerantRecords; more than once is as good as once.

    aiokafka has no way to give it another reader of batches, and raises for what brokers store (module's docstring).
    """
    aiokafka.consumer.fetcher.MemoryRecords = TolerantRecords
    aiokafka.consumer.fetcher.PartitionRecords = DirectRecords
