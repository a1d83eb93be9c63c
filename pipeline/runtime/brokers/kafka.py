"""Apache Kafka through aiokafka (0.14 or newer: aio-libs/aiokafka#1134, #1151)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, OffsetOutOfRangeError, TopicAlreadyExistsError, for_code
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from pipeline.model.ids import partition_of
from pipeline.model.limits import TOPIC_MESSAGE_BYTES
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import Assigned, BrokerError, Position, Revoked
from pipeline.runtime.brokers.kafka_transactions import BATCH_BYTES, KafkaTransactions, append_batches, stop_producer

SESSION_MS: Final = 6_000
"""After this without a heartbeat the group hands a member's partitions on."""
HEARTBEAT_MS: Final = 1_500
SEND_SECONDS: Final = 10.0
COMMITTED_ATTEMPTS: Final = 6
REPLICAS: Final = 3
"""Copies of each topic's partitions, where the cluster has so many brokers."""


class KafkaBroker:
    """A Kafka cluster.

    Args:
        bootstrap: `host:port`, comma separated.
        client_id: Name that the cluster's logs show.
    """

    def __init__(self, bootstrap: str, client_id: str = "headrace") -> None:
        self.bootstrap = bootstrap
        self._client_id = client_id

    def transactions(self, transactional_id: str) -> KafkaTransactions:
        """Make a transactional producer, not started."""
        return KafkaTransactions(self.bootstrap, transactional_id)

    def consumer(self, group: str) -> KafkaConsumer:
        """Make a group member, not started."""
        return KafkaConsumer(self.bootstrap, group, self._client_id)

    def producer(self) -> KafkaProducer:
        """Make an idempotent producer, not started."""
        return KafkaProducer(self.bootstrap, self._client_id)

    def reader(self) -> KafkaReader:
        """Make a reader without a group."""
        return KafkaReader(self.bootstrap)

    def admin(self) -> KafkaAdmin:
        """Make an admin client."""
        return KafkaAdmin(self.bootstrap)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships without types
    def __init__(self, consumer: KafkaConsumer, assigned: Assigned, revoked: Revoked) -> None:
        self._consumer = consumer
        self._assigned = assigned
        self._revoked = revoked

    async def on_partitions_revoked(self, revoked: Iterable[KafkaTopicPartition]) -> None:
        await self._revoked([TopicPartition(*partition) for partition in revoked])

    async def on_partitions_assigned(self, assigned: Iterable[KafkaTopicPartition]) -> None:
        partitions = [TopicPartition(*partition) for partition in assigned]
        for partition in partitions:
            # Paused and placed before anything is awaited: getmany may run beside this callback, and a partition
            # without a position would be reset by policy. The true position is set by `seek` after fencing.
            self._consumer.pause(partition)
            self._consumer.seek(partition, 0)
        await self._assigned(partitions)


