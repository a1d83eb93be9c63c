"""What may lie in a log, or be refused by it."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import TopicPartition

from pipeline.model.record import Output
from tests.conftest import Kafka
from tests.faults.load import load_body
from tests.faults.member import PARTITIONS
from tests.faults.report import Row
from tests.faults.trial import OUTPUTS, Trial, prove

pytestmark = [pytest.mark.faults, pytest.mark.integration]


@pytest.fixture
async def admin(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client."""
    client = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await client.start()
    yield client
    await client.close()


async def _limit(admin: AIOKafkaAdminClient, topic: str, size: int) -> None:
    settings = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(size)}
    await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=settings)])


@pytest.mark.fault("T11")
async def test_a_refused_record_aborts_its_transaction(kafka: Kafka, prefix: str, tmp_path: Path, row: Row, admin: AIOKafkaAdminClient) -> None:
    """An output topic takes no record for a while (max.message.bytes): transactions abort, offsets stay, and all is there in the end, or dead."""

    async def scenario(trial: Trial) -> None:
        await trial.join()
        load = asyncio.create_task(trial.load.send(6_000, 20))
        await trial.progress(200)
        await _limit(admin, f"{trial.prefix}.left", 100)
        trial.faults += 1
        await asyncio.sleep(8)
        await _limit(admin, f"{trial.prefix}.left", 2 * 1024 * 1024)
        await load
        await trial.settle()

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["failure_ignored"])


@pytest.mark.fault("T11")
async def test_an_output_that_is_too_large_dies_alone(kafka: Kafka, prefix: str, tmp_path: Path, row: Row, admin: AIOKafkaAdminClient) -> None:
    """Of what a topic takes as long as it is small enough, one event is too large: it is a dead letter, whole, and no other event is touched."""
    body = load_body(0, 1) | {
        "messageId": "large",
        "userId": "large",
        "properties": {"seq": 0, "text": base64.b64encode(os.urandom(300_000)).decode()},
    }

    async def scenario(trial: Trial) -> None:
        for output in OUTPUTS:
            await _limit(admin, f"{trial.prefix}.{output}", 200_000)
        await trial.join()
        load = asyncio.create_task(trial.load.send(4_000, 10))
        await trial.progress(200)
        await trial.load.send_bodies([body])
        trial.faults += 1
        await load
        await trial.settle()
        dead = await trial.dead()
        if not trial.broken:
            row.figures = f"dead letters: {dead}"
        assert list(dead) == ["large"], dead

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["failure_ignored"])


@pytest.mark.fault("T26")
async def test_whatever_lies_in_the_log_is_passed(kafka: Kafka, prefix: str, tmp_path: Path, row: Row, admin: AIOKafkaAdminClient) -> None:
    """Aborted records, lone markers, tombstones and foreign bytes: the load around them comes through, and they are accounted for."""
    foreign = [b"\x00\xff\xfe", b"", b"{", b"[1,2]", b'"text"', b"null", b"{}", "ünïcode".encode("utf-16")]

    async def scenario(trial: Trial) -> None:
        topic = f"{trial.prefix}.input"
        await _abort(kafka, topic, trial.prefix, records=50)
        ends = await _ends(kafka, topic)
        await admin.delete_records({place: RecordsToDelete(before_offset=end - 1) for place, end in ends.items()})
        await trial.load.send(1_000, 1)
        await _abort(kafka, topic, trial.prefix, records=500)
        producer = trial.broker.producer()
        odd = [Output(topic, b"odd", value, (), number % PARTITIONS) for number, value in enumerate(foreign)]
        await producer.send([*odd, *(Output(topic, b"tombstone", None, (), number) for number in range(PARTITIONS))])
        await producer.stop()
        await trial.load.send(1_000, 1)
        await trial.join()
        trial.faults = len(odd) + PARTITIONS
        await trial.settle(30)
        dead = await trial.dead()
        if not trial.broken:
            row.figures = (
                f"550 aborted records, {PARTITIONS} lone markers, {PARTITIONS} tombstones, {len(odd)} foreign values; {len(dead)} dead letters"
            )
        assert len(dead) > 0

    await prove(row, kafka.bootstrap, prefix, tmp_path, scenario, ["foreign_skipped", "offsets_counted", "uncommitted_read"], at_once=4)


async def _abort(kafka: Kafka, topic: str, prefix: str, records: int) -> None:
    """Write records in a transaction that is aborted."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"{prefix}.aborting")
    await producer.start()
    await producer.begin_transaction()
    body = orjson.dumps(load_body(0, 1) | {"messageId": "aborted"})
    for number in range(records):
        await producer.send(topic, body, partition=number % PARTITIONS)
    await producer.flush()
    await producer.abort_transaction()
    await producer.stop()


async def _ends(kafka: Kafka, topic: str) -> dict[TopicPartition, int]:
    """Read the end of each partition."""
    from aiokafka import AIOKafkaConsumer  # noqa: PLC0415 (used here only)

    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
        return ends
    finally:
        await consumer.stop()
