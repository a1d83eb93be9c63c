"""A Kafka cluster in memory, for drivers and tests; held to the same contract suite as the real one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from pipeline.model.ids import partition_of
from pipeline.model.limits import TOPIC_MESSAGE_BYTES
from pipeline.model.record import Output, Record, TopicPartition
from pipeline.ports.broker import Assigned, BrokerError, Committed, Fenced, Membership, Position, RecordRefused, Revoked, TopicState, Uncertain
from pipeline.ports.clock import Clock
from pipeline.runtime.brokers.memory_admin import MemoryAdmin, MemoryCluster
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
        return MemoryAdmin(MemoryCluster(self.topics, self.log, self.create, self.groups, self.assignments, self.positions))

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


class MemoryConsumer:
    """A member of a group.

    Args:
        broker: The cluster.
        group: Consumer group.
    """

    def __init__(self, broker: MemoryBroker, group: str) -> None:
        self._broker = broker
        self._group = group
        self.topics: list[str] = []
        self._places: dict[TopicPartition, int] = {}
        self._generation = -1
        self._paused: set[TopicPartition] = set()
        self._assigned: Assigned | None = None
        self._revoked: Revoked | None = None

    @property
    def places(self) -> Collection[TopicPartition]:
        """The partitions that it has."""
        return self._places.keys()

    async def start(self, topics: Collection[str], assigned: Assigned, revoked: Revoked) -> None:
        """Join the group."""
        self.topics = list(topics)
        self._assigned, self._revoked = assigned, revoked
        await self._broker.join(self._group, self)

    async def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Take partitions, paused."""
        self._places = dict.fromkeys(partitions, 0)
        self._generation = self._broker.generation(self._group)
        self._paused = set(partitions)
        if self._assigned is not None:
            await self._assigned(partitions)

    async def revoke(self) -> None:
        """Give all partitions up."""
        if self._revoked is not None:
            await self._revoked(list(self._places))
        self._places = {}

    async def fetch(self, timeout_seconds: float) -> Mapping[TopicPartition, Sequence[Record]]:
        """Wait for records of the partitions that are not paused."""
        written = self._broker.written
        found = self._available()
        if not found:
            try:
                async with asyncio.timeout(timeout_seconds):
                    await written.wait()
            except TimeoutError:
                return {}
            found = self._available()
        return found

    def _available(self) -> dict[TopicPartition, Sequence[Record]]:
        found: dict[TopicPartition, Sequence[Record]] = {}
        for partition, place in self._places.items():
            if partition not in self._paused:
                records = self._broker.log(partition.topic)[partition.partition][place : place + 500]
                if records:
                    found[partition] = records
                    self._places[partition] = place + len(records)
        return found

    def pause(self, partition: TopicPartition) -> None:
        """Stop fetching a partition."""
        self._paused.add(partition)

    def resume(self, partition: TopicPartition) -> None:
        """Fetch a partition again."""
        self._paused.discard(partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Set the offset that is read next."""
        self._places[partition] = offset

    def membership(self) -> Membership:
        """Give the membership under which the present partitions were assigned."""
        return Membership(self._group, self._generation, f"member-{id(self):x}")

    async def committed(self, partition: TopicPartition) -> Position | None:
        """Read the group's committed position, or None where there is none."""
        return self._broker.positions(self._group).get(partition)

    async def bounds(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, tuple[int, int]]:
        """Read first and end offset of partitions."""
        return {partition: (0, len(self._broker.log(partition.topic)[partition.partition])) for partition in partitions}

    async def behind(self, partition: TopicPartition) -> int:
        """Give how many records of a partition have not been fetched yet."""
        place = self._places.get(partition)
        return 0 if place is None else len(self._broker.log(partition.topic)[partition.partition]) - place

    async def commit(self, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit the group's positions."""
        self._broker.commit(self._group, positions)

    async def position(self, partition: TopicPartition) -> int:
        """Give the offset that is fetched next."""
        return self._places.get(partition, 0)

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState]:
        """Say what topics are now."""
        return self._broker.describe(topics)

    def pin(self, topic_ids: Mapping[str, str]) -> None:
        """Say which topics the group works on."""
        self._broker.pin(self._group, topic_ids)

    async def stop(self) -> None:
        """Leave the group."""
        await self._broker.leave(self._group, self)
