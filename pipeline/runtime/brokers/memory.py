"""A Kafka cluster in memory, for drivers and tests; held to the same contract suite as the real one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from pipeline.model.ids import partition_of
from pipeline.model.limits import TOPIC_MESSAGE_BYTES
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.ports.broker import BrokerError, Committed, Fenced, Membership, Position, RecordRefused, TopicState, Uncertain
from pipeline.ports.clock import Clock
from pipeline.runtime.brokers.memory_admin import MemoryAdmin, MemoryCluster
from pipeline.runtime.brokers.memory_consumer import MemoryConsumer
from pipeline.runtime.brokers.memory_lookup import MemoryLookup
from pipeline.runtime.brokers.memory_reader import MemoryReader
from pipeline.runtime.clock import SystemClock


class MemoryBroker:
    """Topics, groups and transactional ids of one process.

    Args:
        clock: Gives the append time.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._logs: dict[str, list[list[Record]]] = {}
        self._ids: dict[str, str] = {}
        self._made = 0
        self._positions: dict[str, dict[TopicPartition, Position]] = defaultdict(dict)
        self._pins: dict[tuple[str, str], str] = {}
        self._owners: dict[str, object] = {}
        self._members: dict[str, list[MemoryConsumer]] = defaultdict(list)
        self._generations: dict[str, int] = defaultdict(int)
        self._rebalancing: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.written = asyncio.Event()

    def transactions(self, transactional_id: str, membership: Membership | None = None) -> MemoryTransactions:
        """Make what commits, not started."""
        return MemoryTransactions(self, transactional_id, membership)

    def consumer(self, group: str) -> MemoryConsumer:
        """Make a group member, not started."""
        return MemoryConsumer(self, group)

    def producer(self) -> MemoryProducer:
        """Make a producer."""
        return MemoryProducer(self)

    def reader(self) -> MemoryReader:
        """Make a reader without a group."""
        return MemoryReader(self.log, lambda: self.written)

    def lookup(self) -> MemoryLookup:
        """Make what looks at single places, not started."""
        return MemoryLookup(self.topics, self.log)

    def admin(self) -> MemoryAdmin:
        """Make an admin client."""
        return MemoryAdmin(MemoryCluster(self.topics, self.describe, self.log, self.create, self.groups, self.assignments, self.positions))

    def log(self, topic: str) -> list[list[Record]]:
        """Give the partitions of a topic.

        Args:
            topic: Topic with prefix.

        Returns:
            Records by partition.

        Raises:
            BrokerError: There is no such topic.
        """
        try:
            return self._logs[topic]
        except KeyError:
            reason = f"there is no topic {topic}"
            raise BrokerError(reason) from None

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic unless it exists.

        Args:
            topic: Topic with prefix.
            partitions: How many partitions it gets.
        """
        if topic not in self._logs:
            self._made += 1
            self._ids[topic] = f"{self._made:022d}"
            self._logs[topic] = [[] for _ in range(partitions)]

    def delete(self, topic: str) -> None:
        """Delete a topic; positions in it stay, as on a cluster for a while.

        Args:
            topic: Topic with prefix.
        """
        del self._logs[topic]

    def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions.

        Args:
            topic: Topic with prefix.
            partitions: How many it has then.
        """
        log = self._logs[topic]
        log += [[] for _ in range(partitions - len(log))]

    def describe(self, topics: Collection[str]) -> dict[str, TopicState]:
        """Say what topics are.

        Args:
            topics: Topics with prefix.

        Returns:
            Those that exist.
        """
        return {topic: TopicState(len(self._logs[topic]), self._ids[topic]) for topic in topics if topic in self._logs}

    def pin(self, group: str, topic_ids: Mapping[str, str]) -> None:
        """Say which topics a group works on.

        Args:
            group: The group.
            topic_ids: Ids by topic.
        """
        self._pins.update({(group, topic): topic_id for topic, topic_id in topic_ids.items()})

    def pinned(self, group: str, topic: str) -> str:
        """Give the id of the topic that a group works on, or empty."""
        return self._pins.get((group, topic), "")

    def commit(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit a group's positions, with the ids of the topics that it works on.

        Args:
            group: The group.
            positions: Its positions.
        """
        for partition, position in positions.items():
            self._positions[group][partition] = position._replace(topic_id=self.pinned(group, partition.topic))

    def topics(self) -> dict[str, int]:
        """Give every topic with its number of partitions."""
        return {topic: len(log) for topic, log in self._logs.items()}

    def append(self, outputs: Sequence[Output]) -> dict[TopicPartition, int]:
        """Write records at once.

        Args:
            outputs: Records in order.

        Returns:
            For each partition written to, the offset after its last record.

        Raises:
            RecordRefused: One is too large; none was written.
        """
        for output in outputs:
            self.log(output.topic)
            if output.value is not None and len(output.value) > TOPIC_MESSAGE_BYTES:
                reason = f"a record of {len(output.value)} bytes is too large for {output.topic}"
                raise RecordRefused(reason)
        now = self._clock.now_ms()
        ends: dict[TopicPartition, int] = {}
        for output in outputs:
            log = self.log(output.topic)
            number = output.partition
            if number is None:
                number = partition_of(output.key, len(log)) if output.key is not None else 0
            records = log[number]
            records.append(Record(output.topic, number, len(records), now, output.key, output.value, tuple(output.headers)))
            ends[TopicPartition(output.topic, number)] = len(records)
        self.written.set()
        self.written = asyncio.Event()
        return ends

    def own(self, transactional_id: str, owner: object) -> None:
        """Make someone the only owner of a transactional id."""
        self._owners[transactional_id] = owner

    def owned(self, transactional_id: str, owner: object) -> bool:
        """Tell whether someone is still the owner of a transactional id."""
        return self._owners.get(transactional_id) is owner

    def positions(self, group: str) -> dict[TopicPartition, Position]:
        """Give a group's committed positions."""
        return self._positions[group]

    def assignments(self, group: str) -> Sequence[Collection[TopicPartition]]:
        """Give the partitions of each member of a group."""
        return [member.places for member in self._members.get(group, ())]

    def groups(self) -> list[str]:
        """Give the groups that have members or committed positions."""
        known = {group for group, positions in self._positions.items() if positions} | {group for group, members in self._members.items() if members}
        return sorted(known)

    async def join(self, group: str, member: MemoryConsumer) -> None:
        """Add a member to a group and share its partitions out anew."""
        async with self._rebalancing[group]:
            members = self._members[group]
            for each in members:
                await each.revoke()
            members.append(member)
            await self._share(group, members)

    async def leave(self, group: str, member: MemoryConsumer) -> None:
        """Take a member out of a group and share its partitions out anew."""
        async with self._rebalancing[group]:
            members = self._members[group]
            if member not in members:
                return
            for each in members:
                await each.revoke()
            members.remove(member)
            await self._share(group, members)

    def generation(self, group: str) -> int:
        """Give the number of a group's assignment."""
        return self._generations[group]

    async def _share(self, group: str, members: Sequence[MemoryConsumer]) -> None:
        self._generations[group] += 1
        if not members:
            return
        shares: list[list[TopicPartition]] = [[] for _ in members]
        turn = 0
        for topic in sorted({topic for member in members for topic in member.topics}):
            for number in range(len(self.log(topic))):
                shares[turn % len(members)].append(TopicPartition(topic, number))
                turn += 1
        for member, share in zip(members, shares, strict=True):
            await member.assign(share)


class MemoryTransactions:
    """Writes and positions, all or nothing.

    Args:
        broker: The cluster.
        transactional_id: Id that fences.
        membership: What the group fences it by, or None.
    """

    def __init__(self, broker: MemoryBroker, transactional_id: str, membership: Membership | None = None) -> None:
        self._broker = broker
        self._id = transactional_id
        self._membership = membership
        self._started = False

    async def start(self) -> None:
        """Take over the transactional id."""
        self._started = True
        self._broker.own(self._id, self)

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        """Write records and positions at once."""
        if not self._started:
            reason = f"the producer of {self._id} is not started"
            raise Uncertain(reason)
        if not self._broker.owned(self._id, self):
            reason = f"another instance has taken over {self._id}"
            raise Fenced(reason)
        if self._membership is not None and self._broker.generation(self._membership.group) != self._membership.generation:
            reason = f"group {self._membership.group} has gone on without the member that {self._id} works for"
            raise Fenced(reason)
        ends = self._broker.append(outputs)
        self._broker.commit(group, positions)
        return Committed(ends)

    async def stop(self) -> None:
        """Take no more; nothing is ever open."""
        self._started = False


class MemoryProducer:
    """Writes at once.

    Args:
        broker: The cluster.
    """

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def start(self) -> None:
        """Do nothing: there is no connection."""

    async def send(self, outputs: Sequence[Output]) -> None:
        """Write records."""
        self._broker.append(outputs)

    async def stop(self) -> None:
        """Do nothing: there is no connection."""
