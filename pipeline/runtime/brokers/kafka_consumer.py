"""A member of a consumer group through aiokafka."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaTopicPartition

from pipeline.model.limits import TOPIC_MESSAGE_BYTES
from pipeline.model.record import Record, TopicPartition
from pipeline.ports.broker import Assigned, BrokerError, Membership, Position, Revoked, TopicState
from pipeline.runtime.brokers.kafka_metadata import ASK_SECONDS, SharedAdmin
from pipeline.runtime.brokers.kafka_records import in_chunks, read_whatever_was_written
from pipeline.runtime.brokers.kafka_stable_offsets import OffsetUnstable, stable_offset
from pipeline.runtime.brokers.kafka_topics import Pins, marked, read_marked

_log = logging.getLogger(__name__)

SESSION_MS: Final = 6_000
"""After this without a heartbeat the group hands a member's partitions on."""
HEARTBEAT_MS: Final = 1_500
COMMITTED_ATTEMPTS: Final = 6
STABLE_SECONDS: Final = 30.0
"""Longest wait for a transaction that is about to decide a committed offset: the broker ends one after 10 s, and looks for such every 10 s."""
STABLE_LOOK_SECONDS: Final = 0.02
FETCH_BYTES: Final = 4 * 1024 * 1024
"""Most bytes, packed, that one answer of a broker has, however many partitions it is about."""
CHUNKS: Final = 2
"""Most chunks that are unpacked between two turns of the loop: our own batches have 1 MiB, which take 2 ms."""
IDLE_WAIT_MS: Final = 1000
"""How long a broker waits with its answer for a record to come: it ends at once when there is one, and idle ones cost the broker."""
BUSY_WAIT_MS: Final = 50
"""The same while some partition has a backlog: one that has used up what was fetched waits for the answer about the others."""
HELD_SECONDS: Final = 0.01
"""Longest wait for records while a partition is held back: its own may be asked for again at any time."""
EMPTY_MOST: Final = 50
"""Waits without a record after which what is held back is so for long, as where a tool is away: then there is no hurry."""
_NOWHERE: Final = KafkaTopicPartition("", -1)
STOP_SECONDS: Final = 3.0
"""Longest wait for leaving the group; where the broker is away aiokafka would wait for its answer for 40 s."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships without types
    def __init__(self, consumer: KafkaConsumer, assigned: Assigned, revoked: Revoked) -> None:
        self._consumer = consumer
        self._assigned = assigned
        self._revoked = revoked

    async def on_partitions_revoked(self, revoked: Iterable[KafkaTopicPartition]) -> None:
        await self._revoked([TopicPartition(*partition) for partition in revoked])

    async def on_partitions_assigned(self, assigned: Iterable[KafkaTopicPartition]) -> None:
        if self._consumer.stopped:
            return
        self._consumer.note_membership()
        partitions = [TopicPartition(*partition) for partition in assigned]
        for partition in partitions:
            # Paused and placed before anything is awaited: getmany may run beside this callback, and a partition
            # without a position would be reset by policy. The true position is set by `seek` after fencing.
            self._consumer.stop_fetching(partition)
            self._consumer.seek(partition, 0)
        await self._assigned(partitions)


class KafkaConsumer:
    """A member of a consumer group; see the port for what it promises.

    Args:
        bootstrap: `host:port`, comma separated.
        group: Consumer group.
        client_id: Name that the cluster's logs show.
        pins: The topics that groups work on.
        admin: What it asks the cluster by.
    """

    def __init__(self, bootstrap: str, group: str, client_id: str, pins: Pins, admin: SharedAdmin) -> None:
        self._bootstrap = bootstrap
        self._group = group
        self._client_id = client_id
        self._pins = pins
        self._consumer: AIOKafkaConsumer | None = None
        self._admin = admin
        self._leaving: asyncio.Task[None] | None = None
        self._membership = Membership(group, -1, "")
        self._held: set[KafkaTopicPartition] = set()
        self._empty = 0

    @property
    def stopped(self) -> bool:
        """Whether it has begun to leave the group; an assignment that comes after that is nobody's."""
        return self._consumer is None

    @property
    def _client(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            reason = f"the consumer of group {self._group} is not started"
            raise BrokerError(reason)
        return self._consumer

    async def start(self, topics: Collection[str], assigned: Assigned, revoked: Revoked) -> None:
        """Join the group."""
        read_whatever_was_written()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=self._group,
            client_id=self._client_id,
            isolation_level="read_committed",
            key_deserializer=in_chunks,
            enable_auto_commit=False,
            auto_offset_reset="none",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=15_000,
            max_partition_fetch_bytes=TOPIC_MESSAGE_BYTES,
            fetch_max_bytes=FETCH_BYTES,
            fetch_max_wait_ms=IDLE_WAIT_MS,
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
        client = self._client
        assigned = client.assignment()
        held = self._held & assigned
        busy = bool(held) and self._empty < EMPTY_MOST
        if busy:
            timeout_seconds = min(timeout_seconds, HELD_SECONDS)
        # To ask for none means all; and not to ask at all makes aiokafka leave the group after five minutes.
        wanted = (assigned - held or {_NOWHERE}) if held else ()
        client._fetcher._fetch_max_wait_ms = BUSY_WAIT_MS if busy else IDLE_WAIT_MS  # noqa: SLF001 (aiokafka 0.14 has it for good at the start only)
        try:
            fetched = await client.getmany(*wanted, timeout_ms=int(timeout_seconds * 1000), max_records=CHUNKS)
        except OffsetOutOfRangeError as error:
            reason = (
                f"group {self._group}: an offset to read is no longer in the topic (retention ran ahead of the reader, or the topic was made anew)"
            )
            raise BrokerError(reason) from error
        self._empty = 0 if fetched else self._empty + 1
        return {TopicPartition(*partition): list(chain.from_iterable(chunk.records for chunk in chunks)) for partition, chunks in fetched.items()}

    def pause(self, partition: TopicPartition) -> None:
        """Give no more of a partition; what was fetched of it is kept as it came, where aiokafka's own pause throws it away."""
        self._held.add(KafkaTopicPartition(*partition))

    def resume(self, partition: TopicPartition) -> None:
        """Give records of a partition again."""
        key = KafkaTopicPartition(*partition)
        self._held.discard(key)
        self._client.resume(key)

    def stop_fetching(self, partition: TopicPartition) -> None:
        """Ask the broker for nothing of a partition whose place is not known yet."""
        self._client.pause(KafkaTopicPartition(*partition))
        self._held.discard(KafkaTopicPartition(*partition))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Set the offset that is read next."""
        self._client.seek(KafkaTopicPartition(*partition), offset)

    def note_membership(self) -> None:
        """Remember under which membership the partitions were assigned that come now; the client's own goes on with its group."""
        coordinator = self._client._coordinator  # noqa: SLF001 (aiokafka 0.14 has no KIP-447)
        self._membership = Membership(self._group, coordinator.generation, coordinator.member_id, coordinator._group_instance_id or "")  # noqa: SLF001 (as above)

    def membership(self) -> Membership:
        """Give the membership under which the present partitions were assigned."""
        return self._membership

    async def committed(self, partition: TopicPartition) -> Position | None:
        """Read the group's committed position, or None where there is none; a transaction that is about to decide it is waited for."""
        doubt: object = ""
        until = asyncio.get_running_loop().time() + STABLE_SECONDS
        attempt = 0
        while attempt < COMMITTED_ATTEMPTS:
            try:
                admin = await self._admin.client(self)
                async with asyncio.timeout(ASK_SECONDS):
                    offset, metadata = await stable_offset(admin, self._group, partition)
            except OffsetUnstable as error:
                doubt = error
                if asyncio.get_running_loop().time() > until:
                    break
                await asyncio.sleep(STABLE_LOOK_SECONDS)
            except (KafkaError, OSError) as error:
                doubt = str(error) or type(error).__name__
                attempt += 1
                if attempt < COMMITTED_ATTEMPTS:  # a new group, and one whose coordinator has moved or starts again, has none for a moment
                    await asyncio.sleep(0.1 * 2 ** (attempt - 1))
            else:
                return None if offset < 0 else read_marked(offset, metadata)
        reason = f"cannot read the committed offset of {self._group} for {partition}: {doubt}"
        raise BrokerError(reason)

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
        """Read first and end offset (read_committed) of partitions."""
        return await _bounds(self._client, partitions)

    async def behind(self, partition: TopicPartition) -> int:
        """Give how many committed records of a partition have not been fetched yet; transaction markers do not count once they were passed."""
        key = KafkaTopicPartition(*partition)
        if self._consumer is None or key not in self._consumer.assignment():
            return 0  # taken away between two looks: it is its new owner's lag
        end = self._consumer.last_stable_offset(key)
        return 0 if end is None else max(0, int(end) - int(await self._consumer.position(key)))

    async def position(self, partition: TopicPartition) -> int:
        """Give the offset of an assigned partition that is fetched next."""
        key = KafkaTopicPartition(*partition)
        if self._consumer is None or key not in self._consumer.assignment():
            return 0  # taken away between two looks
        return int(await self._consumer.position(key))

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState]:
        """Ask the broker what topics are now, over a connection beside that of the group."""
        return await self._admin.describe(self, topics)

    def pin(self, topic_ids: Mapping[str, str]) -> None:
        """Say which topics the group works on."""
        for topic, topic_id in topic_ids.items():
            self._pins[self._group, topic] = topic_id

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit the group's positions outside a transaction."""
        try:
            await self._client.commit(
                {
                    KafkaTopicPartition(*key): OffsetAndMetadata(value.offset, marked(self._pins, self._group, key, value))
                    for key, value in positions.items()
                }
            )
        except KafkaError as error:
            reason = f"cannot commit positions of {self._group}: {error}"
            raise BrokerError(reason) from error

    async def stop(self) -> None:
        """Leave the group; where that takes longer than a bound it goes on beside, and the group finds out after a session."""
        consumer, self._consumer = self._consumer, None
        leaving = self._leaving = asyncio.create_task(self._leave(consumer), name=f"leave {self._group}")
        done, _ = await asyncio.wait({leaving}, timeout=STOP_SECONDS)
        if done:
            leaving.result()
        else:
            _log.warning("No answer to the goodbye of a member of %s within %g s.", self._group, STOP_SECONDS)
            leaving.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody is left to be told

    async def _leave(self, consumer: AIOKafkaConsumer | None) -> None:
        try:
            if consumer is not None:
                await consumer.stop()
        finally:
            await self._admin.leave(self)


async def _bounds(consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
    keys = [KafkaTopicPartition(*partition) for partition in partitions]
    try:
        begins, ends = await asyncio.gather(consumer.beginning_offsets(keys), consumer.end_offsets(keys))
    except KafkaError as error:
        reason = f"cannot read the bounds of {sorted(partitions)}: {error}"
        raise BrokerError(reason) from error
    return {TopicPartition(*key): (begins[key], ends[key]) for key in keys}
