"""What the installed aiokafka does after a failure, and that our adapter never meets it: to be looked at first when the client changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from pipeline.model.record import Output
from pipeline.model.topics import Declared
from pipeline.ports.broker import BrokerError, RecordRefused
from pipeline.runtime.brokers import kafka as adapter
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.conftest import Kafka

pytestmark = pytest.mark.integration

SMALL = 2_000
"""Largest record of the topic of these tests."""
LARGE = Random(1).randbytes(2 * SMALL)  # noqa: S311 (what no codec makes smaller)


@pytest.fixture
async def topic(kafka: Kafka, prefix: str) -> str:
    """A topic with one partition that takes small records only."""
    await KafkaBroker(kafka.bootstrap).admin().create([Declared(f"{prefix}.out", 1, {"max.message.bytes": str(SMALL)})])
    return f"{prefix}.out"


async def values(kafka: Kafka, topic: str) -> list[bytes | None]:
    """Read what was committed."""
    return [record.value async for records in KafkaBroker(kafka.bootstrap).reader().read(topic) for record in records]


@contextmanager
def leaderless(client: AIOKafkaClient) -> Iterator[None]:
    """Let a producer's client know no leader, as while a partition has none: its batches expire before they are sent."""
    cluster = client.cluster
    cluster.leader_for_partition = lambda _partition: None
    try:
        yield
    finally:
        del cluster.leader_for_partition


async def test_aiokafka_commits_a_transaction_although_a_batch_was_refused(kafka: Kafka, topic: str, prefix: str) -> None:
    """Only the future of the refused batch knows; `commit_transaction` returns, and the rest of the transaction is there without it."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=f"{prefix}-bare")
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"the rest", partition=0)
        refused = await producer.send(topic, LARGE, partition=0)
        with pytest.raises(MessageSizeTooLargeError):
            await refused
        await producer.commit_transaction()
    finally:
        await producer.stop()
    successor = KafkaBroker(kafka.bootstrap).transactions(f"{prefix}-bare")
    await successor.start()  # waits until the markers of the transaction are written
    await successor.stop()
    assert [b"the rest"] == await values(kafka, topic)


async def test_the_adapter_commits_nothing_where_a_batch_was_refused(kafka: Kafka, topic: str, prefix: str) -> None:
    """It reads every batch's answer before the commit: the transaction is aborted, whole."""
    transactions = KafkaBroker(kafka.bootstrap).transactions(f"{prefix}-ours")
    await transactions.start()
    try:
        with pytest.raises(RecordRefused):
            await transactions.commit([Output(topic, None, b"the rest"), Output(topic, None, LARGE)], {}, f"{prefix}-group")
    finally:
        await transactions.stop()
    assert [] == await values(kafka, topic)


async def test_aiokafka_leaves_a_gap_in_its_sequence_after_a_batch_expired(kafka: Kafka, topic: str) -> None:
    """A batch that expires unsent has taken sequence numbers with it: the broker refuses the producer's next one (aio-libs/aiokafka#1017)."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, enable_idempotence=True, request_timeout_ms=1_000)
    await producer.start()
    try:
        await producer.send_and_wait(topic, b"1", partition=0)
        with leaderless(producer.client), pytest.raises(KafkaError):
            await producer.send_and_wait(topic, b"2", partition=0)
        with pytest.raises((KafkaError, TimeoutError)):
            async with asyncio.timeout(5):
                await producer.send_and_wait(topic, b"3", partition=0)
    finally:
        await producer.stop()
    assert [b"1"] == await values(kafka, topic)


async def test_the_adapter_goes_on_with_a_fresh_producer(kafka: Kafka, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer that has failed once is thrown away, and what comes next is stored."""
    monkeypatch.setattr(adapter, "SEND_SECONDS", 1.0)
    producer = KafkaBroker(kafka.bootstrap).producer()
    await producer.start()
    try:
        await producer.send([Output(topic, None, b"1", partition=0)])
        failed = producer._producer
        assert failed is not None
        with leaderless(failed._client), pytest.raises(BrokerError):
            await producer.send([Output(topic, None, b"2", partition=0)])
        monkeypatch.setattr(adapter, "SEND_SECONDS", 10.0)
        await producer.send([Output(topic, None, b"3", partition=0)])
        assert producer._producer is not failed
    finally:
        await producer.stop()
    assert [b"1", b"3"] == await values(kafka, topic)
