"""A reader beside the pipeline: it reads as any other consumer would, while the faults happen, and keeps what it saw."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable

import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from pipeline.model.record import Record
from pipeline.ports.broker import Broker, BrokerError
from tests.faults.laws import Seen
from tests.faults.sent import digest

PAUSE_SECONDS = 0.5


def seen_in(record: Record) -> Seen:
    """Describe a record of the load; order holds within a topic."""
    body = orjson.loads(record.value or b"{}")
    return Seen(f"{record.topic}/{body['userId']}", body["properties"]["seq"], body["messageId"], digest(body))


async def read_all(broker: Broker, topics: Iterable[str]) -> list[Seen]:
    """Read the committed records of topics from their beginning to their present end.

    Args:
        broker: The cluster.
        topics: Topics with prefix.

    Returns:
        What is there, in the order of each partition.
    """
    return [seen_in(record) for topic in topics async for records in broker.reader().read(topic) for record in records]


async def undecided(bootstrap: str, topics: Iterable[str]) -> int:
    """Count the records, markers among them, that no reader of committed records can reach yet: a transaction before them has no end there.

    Args:
        bootstrap: Kafka's address.
        topics: Topics with prefix.
    """
    ends: list[int] = []
    for level in ("read_uncommitted", "read_committed"):
        consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level=level)
        await consumer.start()
        try:
            places = [TopicPartition(topic, number) for topic in topics for number in await _partitions(consumer, topic)]
            ends.append(sum((await consumer.end_offsets(places)).values()))
        finally:
            await consumer.stop()
    return ends[0] - ends[1]


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer.topics()
    return set(consumer.partitions_for_topic(topic) or ())


class Observer:
    """Reads topics from their beginning, until stopped; where a broker goes away it goes on where it was.

    Args:
        broker: The cluster.
        topics: Topics with prefix.

    Attributes:
        seen: Every record that it got, by topic.
        ids: How often each message id came.
        moved: When the last record came, in seconds of the monotonic clock.
    """

    def __init__(self, broker: Broker, topics: Iterable[str]) -> None:
        self._broker = broker
        self.seen: dict[str, list[Seen]] = {topic: [] for topic in topics}
        self._tasks: list[asyncio.Task[None]] = []
        self.ids: Counter[str] = Counter()
        self.moved = time.monotonic()

    def start(self) -> None:
        """Begin to read."""
        self._tasks = [asyncio.create_task(self._read(topic)) for topic in self.seen]

    async def _read(self, topic: str) -> None:
        places: dict[int, int] = {}
        while True:
            try:
                async for records in self._broker.reader().read(topic, start=places, follow=True):
                    for record in records:
                        one = seen_in(record)
                        self.seen[topic].append(one)
                        self.ids[one.message_id] += 1
                        places[record.partition] = record.offset + 1
                        self.moved = time.monotonic()
            except BrokerError:
                await asyncio.sleep(PAUSE_SECONDS)

    async def until(self, count: int, seconds: float) -> None:
        """Wait until so many different ids were seen.

        Args:
            count: How many.
            seconds: Longest wait.

        Raises:
            TimeoutError: They did not come.
        """
        async with asyncio.timeout(seconds):
            while len(self.ids) < count:
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.2)

    async def stop(self) -> list[Seen]:
        """End reading.

        Returns:
            All that was seen, in the order of each partition.
        """
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error
        return [one for records in self.seen.values() for one in records]
