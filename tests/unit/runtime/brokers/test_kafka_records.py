"""Batches are read whatever a producer put into them: header names that are no text come through, bombs are not unpacked."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import aiokafka.consumer.fetcher
import cramjam
import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.brokers.kafka_records import (
    CHUNK_BYTES,
    UNPACKED_RECORDS,
    UNREADABLE,
    Chunk,
    DirectRecords,
    TolerantRecords,
    in_chunks,
    parse,
    read_whatever_was_written,
)
from pipeline.runtime.brokers.kafka_unpacking import UNPACKED_BYTES, unpack

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
APPEND_TIME, TRANSACTIONAL, CONTROL = 0x08, 0x10, 0x20


class Put(NamedTuple):
    """A record as a test puts it into a batch."""

    value: bytes | None
    key: bytes | None = b"k"
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp: int = 1000


def batch(*records: Put, codec: str = "none", base: int = 0, attributes: int = 0, not_text: str = "") -> bytes:
    """Build a batch as a broker gives it.

    Args:
        records: Its records.
        codec: Name of the codec.
        base: Offset of the first.
        attributes: Bits to set in the attributes.
        not_text: Header name whose first byte becomes 0xff, in an uncompressed batch that is compressed afterwards.

    Returns:
        The bytes, with the right CRC.
    """
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=0, is_transactional=0, producer_id=7, producer_epoch=0, base_sequence=0, batch_size=1 << 30
    )
    for number, record in enumerate(records):
        assert builder.append(number, record.timestamp, record.key, record.value, list(record.headers)) is not None
    plain = bytes(builder.build())
    if not_text:
        assert plain.count(not_text.encode()) > 0
        plain = plain.replace(not_text.encode(), b"\xff" + not_text.encode()[1:])
    return sealed(plain[:61], plain[61:], codec, base, attributes)


def sealed(head: bytes, plain: bytes, codec: str, base: int = 0, attributes: int = 0) -> bytes:
    """Compress the records of a batch and put length, offset, attributes and CRC right."""
    packers: dict[str, Callable[[bytes], bytes]] = {
        "none": lambda data: data,
        "gzip": lambda data: bytes(cramjam.gzip.compress(data)),
        "snappy": lambda data: b"\x82SNAPPY\0\0\0\0\1\0\0\0\1" + b"".join(_blocks(data)),
        "raw snappy": lambda data: bytes(cramjam.snappy.compress_raw(data)),
        "lz4": lambda data: bytes(cramjam.lz4.compress(data)),
        "zstd": lambda data: bytes(cramjam.zstd.compress(data)),
    }
    made = bytearray(head + packers[codec](plain))
    struct.pack_into(">qi", made, 0, base, len(made) - 12)
    struct.pack_into(">h", made, 21, attributes | CODECS[codec.removeprefix("raw ")])
    struct.pack_into(">I", made, 17, calc_crc32c(bytes(made[21:])))
    return bytes(made)


def _blocks(data: bytes) -> list[bytes]:
    blocks = [bytes(cramjam.snappy.compress_raw(data[place : place + 32768])) for place in range(0, len(data), 32768)]
    return [struct.pack(">i", len(block)) + block for block in blocks]


def fetched(data: bytes, *, start: int = 0) -> list[tuple[int, bytes | None, tuple[tuple[str, bytes | None], ...]]]:
    """Read a fetch as aiokafka's fetcher does: offset, value and headers of each record."""
    records = PartitionRecords(TopicPartition("raw", 0), TolerantRecords(data), [], start, None, None, True, 1)  # noqa: FBT003 (not our signature)
    return [(record.offset, record.value, record.headers) for record in records]


def chunked(data: bytes, *, start: int = 0, aborted: Sequence[tuple[int, int]] = ()) -> Iterator[tuple[Chunk, int]]:
    """Read a fetch as a group's member does: chunks, each with the offset that is read next after it."""
    records = DirectRecords(TopicPartition("raw", 0), TolerantRecords(data), aborted, start, in_chunks, None, True, 1)  # noqa: FBT003 (not our signature)
    for chunk in records:
        yield chunk, records.next_fetch_offset


def seen(record: Any) -> tuple[Any, ...]:  # noqa: ANN401 (a record of either reader)
    """Give all that the fetcher looks at."""
    return (record.offset, record.timestamp, record.timestamp_type, record.key, record.value, record.headers, record.checksum)


@pytest.mark.parametrize("codec", [*CODECS, "raw snappy"])
def test_a_header_name_that_is_no_text_comes_through_and_so_do_its_neighbours(codec: str) -> None:
    """Nothing before, in or after the batch with the poison is lost, and the name says what it can."""
    poisoned = batch(Put(b"1"), Put(b"2", headers=[("XYZ", b"h"), ("é", None)]), Put(b"3"), codec=codec, base=1, not_text="XYZ")
    found = fetched(batch(Put(b"0"), codec=codec) + poisoned + batch(Put(b"4"), codec=codec, base=4))
    assert [(0, b"0", ()), (1, b"1", ()), (2, b"2", (("\ufffdYZ", b"h"), ("é", None))), (3, b"3", ()), (4, b"4", ())] == found


