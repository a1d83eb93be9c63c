"""A partition that is paused gives nothing and loses nothing that was fetched of it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka.structs import TopicPartition as KafkaTopicPartition

from pipeline.model.record import Record, TopicPartition
from pipeline.runtime.brokers.kafka_consumer import BUSY_WAIT_MS, CHUNKS, EMPTY_MOST, HELD_SECONDS, IDLE_WAIT_MS, KafkaConsumer
from pipeline.runtime.brokers.kafka_metadata import SharedAdmin
from pipeline.runtime.brokers.kafka_records import Chunk
from pipeline.testing import record
from tests.unit.runtime.jumping import jumping

BOTH = {KafkaTopicPartition("raw", 0), KafkaTopicPartition("raw", 1)}


class _Client:
    """Has a chunk of one record, and one of two, for each partition that is asked for; notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[set[Any], int]] = []
        self.paused: set[Any] = set()
        self._fetcher = SimpleNamespace(_fetch_max_wait_ms=IDLE_WAIT_MS)

    def assignment(self) -> set[Any]:
        """Give what is assigned."""
        return BOTH

    def pause(self, partition: Any) -> None:  # noqa: ANN401 (aiokafka's, without types)
        """Stop fetching, which throws away what was fetched."""
        self.paused.add(partition)

    def resume(self, partition: Any) -> None:  # noqa: ANN401 (see above)
        """Fetch again."""
        self.paused.discard(partition)

    async def getmany(self, *partitions: Any, timeout_ms: int, max_records: int) -> dict[Any, list[Chunk]]:  # noqa: ANN401 (see above)
        """Give chunks."""
        assert max_records == CHUNKS
        self.asked.append((set(partitions), timeout_ms))
        return {partition: [Chunk([_one(0)], 1), Chunk([_one(1), _one(2)], 2)] for partition in BOTH & set(partitions or BOTH)}


def _one(offset: int) -> Record:
    return record(b"{}", offset=offset)


def _consumer(client: _Client) -> KafkaConsumer:
    consumer = KafkaConsumer("127.0.0.1:1", "group", "client", {}, SharedAdmin("127.0.0.1:1"))
    consumer._consumer = client
    return consumer


@jumping
async def test_only_partitions_that_are_not_paused_are_asked_for() -> None:
    """The client goes on as it is; who is resumed is asked for again, and the wait is short as long as one is paused."""
    client = _Client()
    consumer = _consumer(client)
    fetched = await consumer.fetch(0.25)
    assert {0: [0, 1, 2], 1: [0, 1, 2]} == {partition.partition: [one.offset for one in records] for partition, records in fetched.items()}
    consumer.pause(TopicPartition("raw", 0))
    assert [TopicPartition("raw", 1)] == list(await consumer.fetch(0.25))
    assert client._fetcher._fetch_max_wait_ms == BUSY_WAIT_MS
    consumer.resume(TopicPartition("raw", 0))
    await consumer.fetch(0.25)
    assert client._fetcher._fetch_max_wait_ms == IDLE_WAIT_MS
    assert [(set(), 250), ({KafkaTopicPartition("raw", 1)}, int(HELD_SECONDS * 1000)), (set(), 250)] == client.asked
    assert not client.paused


@jumping
async def test_where_all_are_paused_the_client_is_asked_for_what_nobody_has() -> None:
    """To ask aiokafka for no partition is to ask for all, and a client that is not asked leaves its group."""
    client = _Client()
    consumer = _consumer(client)
    for number in range(2):
        consumer.pause(TopicPartition("raw", number))
    assert {} == await consumer.fetch(0.25)
    ((asked, _),) = client.asked
    assert len(asked) == 1
    assert not asked & BOTH


@jumping
async def test_what_is_paused_for_long_makes_no_hurry() -> None:
    """After many waits for nothing they are as long as where nothing is paused, until a record comes."""
    client = _Client()
    consumer = _consumer(client)
    for number in range(2):
        consumer.pause(TopicPartition("raw", number))
    for _ in range(EMPTY_MOST + 1):
        await consumer.fetch(0.25)
    assert [int(HELD_SECONDS * 1000)] * EMPTY_MOST + [250] == [timeout for _, timeout in client.asked]
    assert client._fetcher._fetch_max_wait_ms == IDLE_WAIT_MS
    consumer.resume(TopicPartition("raw", 1))
    await consumer.fetch(0.25)
    await consumer.fetch(0.25)
    assert [250, int(HELD_SECONDS * 1000)] == [timeout for _, timeout in client.asked[-2:]]


def test_an_assigned_partition_is_not_fetched_before_its_place_is_known() -> None:
    """There the client itself pauses: what it would fetch lies anywhere."""
    client = _Client()
    consumer = _consumer(client)
    consumer.stop_fetching(TopicPartition("raw", 0))
    assert {KafkaTopicPartition("raw", 0)} == client.paused
    consumer.resume(TopicPartition("raw", 0))
    assert not client.paused
