"""Whole batches for aiokafka's producers: placed by key, built by hand, never record by record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, Final, Protocol

from pipeline.model.ids import partition_of
from pipeline.model.record import Output, TopicPartition

BATCH_BYTES: Final = 1024 * 1024
"""Size at which a batch is closed before compression; a single larger record still makes a batch of its own."""
SMALL_BYTES: Final = 1024
FEW: Final = 8
RECORDS_MOST: Final = 2**30
"""Records after which a producer is replaced: aiokafka counts the sequence numbers of a partition on beyond 2^31 - 1, where Java wraps to 0."""


class Topics(Protocol):
    """What knows topics: a producer, aiokafka's or our own."""

    async def partitions_for(self, topic: str) -> Collection[int]:
        """Give the partitions of a topic."""
        ...


class Placement:
    """Says which partition a record goes to; partition counts are pinned for the life of the producer."""

    def __init__(self) -> None:
        self._partitions: dict[str, int] = {}

    async def placed(self, producer: Topics, outputs: Sequence[Output]) -> dict[TopicPartition, list[Output]]:
        """Sort records by partition.

        Args:
            producer: A started producer, asked once for each topic.
            outputs: Records in order.

        Returns:
            Records in order, by partition.
        """
        placed: dict[str, dict[int, list[Output]]] = {}
        counts = self._partitions
        for output in outputs:
            topic, key, _, _, partition = output
            by_number = placed.get(topic)
            if by_number is None:
                by_number = placed[topic] = defaultdict(list)
            if partition is None:
                count = counts.get(topic)
                if count is None:
                    count = counts[topic] = len(await producer.partitions_for(topic))
                partition = partition_of(key, count) if key is not None else 0
            by_number[partition].append(output)
        return {TopicPartition(topic, number): records for topic, by_number in placed.items() for number, records in by_number.items()}


def worth_packing(records: Sequence[Output]) -> bool:
    """Say whether a batch is worth its compression: zstd costs 35 µs to write and 25 to read, and the broker as much, however little is in it.

    Args:
        records: What goes into it.

    Returns:
        Whether it is: not a ledger record, say, or a single small event.
    """
    return len(records) > FEW or sum(len(value or b"") for _, _, value, _, _ in records) >= SMALL_BYTES


def batches_of(create_batch: Callable[[], Any], records: Sequence[Output]) -> Iterator[Any]:
    """Pack records of one partition into whole batches.

    Args:
        create_batch: Makes an empty one.
        records: The records in order.

    Yields:
        Closed batches in order.
    """
    builder = create_batch()
    append = builder.append
    for _, key, value, headers, _ in records:
        if append(timestamp=None, key=key, value=value, headers=list(headers)) is None:
            yield builder
            builder = create_batch()
            append = builder.append
            append(timestamp=None, key=key, value=value, headers=list(headers))
    builder.close()
    yield builder