def test_the_library_raises_for_it() -> None:
    """When this fails, aiokafka reads such names itself and our parser can go."""
    with pytest.raises((UnicodeDecodeError, CorruptRecordException)):
        list(DefaultRecordBatch(batch(Put(b"v", headers=[("XYZ", b"")]), not_text="XYZ")))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
some_bytes = st.none() | st.binary(max_size=200)
puts = st.builds(Put, some_bytes, some_bytes, st.lists(st.tuples(texts, some_bytes), max_size=3), st.integers(0, 2**41))


@given(st.lists(puts, min_size=1, max_size=8), st.integers(0, 2**50), st.sampled_from([0, APPEND_TIME, TRANSACTIONAL, APPEND_TIME | TRANSACTIONAL]))
def test_our_parser_reads_what_the_library_reads(records: list[Put], base: int, attributes: int) -> None:
    """On a good batch the two give the same in every field."""
    data = batch(*records, base=base, attributes=attributes)
    assert [seen(record) for record in DefaultRecordBatch(data)] == [seen(record) for record in parse(data)]


@given(st.lists(puts, min_size=1, max_size=8), st.sampled_from([*CODECS, "raw snappy"]), st.integers(0, 2**50))
def test_good_batches_read_as_ever(records: list[Put], codec: str, base: int) -> None:
    """With each codec the records, and what the fetcher asks of a batch, are the library's own."""
    data = batch(*records, codec=codec, base=base, attributes=TRANSACTIONAL)
    ours, theirs = TolerantRecords(data).next_batch(), DefaultRecordBatch(data)
    for name in ("base_offset", "next_offset", "producer_id", "is_transactional", "is_control_batch"):
        assert getattr(theirs, name) == getattr(ours, name)
    assert ours.validate_crc()
    assert [seen(record) for record in theirs] == [seen(record) for record in ours]


