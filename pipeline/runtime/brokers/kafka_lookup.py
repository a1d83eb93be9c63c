"""Looks at single places of many topics through one aiokafka consumer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from pipeline.model.record import Record, TopicPartition
from pipeline.ports.broker import BrokerError
from pipeline.runtime.brokers.kafka_metadata import ask_only_for_needed_topics
from pipeline.runtime.brokers.kafka_records import as_they_are, read_whatever_was_written
from pipeline.runtime.brokers.kafka_topics import describe_topics

FETCH_BYTES: Final = 512 * 1024
"""Bytes of a fetch: a look needs a few records, and the rest would be sent for nothing; one larger batch still comes whole."""
ANSWER_SECONDS: Final = 10.0
"""Longest wait for an answer of the broker."""
_WAIT_MS: Final = 200
FETCH_WAIT_MS: Final = 5
"""How long the broker holds a fetch at the end of a partition: the next look, wherever it is, waits for that answer."""


class KafkaLookup:
    """Looks at single places; see the port.

    Args:
        bootstrap: `host:port`, comma separated.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._consumer: AIOKafkaConsumer | None = None
        self._bounds: dict[TopicPartition, tuple[int, int]] = {}
        self._look: object | None = None

    async def start(self, topics: Collection[str]) -> Mapping[TopicPartition, tuple[int, int]]:
        """Connect, and take all partitions at once, paused: to take one at each look would cost a question about its topic each time."""
        read_whatever_was_written()
        consumer = self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            isolation_level="read_committed",
            key_deserializer=as_they_are,
            auto_offset_reset="none",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        client = consumer._client  # noqa: SLF001 (no public way to ask for some topics' partitions)
        ask_only_for_needed_topics(client)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await consumer.start()
                known = await describe_topics(client, topics)
                partitions = [KafkaTopicPartition(topic, each) for topic in sorted(known) for each in range(known[topic].partitions)]
                if not partitions:
                    return {}
                consumer.assign(partitions)
                for partition in partitions:
                    consumer.pause(partition)
                    consumer.seek(partition, 0)  # before anything is awaited: one without a position would be reset by policy
                begins, ends = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
        except (TimeoutError, KafkaError, OSError) as error:
            await self.stop()
            reason = f"cannot reach Kafka at {self._bootstrap}: {str(error) or 'no answer'}"
            raise BrokerError(reason) from error
        self._bounds = {TopicPartition(*partition): (begins[partition], ends[partition]) for partition in partitions}
        return dict(self._bounds)

    async def offset_at(self, partition: TopicPartition, time_ms: int) -> int:
        """Find a time in a partition."""
        key = KafkaTopicPartition(*partition)
        _, end = self._bounds[partition]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                found = (await self._started().offsets_for_times({key: max(0, time_ms)}))[key]
        except (TimeoutError, KafkaError) as error:
            raise self._failed(partition, error) from error
        return end if found is None else min(int(found.offset), end)

    async def read(self, partition: TopicPartition, start: int, end: int, *, most: int = 500) -> AsyncIterator[Sequence[Record]]:
        """Read a range of a partition."""
        consumer, key = self._started(), KafkaTopicPartition(*partition)
        first, last = self._bounds[partition]
        place, stop = max(start, first), min(end, last)
        if place >= stop:
            return
        look = self._look = object()
        consumer.seek(key, place)
        consumer.resume(key)
        waited = 0
        try:
            while place < stop:
                async with asyncio.timeout(ANSWER_SECONDS):
                    fetched = await consumer.getmany(key, timeout_ms=_WAIT_MS, max_records=most)
                    before, place = place, await consumer.position(key)
                records = [record for record in fetched.get(key, ()) if record.offset < stop]
                if records:
                    yield records
                waited = waited + _WAIT_MS if place == before else 0
                if waited > ANSWER_SECONDS * 1000:
                    raise self._failed(partition, "no answer")
        except (TimeoutError, KafkaError) as error:
            raise self._failed(partition, error) from error
        finally:
            # Who leaves early may have begun another look before this one is closed.
            if self._look is look:
                consumer.pause(key)
                self._look = None

    async def stop(self) -> None:
        """Disconnect; never raises."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):  # whatever is wrong with a connection that is no longer needed
                await consumer.stop()

    def _started(self) -> AIOKafkaConsumer:
        assert self._consumer is not None  # noqa: S101 (`start` comes first)
        return self._consumer

    def _failed(self, partition: TopicPartition, error: object) -> BrokerError:
        return BrokerError(f"cannot read {partition.topic}/{partition.partition} at {self._bootstrap}: {str(error) or 'no answer'}")
