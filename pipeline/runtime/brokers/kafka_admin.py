"""Reading without a group, topics and offsets through aiokafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from pipeline.model.limits import TOPIC_MESSAGE_BYTES
from pipeline.model.record import Record
from pipeline.model.topics import Declared
from pipeline.ports.broker import BrokerError, TopicState
from pipeline.runtime.brokers.kafka_groups import KafkaGroups
from pipeline.runtime.brokers.kafka_metadata import SharedAdmin, ask_only_for_needed_topics
from pipeline.runtime.brokers.kafka_records import as_they_are, read_whatever_was_written
from pipeline.runtime.brokers.kafka_topics import describe_topics

SETTLED_SECONDS: Final = 30.0
"""Longest wait for open transactions: the broker ends one after 10 s, and looks for such every 10 s."""
SETTLED_LOOK_SECONDS: Final = 0.02
REPLICAS: Final = 3
"""Copies of each topic's partitions, where the cluster has so many brokers."""


class KafkaReader:
    """Reads partitions without a group.

    Args:
        bootstrap: `host:port`, comma separated.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def read(
        self,
        topic: str,
        *,
        start: Mapping[int, int] | None = None,
        partitions: Collection[int] | None = None,
        follow: bool = False,
        settled: bool = False,
    ) -> AsyncIterator[Sequence[Record]]:
        """Read a topic from given offsets to its present end, or for ever; see the port."""
        read_whatever_was_written()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            isolation_level="read_committed",
            key_deserializer=as_they_are,
            auto_offset_reset="none",
            max_partition_fetch_bytes=TOPIC_MESSAGE_BYTES,
            fetch_max_wait_ms=1000,
        )
        ask_only_for_needed_topics(consumer._client)  # noqa: SLF001 (aiokafka 0.14 does not show it)
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            reason = f"cannot reach Kafka at {self._bootstrap}: {error}"
            raise BrokerError(reason) from error
        try:
            ends = await self._place(consumer, topic, start or {}, partitions, settled=settled)
            while follow or any([await consumer.position(partition) < end for partition, end in ends.items()]):
                fetched = await consumer.getmany(timeout_ms=500 if follow else 200)
                for partition, records in fetched.items():
                    yield records if follow else [record for record in records if record.offset < ends[partition]]
                if follow and not fetched:
                    yield []
        except KafkaError as error:
            reason = f"cannot read {topic}: {error}"
            raise BrokerError(reason) from error
        finally:
            await consumer.stop()

    async def _place(
        self, consumer: AIOKafkaConsumer, topic: str, start: Mapping[int, int], only: Collection[int] | None, *, settled: bool
    ) -> dict[KafkaTopicPartition, int]:
        known = (await describe_topics(consumer._client, [topic])).get(topic)  # noqa: SLF001 (no public way to ask for one topic without a group)
        if known is None:
            reason = f"there is no topic {topic} at {self._bootstrap}"
            raise BrokerError(reason)
        partitions = [KafkaTopicPartition(topic, number) for number in range(known.partitions) if only is None or number in only]
        consumer.assign(partitions)
        begins = await consumer.beginning_offsets(partitions)
        ends = await (settled_ends if settled else last_stable_ends)(consumer, partitions)
        for partition in partitions:
            wanted = start.get(partition.partition, 0)
            place = ends[partition] + 1 + wanted if wanted < 0 else min(wanted, ends[partition])  # nothing lies beyond the end
            consumer.seek(partition, max(place, begins[partition]))
        return ends


async def last_stable_ends(consumer: AIOKafkaConsumer, partitions: Sequence[KafkaTopicPartition]) -> dict[KafkaTopicPartition, int]:
    """Read up to where partitions are decided: the first record of an open transaction, or the end."""
    ends: dict[KafkaTopicPartition, int] = await consumer.end_offsets(partitions)
    return ends


async def settled_ends(consumer: AIOKafkaConsumer, partitions: Sequence[KafkaTopicPartition]) -> dict[KafkaTopicPartition, int]:
    """Wait until all that partitions have now is committed or aborted: a marker may come later than the positions of its transaction.

    Args:
        consumer: A client that reads committed records.
        partitions: The partitions.

    Returns:
        Their ends.

    Raises:
        BrokerError: Something is still open after longer than any transaction may last.
    """
    fetcher = consumer._fetcher  # noqa: SLF001 (aiokafka 0.14 asks for ends at the isolation of its fetcher only)
    committed_only, fetcher._isolation_level = fetcher._isolation_level, 0  # noqa: SLF001 (as above; nothing is fetched yet)
    try:
        written = await consumer.end_offsets(partitions)
    finally:
        fetcher._isolation_level = committed_only  # noqa: SLF001 (as above)
    until = asyncio.get_running_loop().time() + SETTLED_SECONDS
    while True:
        ends = await last_stable_ends(consumer, partitions)
        still = [partition for partition in partitions if ends[partition] < written[partition]]
        if not still:
            return ends
        if asyncio.get_running_loop().time() > until:
            places = ", ".join(f"{one.topic}-{one.partition} from offset {ends[one]}" for one in still)
            reason = f"a transaction is still open after {SETTLED_SECONDS:g} s in {places}; find it with kafka-transactions.sh find-hanging"
            raise BrokerError(reason)
        await asyncio.sleep(SETTLED_LOOK_SECONDS)


class KafkaAdmin(KafkaGroups):
    """Topics and offsets of a cluster; connects for each call, but where others are connected already and many may ask at once.

    Args:
        bootstrap: `host:port`, comma separated.
        shared: The connection of those.
    """

    def __init__(self, bootstrap: str, shared: SharedAdmin) -> None:
        super().__init__(bootstrap)
        self._shared = shared

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState]:
        """Say what topics are now."""
        user = object()
        try:
            return await self._shared.describe(user, topics)
        finally:
            await self._shared.leave(user)

    async def topics(self) -> Mapping[str, int]:
        """Give every topic with its number of partitions."""
        admin = await self._connected()
        try:
            described = await admin.describe_topics()
        finally:
            await admin.close()
        return {topic["topic"]: len(topic["partitions"]) for topic in described}

    async def create(self, topics: Iterable[Declared]) -> None:
        """Create topics that do not exist yet."""
        admin = await self._connected()
        try:
            replicas = min(REPLICAS, len((await admin.describe_cluster())["brokers"]))
            wanted = [NewTopic(topic.name, topic.partitions, replicas, topic_configs=dict(topic.settings)) for topic in topics]
            if not wanted:
                return
            response = await admin.create_topics(wanted)
        except KafkaError as error:
            reason = f"cannot create topics: {error}"
            raise BrokerError(reason) from error
        finally:
            await admin.close()
        for name, code, *message in response.topic_errors:
            if code not in (0, TopicAlreadyExistsError.errno):
                reason = f"cannot create topic {name}: {message[0] if message else for_code(code).__name__}"
                raise BrokerError(reason)
