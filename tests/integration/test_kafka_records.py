"""What any producer may write to a real Kafka is read: header names that are no text, batches that unpack to gigabytes."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Collection

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from pipeline.model.record import Record, TopicPartition
from pipeline.model.topics import Declared, declared_topics
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.brokers.kafka_records import UNREADABLE
from tests.conftest import Kafka

pytestmark = pytest.mark.integration

BOMB_BYTES = 64 * 1024 * 1024


async def write(kafka: Kafka, topic: str, values: Collection[bytes], *, codec: str | None = None, poison: bool = False) -> None:
    """Write one batch as a foreign producer does, with no regard to UTF-8 in the header of its second record."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type=codec, max_batch_size=2 * BOMB_BYTES)
    await producer.start()
    try:
        batch = producer.create_batch()
        for number, value in enumerate(values):
            headers = [("XYZ", b"h")] if number == 1 else []
            assert batch.append(timestamp=None, key=None, value=value, headers=headers) is not None
        if poison:
            build: Callable[[], bytearray] = batch._build  # its public ways take text only

            def poisoned() -> bytearray:
                made = bytearray(bytes(build()).replace(b"XYZ", b"\xffYZ"))
                struct.pack_into(">I", made, 17, calc_crc32c(bytes(made[21:])))
                return made

            batch._build = poisoned
        await (await producer.send_batch(batch, topic, partition=0))
    finally:
        await producer.stop()


async def read_in_group(broker: KafkaBroker, group: str, topic: str, end: int) -> list[Record]:
    """Read a topic's only partition as a member of a group, to an offset."""
    found: list[Record] = []
    partition = TopicPartition(topic, 0)
    assigned = asyncio.Event()

    async def on_assigned(_partitions: Collection[TopicPartition]) -> None:
        assigned.set()

    async def on_revoked(_partitions: Collection[TopicPartition]) -> None:
        """Nothing is in flight."""

    consumer = broker.consumer(group)
    await consumer.start([topic], on_assigned, on_revoked)
    try:
        async with asyncio.timeout(30):
            await assigned.wait()
            consumer.seek(partition, 0)
            consumer.resume(partition)
            while not found or found[-1].offset < end - 1:
                found.extend((await consumer.fetch(1.0)).get(partition, ()))
    finally:
        await consumer.stop()
    return found


async def created(broker: KafkaBroker, prefix: str) -> str:
    """Make raw as every cluster has it, with one partition."""
    declared: list[Declared] = list(declared_topics(prefix, destinations=(), dedup_processors=(), partitions=1))
    raw = next(topic for topic in declared if topic.name == f"{prefix}.raw")
    await broker.admin().create([raw])
    return raw.name


async def test_a_header_name_that_is_no_text_stops_nobody(kafka: Kafka, prefix: str) -> None:
    """Records before, in and after the batch with the poison come out once, of a group's member and of a reader."""
    broker = KafkaBroker(kafka.bootstrap)
    topic = await created(broker, prefix)
    await write(kafka, topic, [b"0", b"1"])
    await write(kafka, topic, [b"2", b"3", b"4"], poison=True)
    await write(kafka, topic, [b"5"])
    expected = [(number, b"%d" % number, {1: (("XYZ", b"h"),), 3: (("\ufffdYZ", b"h"),)}.get(number, ())) for number in range(6)]
    in_group = await read_in_group(broker, f"{prefix}.group", topic, 6)
    assert expected == [(record.offset, record.value, record.headers) for record in in_group]
    alone = [record async for records in broker.reader().read(topic) for record in records]
    assert expected == [(record.offset, record.value, record.headers) for record in alone]


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
async def test_a_bomb_is_stored_by_the_broker_and_unpacked_by_nobody(kafka: Kafka, prefix: str, codec: str) -> None:
    """It takes the place of one record that no step can read; the broker and the records round it are well."""
    broker = KafkaBroker(kafka.bootstrap)
    topic = await created(broker, prefix)
    await write(kafka, topic, [b"0"], codec=codec)
    await write(kafka, topic, [b"1", bytes(BOMB_BYTES), b"3"], codec=codec)
    await write(kafka, topic, [b"4"], codec=codec)
    found = await read_in_group(broker, f"{prefix}.group", topic, 5)
    assert [(0, ()), (3, ((UNREADABLE, b"3"),)), (4, ())] == [(record.offset, record.headers) for record in found]
    assert len(found[1].value or b"") < BOMB_BYTES // 500