@given(st.lists(puts, min_size=1, max_size=3), st.data())
def test_broken_lengths_are_corruption_and_nothing_else(records: list[Put], data: st.DataObject) -> None:
    """Whatever byte of the records is changed, the parser gives records or says that the batch is corrupt."""
    made = bytearray(batch(*records))
    made[data.draw(st.integers(61, len(made) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = list(parse(bytes(made)))
    except CorruptRecordException:
        return
    assert len(read) == len(records)


def test_control_batches_and_old_formats_are_left_to_the_library() -> None:
    """An abort marker still ends a transaction, a message of format 1 still has its checksum."""
    marker = batch(Put(b"\0\0\0\0\0\0", key=b"\0\0\0\0"), base=2, attributes=CONTROL | TRANSACTIONAL)
    aborted = batch(Put(b"1", headers=[("XYZ", b"")]), Put(b"2"), attributes=TRANSACTIONAL, not_text="XYZ")
    records = TolerantRecords(aborted + marker + batch(Put(b"3"), base=3))
    read = PartitionRecords(TopicPartition("raw", 0), records, [(7, 0)], 0, None, None, True, 1)  # noqa: FBT003 (not our signature)
    assert [(3, b"3")] == [(record.offset, record.value) for record in read]
    old = LegacyRecordBatchBuilder(magic=1, compression_type=0, batch_size=1000)
    old.append(0, timestamp=5, key=None, value=b"old")
    assert [(0, b"old", ())] == fetched(bytes(old.build()))


def test_a_batch_that_is_cut_off_is_not_there() -> None:
    """A fetch ends where its bytes end, in the middle of a batch too."""
    whole = batch(Put(b"0"))
    records = TolerantRecords(whole + batch(Put(b"1"), base=1)[:-1])
    assert records.size_in_bytes() == 2 * len(whole) - 1
    assert records.next_batch() is not None
    assert not records.has_next()
    assert records.next_batch() is None


@pytest.mark.parametrize("codec", ["gzip", "snappy", "raw snappy", "lz4", "zstd"])
def test_a_bomb_is_one_record_with_the_bytes_of_its_batch(codec: str) -> None:
    """What would unpack to too much stands under its last offset as it was written, and reading goes on in the next fetch."""
    bomb = batch(Put(b"a"), Put(bytes(UNPACKED_BYTES)), codec=codec, base=1)
    after = batch(Put(b"3"), codec=codec, base=3)
    assert [(0, b"0", ()), (2, bomb, ((UNREADABLE, b"2"),))] == fetched(batch(Put(b"0"), codec=codec) + bomb + after)
    assert [(3, b"3", ())] == fetched(after, start=3)


@pytest.mark.parametrize("codec", CODECS)
def test_the_largest_record_of_a_topic_is_no_bomb(codec: str) -> None:
    """All that fits uncompressed is read, with each codec, and so is what unpacks to four times as much."""
    data = batch(*[Put(bytes(UNPACKED_BYTES // 4 - 100))] * 4, codec=codec)
    assert [0, 1, 2, 3] == [offset for offset, _, _ in fetched(data)]


def test_a_batch_of_countless_records_is_a_bomb_too() -> None:
    """Seven bytes become an object of hundreds: more of them than an uncompressed batch can hold are not unpacked."""
    one = batch(Put(None, key=None))
    head = bytearray(one[:61])
    struct.pack_into(">i", head, 57, UNPACKED_RECORDS + 1)
    struct.pack_into(">i", head, 23, UNPACKED_RECORDS)
    data = sealed(bytes(head), one[61:] * (UNPACKED_RECORDS + 1), "zstd")
    assert [(UNPACKED_RECORDS, data, ((UNREADABLE, b"%d" % (UNPACKED_RECORDS + 1)),))] == fetched(data)


def test_a_fetch_ends_early_when_it_has_unpacked_enough() -> None:
    """Many batches that are each small enough are not unpacked all at once."""
    big = [batch(Put(bytes(UNPACKED_BYTES // 2)), codec="zstd", base=number) for number in range(4)]
    assert [0, 1] == [offset for offset, _, _ in fetched(b"".join(big))]
    assert [2, 3] == [offset for offset, _, _ in fetched(b"".join(big[2:]), start=2)]


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_what_is_not_of_its_codec_is_not_unpacked(codec: int) -> None:
    """Bytes that only say that they are compressed end no process."""
    assert (None, None) == unpack(codec, memoryview(b"\xff" * 40))


def test_consumers_read_through_it_however_often_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wrap itself."""
    monkeypatch.setattr(aiokafka.consumer.fetcher, "MemoryRecords", aiokafka.consumer.fetcher.MemoryRecords)
    read_whatever_was_written()
    read_whatever_was_written()
    assert aiokafka.consumer.fetcher.MemoryRecords is TolerantRecords
    assert [(0, b"v", ())] == fetched(batch(Put(b"v")))


def test_gzip_of_several_members_is_read_as_one() -> None:
    """What the library reads as one stream is one here, and is bounded as one."""
    member = bytes(cramjam.gzip.compress(b"a" * 1000))
    size, plain = unpack(1, memoryview(member * 3))
    assert (3000, b"a" * 3000) == (size, bytes(plain or b""))
    assert (None, None) == unpack(1, memoryview(bytes(cramjam.gzip.compress(bytes(UNPACKED_BYTES // 2))) * 3))


@given(st.lists(st.lists(puts, min_size=1, max_size=4), min_size=1, max_size=4), st.sampled_from([*CODECS, "raw snappy"]), st.integers(0, 20))
def test_in_chunks_the_same_is_read(batches: list[list[Put]], codec: str, start: int) -> None:
    """The records of a member of a group are those that the library reads, from the offset that was asked for."""
    data = b""
    base = 0
    for puts_of_one in batches:
        data += batch(*puts_of_one, codec=codec, base=base)
        base += len(puts_of_one)
    found = [record for chunk, _ in chunked(data, start=start) for record in chunk.records]
    assert fetched(data, start=start) == [(record.offset, record.value, record.headers) for record in found]
    assert [("raw", 0)] * len(found) == [(record.topic, record.partition) for record in found]


def test_a_chunk_ends_once_it_is_large_and_the_next_read_begins_after_it() -> None:
    """What comes after it waits as it came; small batches are put together, what a writer aborted and its marker are passed."""
    half = Put(bytes(CHUNK_BYTES // 2))
    marker = batch(Put(b"\0\0\0\0\0\0", key=b"\0\0\0\0"), base=4, attributes=CONTROL | TRANSACTIONAL)
    gone = batch(Put(b"gone"), base=3, attributes=TRANSACTIONAL)
    data = batch(half, codec="zstd") + batch(half, base=1) + batch(half, base=2) + gone + marker + batch(Put(b"5"), base=5)
    found = [([record.offset for record in chunk.records], after) for chunk, after in chunked(data, aborted=[(7, 3)])]
    assert [([0, 1], 2), ([2, 5], 6)] == found


def test_a_member_meets_poison_and_bombs_as_anyone_does() -> None:
    """A name that is no text has its replacement, a bomb its stand-in, and a chunk ends with it; old formats are read too."""
    poisoned = batch(Put(b"0", headers=[("XYZ", b"h")]), not_text="XYZ", codec="zstd")
    bomb = batch(Put(bytes(UNPACKED_BYTES + 1)), codec="zstd", base=1)
    found = [[(record.offset, record.headers) for record in chunk.records] for chunk, _ in chunked(poisoned + bomb + batch(Put(b"2"), base=2))]
    assert [[(0, (("\ufffdYZ", b"h"),)), (1, ((UNREADABLE, b"1"),))], [(2, ())]] == found
    old = LegacyRecordBatchBuilder(magic=1, compression_type=0, batch_size=1000)
    old.append(0, timestamp=5, key=None, value=b"old")
    assert [b"old"] == [record.value for chunk, _ in chunked(bytes(old.build())) for record in chunk.records]
