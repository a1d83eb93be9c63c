"""What may lie in a log, or be refused by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import TopicPartition

from pipeline.model.record import Output
from tests.conftest import Kafka
from tests.faults.laws import hold
from tests.faults.report import Row
from tests.faults.trial import PARTITIONS, Trial, note, trying

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
    """An output topic takes no record for a while (max.message.bytes): transactions abort, offsets stay, and all is there in the end."""

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

    for build in ("", "failure_ignored"):
        async with trying(kafka.bootstrap, f"{prefix}{build}", tmp_path / (build or "product"), build) as trial:
            await scenario(trial)
            verdicts = await trial.verdicts()
            if build:
                row.caught[build] = any(verdict.violations for verdict in verdicts)
            else:
                note(row, trial, verdicts)
                hold(verdicts)
    assert row.caught["failure_ignored"]


@pytest.mark.fault("T26")
async def test_whatever_lies_in_the_log_is_passed(kafka: Kafka, prefix: str, tmp_path: Path, row: Row, admin: AIOKafkaAdminClient) -> None:
    """Aborted records, lone markers, tombstones and foreign bytes: the load around them comes through, and they are accounted for."""
    async with trying(kafka.bootstrap, prefix, tmp_path / "trial") as trial:
        topic = f"{prefix}.input"
        await _abort(kafka, topic, prefix, records=50)
        ends = await _ends(kafka, topic)
        await admin.delete_records({place: RecordsToDelete(before_offset=end - 1) for place, end in ends.items()})
        await trial.load.send(1_000, 1)
        await _abort(kafka, topic, prefix, records=500)
        producer = trial.broker.producer()
        foreign = [b"\x00\xff\xfe", b"", b"{", b"[1,2]", b'"text"', b"null", b"{}", "ünïcode".encode("utf-16")]
        odd = [Output(topic, b"odd", value, (), number % PARTITIONS) for number, value in enumerate(foreign)]
        await producer.send([*odd, *(Output(topic, b"tombstone", None, (), number) for number in range(PARTITIONS))])
        await producer.stop()
        await trial.load.send(1_000, 1)
        await trial.join()
        trial.faults = len(odd) + PARTITIONS
        await trial.settle()
        verdicts = await trial.verdicts()
        note(row, trial, verdicts)
        dead = sum([len(records) async for records in trial.broker.reader().read(f"{prefix}.dead.validate")])
        row.figures = f"550 aborted records, {PARTITIONS} lone markers, {PARTITIONS} tombstones, {len(odd)} foreign values; {dead} dead letters"
        hold(verdicts)
        assert dead > 0


async def _abort(kafka: Kafka, topic: str, prefix: str, records: int) -> None:
    """Write records in a transaction that is aborted."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"{prefix}.aborting")
    await producer.start()
    await producer.begin_transaction()
    for number in range(records):
        await producer.send(topic, b'{"type":"track","messageId":"aborted"}', partition=number % PARTITIONS)
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
