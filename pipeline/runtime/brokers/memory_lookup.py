"""Looks at single places of the cluster in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

from pipeline.model.record import Record, TopicPartition


class MemoryLookup:
    """Looks at single places; see the port.

    Args:
        topics: Gives every topic with its number of partitions.
        log: Gives the partitions of a topic.
    """

    def __init__(self, topics: Callable[[], Mapping[str, int]], log: Callable[[str], Sequence[Sequence[Record]]]) -> None:
        self._topics = topics
        self._log = log
        self._bounds: dict[TopicPartition, tuple[int, int]] = {}

    async def start(self, topics: Collection[str]) -> Mapping[TopicPartition, tuple[int, int]]:
        """Note where every partition ends."""
        known = self._topics()
        self._bounds = {
            TopicPartition(topic, number): (0, len(records)) for topic in topics if topic in known for number, records in enumerate(self._log(topic))
        }
        return dict(self._bounds)

    async def offset_at(self, partition: TopicPartition, time_ms: int) -> int:
        """Find a time in a partition."""
        _, end = self._bounds[partition]
        log = self._log(partition.topic)[partition.partition]
        return next((record.offset for record in log[:end] if record.timestamp >= time_ms), end)

    async def read(self, partition: TopicPartition, start: int, end: int, *, most: int = 500) -> AsyncIterator[Sequence[Record]]:
        """Read a range of a partition."""
        first, last = self._bounds[partition]
        stop = min(end, last)
        for place in range(max(start, first), stop, most):
            yield self._log(partition.topic)[partition.partition][place : min(place + most, stop)]

    async def stop(self) -> None:
        """Do nothing: there is no connection."""
