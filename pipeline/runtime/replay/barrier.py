"""Waits until live events have passed a range on their way to the stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.model.record import TopicPartition
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Broker, Lookup


class Barrier:
    """The way from a job's input to its stores: passed, group by group, up to where each topic ended when the group before had passed.

    Args:
        broker: The cluster.
        prefix: The workspace's name.
        path: Groups and the topic that each reads, without prefix, in the order of the way; several stores read the last one.
        spans: The range in the first topic: first offset and offset after the last record, by partition.
    """

    def __init__(self, broker: Broker, prefix: str, path: Sequence[tuple[str, str]], spans: Mapping[int, tuple[int, int]]) -> None:
        self._broker = broker
        self._prefix = prefix
        self._path = list(path)
        self._goals: dict[str, dict[int, int]] = {path[0][1]: {number: end for number, (start, end) in spans.items() if end > start}} if path else {}

    async def passed(self) -> bool:
        """Look once.

        Raises:
            BrokerError: The broker does not answer.
        """
        while self._path:
            group, topic = self._path[0]
            if topic not in self._goals:
                self._goals[topic] = await record_ends(self._broker, topic_name(self._prefix, topic))
            positions = await self._broker.admin().positions(topic_name(self._prefix, group))
            for number, goal in self._goals[topic].items():
                position = positions.get(TopicPartition(topic_name(self._prefix, topic), number))
                if (position.offset if position is not None else 0) < goal:
                    return False
            self._path.pop(0)
        return True


async def record_ends(broker: Broker, topic: str) -> dict[int, int]:
    """Give the offset after the last record of each partition of a topic; what lies behind it are markers of transactions.

    Args:
        broker: The cluster.
        topic: Topic with prefix.

    Returns:
        Offset by partition, 0 for one without records.
    """
    lookup = broker.lookup()
    try:
        bounds = await lookup.start([topic])
        return {partition.partition: await record_end(lookup, partition, first, end) for partition, (first, end) in bounds.items()}
    finally:
        await lookup.stop()


async def record_end(lookup: Lookup, partition: TopicPartition, first: int, end: int) -> int:
    """Give the offset after the last record of a range.

    Args:
        lookup: Looks at the topic, started.
        partition: The partition.
        first: First offset of the range.
        end: Offset after the range.

    Returns:
        The offset; the first one where the range holds no record.
    """
    step = 16
    while True:
        at, last = max(first, end - step), first
        async for records in lookup.read(partition, at, end):
            if records:
                last = records[-1].offset + 1
        if last > at or at == first:
            return max(last, first)
        step *= 4