class KafkaConsumer:
    """A member of a consumer group; see the port for what it promises.

    Args:
        bootstrap: `host:port`, comma separated.
        group: Consumer group.
        client_id: Name that the cluster's logs show.
    """

    def __init__(self, bootstrap: str, group: str, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._client_id = client_id
        self._consumer: AIOKafkaConsumer | None = None
        self._admin: AIOKafkaAdminClient | None = None

    @property
    def _client(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            reason = f"the consumer of group {self._group} is not started"
            raise BrokerError(reason)
        return self._consumer

    async def start(self, topics: Collection[str], assigned: Assigned, revoked: Revoked) -> None:
        """Join the group."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            client_id=self._client_id,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=15_000,
            max_partition_fetch_bytes=TOPIC_MESSAGE_BYTES,
            fetch_max_wait_ms=500,
            partition_assignment_strategy=(RoundRobinPartitionAssignor,),
        )
        self._consumer = consumer
        consumer.subscribe(list(topics), listener=_Listener(self, assigned, revoked))
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            await self.stop()
            reason = f"cannot join group {self._group} at {self._bootstrap}: {error}"
            raise BrokerError(reason) from error

    async def fetch(self, timeout_seconds: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Wait for records of the partitions that are not paused."""
        try:
            fetched = await self._client.getmany(timeout_ms=int(timeout_seconds * 1000))
        except OffsetOutOfRangeError as error:
            reason = (
                f"group {self._group}: an offset to read is no longer in the topic (retention ran ahead of the reader, or the topic was made anew)"
            )
            raise BrokerError(reason) from error
        return {TopicPartition(*partition): _records(messages) for partition, messages in fetched.items()}

    def pause(self, partition: TopicPartition) -> None:
        """Stop fetching a partition."""
        self._client.pause(KafkaTopicPartition(*partition))

    def resume(self, partition: TopicPartition) -> None:
        """Fetch a partition again."""
        self._client.resume(KafkaTopicPartition(*partition))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Set the offset that is read next."""
        self._client.seek(KafkaTopicPartition(*partition), offset)

    async def committed(self, partition: TopicPartition) -> Position | None:
        """Read the group's committed position, or None where there is none."""
        if self._admin is None:
            self._admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
            await self._admin.start()
        key = KafkaTopicPartition(*partition)
        for attempt in range(COMMITTED_ATTEMPTS):
            try:
                found = await self._admin.list_consumer_group_offsets(self._group, partitions=[key])
            except KafkaError as error:
                if attempt + 1 < COMMITTED_ATTEMPTS:  # a new group has no coordinator for a moment
                    await asyncio.sleep(0.1 * 2**attempt)
                    continue
                reason = f"cannot read the committed offset of {self._group} for {partition}: {error}"
                raise BrokerError(reason) from error
            position = found.get(key)
            return None if position is None or position.offset < 0 else Position(position.offset, position.metadata or "")
        return None

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
        """Read first and end offset (read_committed) of partitions."""
        return await _bounds(self._client, partitions)

    async def behind(self, partition: TopicPartition) -> int:
        """Give how many committed records of a partition have not been fetched yet; transaction markers do not count once they were passed."""
        key = KafkaTopicPartition(*partition)
        end = self._client.last_stable_offset(key)
        return 0 if end is None else max(0, int(end) - int(await self._client.position(key)))

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit the group's positions outside a transaction."""
        try:
            await self._client.commit(
                {KafkaTopicPartition(*key): OffsetAndMetadata(value.offset, value.metadata) for key, value in positions.items()}
            )
        except KafkaError as error:
            reason = f"cannot commit positions of {self._group}: {error}"
            raise BrokerError(reason) from error

    async def stop(self) -> None:
        """Leave the group."""
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if consumer is not None:
            await consumer.stop()
        if admin is not None:
            await admin.close()


class KafkaProducer:
    """An idempotent producer with acks=all; replaced by a fresh one after every failure.

    Args:
        bootstrap: `host:port`, comma separated.
        client_id: Name that the cluster's logs show.
    """

    def __init__(self, bootstrap: str, client_id: str) -> None:
        self._bootstrap = bootstrap
        self._client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._partitions: dict[str, int] = {}

    async def start(self) -> None:
        """Connect."""
        await self._started()

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    client_id=self._client_id,
                    enable_idempotence=True,
                    compression_type="snappy",
                    max_batch_size=BATCH_BYTES,
                    max_request_size=2 * TOPIC_MESSAGE_BYTES,
                    request_timeout_ms=int(SEND_SECONDS * 1000),
                )
                try:
                    async with asyncio.timeout(SEND_SECONDS):
                        await producer.start()
                except (TimeoutError, KafkaError, OSError) as error:
                    await stop_producer(producer)
                    reason = f"cannot connect a producer to {self._bootstrap}: {error or 'no answer'}"
                    raise BrokerError(reason) from error
                self._producer = producer
            return self._producer

    async def send(self, outputs: Sequence[Output]) -> None:
        """Write records and wait until the broker has stored all of them."""
        producer = await self._started()
        sent: list[tuple[TopicPartition, int, Awaitable[Any]]] = []
        try:
            async with asyncio.timeout(SEND_SECONDS):
                for partition, records in (await self._placed(producer, outputs)).items():
                    await append_batches(producer, partition, records, sent)
                results = await asyncio.gather(*(future for _, _, future in sent), return_exceptions=True)
        except (TimeoutError, KafkaError, OSError) as error:
            await self._discard(producer)
            reason = f"the broker has not stored all records: {error or 'no answer in time'}"
            raise BrokerError(reason) from error
        failure = next((result for result in results if isinstance(result, BaseException)), None)
        if failure is not None:
            await self._discard(producer)
            reason = f"the broker has not stored all records: {failure}"
            raise BrokerError(reason) from failure

    async def _placed(self, producer: AIOKafkaProducer, outputs: Sequence[Output]) -> dict[TopicPartition, list[Output]]:
        placed: dict[TopicPartition, list[Output]] = defaultdict(list)
        for output in outputs:
            partition = output.partition
            if partition is None:
                count = self._partitions.get(output.topic)
                if count is None:
                    count = self._partitions[output.topic] = len(await producer.partitions_for(output.topic))
                partition = partition_of(output.key, count) if output.key is not None else 0
            placed[TopicPartition(output.topic, partition)].append(output)
        return placed

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        # A failed batch leaves a gap in the sequence numbers that a broker refuses for ever (aio-libs/aiokafka#1017).
        if self._producer is producer:
            self._producer = None
            await stop_producer(producer)

    async def stop(self) -> None:
        """Flush and disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await stop_producer(producer)


class KafkaReader:
    """Reads partitions without a group.

    Args:
        bootstrap: `host:port`, comma separated.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def read(
        self, topic: str, *, start: Mapping[int, int] | None = None, partitions: Collection[int] | None = None, follow: bool = False
    ) -> AsyncIterator[Sequence[Record]]:
        """Read a topic from given offsets to its present end, or for ever; see the port."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            isolation_level="read_committed",
            auto_offset_reset="none",
            max_partition_fetch_bytes=TOPIC_MESSAGE_BYTES,
        )
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            reason = f"cannot reach Kafka at {self._bootstrap}: {error}"
            raise BrokerError(reason) from error
        try:
            ends = await self._place(consumer, topic, start or {}, partitions)
            while follow or any([await consumer.position(partition) < end for partition, end in ends.items()]):
                fetched = await consumer.getmany(timeout_ms=500 if follow else 200)
                for partition, messages in fetched.items():
                    records = _records(messages)
                    if not follow:
                        records = [record for record in records if record.offset < ends[partition]]
                    yield records
                if follow and not fetched:
                    yield []
        except KafkaError as error:
            reason = f"cannot read {topic}: {error}"
            raise BrokerError(reason) from error
        finally:
            await consumer.stop()

    async def _place(
        self, consumer: AIOKafkaConsumer, topic: str, start: Mapping[int, int], only: Collection[int] | None
    ) -> dict[KafkaTopicPartition, int]:
        numbers = consumer.partitions_for_topic(topic)
        if not numbers:
            await consumer._client.force_metadata_update()  # noqa: SLF001 (no public way to look a new topic up without a group)
            numbers = consumer.partitions_for_topic(topic)
        if not numbers:
            reason = f"there is no topic {topic} at {self._bootstrap}"
            raise BrokerError(reason)
        partitions = [KafkaTopicPartition(topic, number) for number in sorted(numbers) if only is None or number in only]
        consumer.assign(partitions)
        begins = await consumer.beginning_offsets(partitions)
        ends: dict[KafkaTopicPartition, int] = await consumer.end_offsets(partitions)
        for partition in partitions:
            wanted = start.get(partition.partition, 0)
            consumer.seek(partition, max(ends[partition] + 1 + wanted if wanted < 0 else wanted, begins[partition]))
        return ends


class KafkaAdmin:
    """Topics and offsets of a cluster; connects for each call.

    Args:
        bootstrap: `host:port`, comma separated.
    """

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def _connected(self) -> AIOKafkaAdminClient:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        try:
            await admin.start()
        except (KafkaError, OSError) as error:
            await admin.close()
            reason = f"cannot reach Kafka at {self._bootstrap}: {error}"
            raise BrokerError(reason) from error
        return admin

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

    async def lags(self, group: str, topics: Collection[str]) -> Mapping[TopicPartition, int]:
        """Give how many records a group has not read yet, by partition."""
        admin = await self._connected()
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, isolation_level="read_committed")
        try:
            await consumer.start()
            committed = await admin.list_consumer_group_offsets(group)
            counts = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics(list(topics))}
            partitions = [KafkaTopicPartition(topic, number) for topic, count in counts.items() for number in range(count)]
            ends = await consumer.end_offsets(partitions)
            begins = await consumer.beginning_offsets(partitions)
        except (KafkaError, OSError) as error:
            reason = f"cannot read the lag of {group}: {error}"
            raise BrokerError(reason) from error
        finally:
            await consumer.stop()
            await admin.close()
        lags: dict[TopicPartition, int] = {}
        for partition in partitions:
            position = committed.get(partition)
            read = begins[partition] if position is None or position.offset < 0 else position.offset
            lags[TopicPartition(*partition)] = max(0, ends[partition] - read)
        return lags


def _records(messages: Sequence[Any]) -> list[Record]:
    return [
        Record(message.topic, message.partition, message.offset, message.timestamp, message.key, message.value, message.headers)
        for message in messages
    ]


async def _bounds(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
    keys = [KafkaTopicPartition(*partition) for partition in partitions]
    try:
        begins, ends = await asyncio.gather(consumer.beginning_offsets(keys), consumer.end_offsets(keys))
    except KafkaError as error:
        reason = f"cannot read the bounds of {sorted(partitions)}: {error}"
        raise BrokerError(reason) from error
    return {TopicPartition(*key): (begins[key], ends[key]) for key in keys}
