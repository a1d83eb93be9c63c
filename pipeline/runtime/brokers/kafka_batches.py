"""Whole batches for our producers: placed by key, built by hand, never record by record, and sent one of each partition at a time."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from aiokafka.errors import CorruptRecordException, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder

from pipeline.model.ids import partition_of
from pipeline.model.record import Output, TopicPartition

Batch = TypeVar("Batch")
BATCH_BYTES: Final = 1024 * 1024
"""Size at which a batch is closed before compression; a single larger record still makes a batch of its own."""
SMALL_BYTES: Final = 1024
FEW: Final = 8
RECORDS_MOST: Final = 2**30
"""Records after which a producer is replaced: aiokafka counts the sequence numbers of a partition on beyond 2^31 - 1, where Java wraps to 0."""


TURN_RECORDS: Final = 2_000
"""Records that are packed, or compressed, in one turn of the loop: 10 ms of work at most."""
REFUSALS: Final = (MessageSizeTooLargeError, CorruptRecordException)
"""What a broker says of a record for what it is."""


class Topics(Protocol):
    """What knows topics: a producer."""

    async def partitions_for(self, topic: str) -> Collection[int]:
        """Give the partitions of a topic."""
        ...


class Batches(Protocol):
    """What batches are for: a producer."""

    def create_batch(self, *, packed: bool = True) -> Any:  # noqa: ANN401 (aiokafka's batch builder)
        """Make an empty batch, which will be compressed or not."""
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


async def packed_in_turns(producer: Batches, placed: Mapping[TopicPartition, Sequence[Output]]) -> list[tuple[TopicPartition, Any]]:
    """Pack records into whole batches, with turns of the loop between them where there are many.

    Args:
        producer: Whose batches they are.
        placed: Records in order, by partition.

    Returns:
        Partition and closed batch, those of one partition in order.
    """
    made: list[tuple[TopicPartition, Any]] = []
    count = 0
    for partition, records in placed.items():
        for batch in batches_of(partial(producer.create_batch, packed=worth_packing(records)), records):
            made.append((partition, batch))
            count += batch.record_count()
            if count >= TURN_RECORDS:
                count = 0
                await asyncio.sleep(0)
    return made


def rounds_of(batches: Sequence[tuple[TopicPartition, Batch]]) -> list[dict[TopicPartition, Batch]]:
    """Sort batches into rounds of one for each partition: brokers take one of a partition and request.

    Args:
        batches: Those of one partition in order.

    Returns:
        The rounds in order.
    """
    rounds: list[dict[TopicPartition, Batch]] = []
    counts: Counter[TopicPartition] = Counter()
    for partition, batch in batches:
        if counts[partition] == len(rounds):
            rounds.append({})
        rounds[counts[partition]][partition] = batch
        counts[partition] += 1
    return rounds


async def sealed_in_turns(
    seal: Callable[[TopicPartition, BatchBuilder], bytes], batches: Mapping[TopicPartition, BatchBuilder]
) -> dict[TopicPartition, bytes]:
    """Give the bytes of batches, with turns of the loop between them where there is much to compress.

    Args:
        seal: Numbers a batch and gives its bytes.
        batches: One of each partition.

    Returns:
        The bytes.
    """
    sealed: dict[TopicPartition, bytes] = {}
    count = 0
    for partition, batch in batches.items():
        sealed[partition] = seal(partition, batch)
        count += batch.record_count()
        if count >= TURN_RECORDS:
            count = 0
            await asyncio.sleep(0)
    return sealed


def by_topic(batches: Mapping[TopicPartition, bytes]) -> list[tuple[str, list[tuple[int, bytes]]]]:
    """Sort the bytes of batches by topic, as a request has them."""
    topics: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for (topic, partition), records in batches.items():
        topics[topic].append((partition, records))
    return list(topics.items())
