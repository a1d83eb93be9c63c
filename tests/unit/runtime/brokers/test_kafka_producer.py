"""The producer that is replaced after every failure, without a broker: what of it goes, and what it takes with it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

import pytest
from aiokafka.errors import CorruptRecordException, KafkaConnectionError, KafkaError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from pipeline.model.ids import partition_of
from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import BrokerError, RecordRefused
from pipeline.runtime.brokers import kafka
from pipeline.runtime.brokers.kafka import KafkaProducer
from pipeline.runtime.brokers.kafka_idempotent_producer import IdempotentProducer

KEY = b"user-7"


class Cluster:
    """A cluster with one topic, and all producers that were made for it.

    Attributes:
        partitions: How many the topic has.
        failure: What each write raises, or None.
        gate: Cleared to make a start wait.
        written: Partitions that were written to.
        made: How many producers were made.
        stopped: How many of them were stopped.
    """

    def __init__(self) -> None:
        self.partitions = 8
        self.failure: KafkaError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.written: list[int] = []
        self.made = self.stopped = 0


class Producer(IdempotentProducer):
    """One producer of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__("localhost:1", "test")
        self._cluster = cluster
        cluster.made += 1

    async def start(self) -> None:
        """Wait until it may."""
        await self._cluster.gate.wait()

    async def partitions_for(self, topic: str) -> Collection[int]:
        """Give those that there are now."""
        del topic
        return range(self._cluster.partitions)

    async def produce(self, batches: Sequence[tuple[TopicPartition, BatchBuilder]]) -> None:
        """Keep where it is written to, or fail."""
        if self._cluster.failure is not None:
            raise self._cluster.failure
        self._cluster.written += [partition.partition for partition, _ in batches]

    async def stop(self) -> None:
        """Count it."""
        self._cluster.stopped += 1


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A cluster that the product's producers connect to."""
    cluster = Cluster()
    monkeypatch.setattr(kafka, "IdempotentProducer", lambda _bootstrap, _client_id: Producer(cluster))
    return cluster


@pytest.mark.parametrize("error", [MessageSizeTooLargeError, CorruptRecordException])
async def test_a_refused_record_is_told_from_other_failures(cluster: Cluster, error: type[KafkaError]) -> None:
    """Too large or broken: the record is to blame, and not the broker; the producer is replaced all the same."""
    producer = KafkaProducer("localhost:1", "test")
    cluster.failure = error()
    with pytest.raises(RecordRefused):
        await producer.send([Output("t", KEY, b"value")])
    cluster.failure = KafkaConnectionError()
    with pytest.raises(BrokerError) as raised:
        await producer.send([Output("t", KEY, b"value")])
    assert type(raised.value) is BrokerError
    assert (cluster.made, cluster.stopped) == (2, 2)


async def test_a_topic_made_anew_has_its_own_partitions(cluster: Cluster) -> None:
    """After the failure that it begins with, records go to partitions that the topic has, without a restart."""
    producer = KafkaProducer("localhost:1", "test")
    await producer.send([Output("t", KEY, b"value")])
    cluster.partitions, cluster.failure = 3, KafkaConnectionError()
    with pytest.raises(BrokerError):
        await producer.send([Output("t", KEY, b"value")])
    cluster.failure = None
    await producer.send([Output("t", KEY, b"value")])
    assert cluster.written == [partition_of(KEY, 8), partition_of(KEY, 3)]
    assert partition_of(KEY, 8) != partition_of(KEY, 3)


async def test_a_start_that_is_given_up_leaves_nothing_open(cluster: Cluster) -> None:
    """Whoever is cancelled while it connects closes what it has opened."""
    cluster.gate.clear()
    starting = asyncio.create_task(KafkaProducer("localhost:1", "test").start())
    async with asyncio.timeout(5):
        while not cluster.made:  # noqa: ASYNC110 (a cluster tells nobody)
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    assert starting.cancelled()
    assert (cluster.made, cluster.stopped) == (1, 1)
