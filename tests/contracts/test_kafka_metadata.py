"""No client of ours asks for topics that it does not need: hundreds of them in one process would decode the whole cluster each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata

from pipeline.model.record import Output, TopicPartition
from pipeline.model.topics import Declared
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.conftest import Kafka

pytestmark = pytest.mark.integration


class Told:
    """What aiokafka's clients of this process were told.

    Attributes:
        clients: Those that have connected.
        topics: The topics that they were told about.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clients: list[AIOKafkaClient] = []
        self.topics: set[str] = set()
        bootstrap, update = AIOKafkaClient.bootstrap, ClusterMetadata.update_metadata

        async def connected(client: AIOKafkaClient) -> None:
            self.clients.append(client)
            await bootstrap(client)

        def told(cluster: ClusterMetadata, answer: Any) -> None:  # noqa: ANN401 (aiokafka's)
            self.topics |= {topic for _, topic, *_ in answer.topics}
            update(cluster, answer)

        monkeypatch.setattr(AIOKafkaClient, "bootstrap", connected)
        monkeypatch.setattr(ClusterMetadata, "update_metadata", told)

    async def again(self) -> None:
        """Have all of them ask again, as they do every five minutes, and whenever a connection breaks."""
        assert self.clients
        await asyncio.gather(*(client.force_metadata_update() for client in self.clients if client._sync_task is not None))


async def _describe(broker: KafkaBroker, topic: str, told: Told) -> None:
    assert 1 == len(await broker.admin().describe([topic]))
    await told.again()


async def _stand(broker: KafkaBroker, topic: str, told: Told) -> None:
    consumer = broker.consumer(f"{topic}-group")
    try:
        assert await consumer.committed(TopicPartition(topic, 0)) is None
        await told.again()
    finally:
        await consumer.stop()


async def _consume(broker: KafkaBroker, topic: str, told: Told) -> None:
    async def nothing(_partitions: object) -> None:
        """Take it."""

    consumer = broker.consumer(f"{topic}-group")
    try:
        await consumer.start([topic], nothing, nothing)
        await told.again()
    finally:
        await consumer.stop()


async def _look(broker: KafkaBroker, topic: str, told: Told) -> None:
    lookup = broker.lookup()
    try:
        assert {TopicPartition(topic, 0): (0, 0)} == await lookup.start([topic])
        await told.again()
    finally:
        await lookup.stop()


async def _read(broker: KafkaBroker, topic: str, told: Told) -> None:
    assert [] == [batch async for batch in broker.reader().read(topic) if batch]
    reading = broker.reader().read(topic, follow=True)
    try:
        assert [] == await anext(reading)
        await told.again()
    finally:
        await reading.aclose()  # type: ignore[attr-defined]  # the port promises an iterator


async def _produce(broker: KafkaBroker, topic: str, told: Told) -> None:
    producer = broker.producer()
    try:
        await producer.start()
        await told.again()
        await producer.send([Output(topic, None, b"1", partition=0)])
        await told.again()
    finally:
        await producer.stop()


async def _commit(broker: KafkaBroker, topic: str, told: Told) -> None:
    transactions = broker.transactions(f"{topic}-id")
    try:
        await transactions.start()
        await told.again()
        await transactions.commit([Output(topic, None, b"1")], {}, f"{topic}-group")
        await told.again()
    finally:
        await transactions.stop()


@pytest.mark.parametrize("use", [_describe, _stand, _consume, _look, _read, _produce, _commit])
async def test_a_client_is_told_of_the_topics_that_it_needs(
    kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch, use: Callable[[KafkaBroker, str, Told], Awaitable[None]]
) -> None:
    """At its start, before it has any, and whenever it asks again: of no topic beside, however many the cluster has."""
    needed = f"{prefix}.needed"
    broker = KafkaBroker(kafka.bootstrap)
    await broker.admin().create([Declared(name, 1, {}) for name in (needed, f"{prefix}.beside")])
    told = Told(monkeypatch)
    await use(broker, needed, told)
    assert told.topics <= {needed}


async def test_those_that_ask_share_a_connection(kafka: Kafka, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many members ask where their groups stand, one client asks for all; the last that leaves closes it."""
    broker = KafkaBroker(kafka.bootstrap)
    topic = f"{prefix}.in"
    await broker.admin().create([Declared(topic, 1, {})])
    told = Told(monkeypatch)
    consumers = [broker.consumer(f"{prefix}.group-{number}") for number in range(3)]
    found = await asyncio.gather(*(consumer.describe([topic]) for consumer in consumers))
    assert [{topic}] * 3 == [set(one) for one in found]
    await consumers[0].stop()
    await consumers[1].committed(TopicPartition(topic, 0))
    (client,) = told.clients
    for consumer in consumers:
        await consumer.stop()
    assert client._sync_task is None
    assert {topic} == set(await consumers[0].describe([topic]))
    await consumers[0].stop()
