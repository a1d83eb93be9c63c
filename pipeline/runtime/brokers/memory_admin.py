"""Topics, groups and offsets of the cluster in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from pipeline.model.record import Record, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import BrokerError, GroupMember, Position, TopicState


class MemoryCluster(NamedTuple):
    """What the cluster in memory shows of itself.

    Attributes:
        topics: Gives every topic with its number of partitions.
        describe: Says what topics are.
        log: Gives the partitions of a topic.
        create: Creates a topic unless it exists.
        groups: Gives the groups that have members or positions.
        members: Gives the assigned partitions of each member of a group.
        positions: Gives a group's positions, which may be changed.
    """

    topics: Callable[[], Mapping[str, int]]
    describe: Callable[[Collection[str]], Mapping[str, TopicState]]
    log: Callable[[str], Sequence[Sequence[Record]]]
    create: Callable[[str, int], None]
    groups: Callable[[], Collection[str]]
    members: Callable[[str], Sequence[Collection[TopicPartition]]]
    positions: Callable[[str], dict[TopicPartition, Position]]


class MemoryAdmin:
    """Topics, groups and offsets; see the port.

    Args:
        cluster: The cluster.
    """

    def __init__(self, cluster: MemoryCluster) -> None:
        self._cluster = cluster

    async def topics(self) -> Mapping[str, int]:
        """Give every topic with its number of partitions."""
        return self._cluster.topics()

    async def describe(self, topics: Collection[str]) -> Mapping[str, TopicState]:
        """Say what topics are now."""
        return self._cluster.describe(topics)

    async def create(self, topics: Iterable[Declared]) -> None:
        """Create topics that do not exist yet."""
        for topic in topics:
            self._cluster.create(topic.name, topic.partitions)

    async def lags(self, group: str, topics: Collection[str]) -> Mapping[TopicPartition, int]:
        """Give how many records a group has not read yet, by partition."""
        positions = self._cluster.positions(group)
        lags: dict[TopicPartition, int] = {}
        for topic in topics:
            for number, records in enumerate(self._cluster.log(topic)):
                partition = TopicPartition(topic, number)
                position = positions.get(partition)
                lags[partition] = len(records) - (position.offset if position is not None else 0)
        return lags

    async def groups(self) -> Collection[str]:
        """Give the names of the groups that have members or committed positions."""
        return self._cluster.groups()

    async def members(self, group: str) -> Sequence[GroupMember]:
        """Give the members of a group."""
        return [GroupMember("memory", "here", tuple(partitions)) for partitions in self._cluster.members(group)]

    async def positions(self, group: str) -> Mapping[TopicPartition, Position]:
        """Give all committed positions of a group."""
        return dict(sorted(self._cluster.positions(group).items()))

    async def set_positions(self, group: str, positions: Mapping[TopicPartition, Position]) -> None:
        """Commit positions for a group that has no members."""
        if self._cluster.members(group):
            reason = f"the group {group} has members: its offsets are theirs"
            raise BrokerError(reason)
        self._cluster.positions(group).update(positions)
