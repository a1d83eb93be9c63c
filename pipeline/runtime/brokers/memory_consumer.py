"""A member of a consumer group of the cluster in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.model.record import Record, TopicPartition
from pipeline.ports.broker import Assigned, Membership, Position, Revoked, TopicState

if TYPE_CHECKING:
    from pipeline.runtime.brokers.memory import MemoryBroker


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
