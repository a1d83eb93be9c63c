"""Whole batches for aiokafka's producers: placed by key, built by hand, never record by record."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaProducer

from pipeline.model.ids import partition_of
from pipeline.model.record import Output, TopicPartition

BATCH_BYTES: Final = 1024 * 1024
"""Size at which a batch is closed before compression; a single larger record still makes a batch of its own."""
SMALL_BYTES: Final = 1024
FEW: Final = 8
RECORDS_MOST: Final = 2**30
"""Records after which a producer is replaced: aiokafka counts the sequence numbers of a partition on beyond 2^31 - 1, where Java wraps to 0."""
STOP_SECONDS: Final = 3.0
CUT_SECONDS: Final = 0.5


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


async def append_batches(
    producer: AIOKafkaProducer, partition: TopicPartition, records: Sequence[Output], sent: list[tuple[TopicPartition, int, Awaitable[Any]]]
) -> None:
    """Hand records of one partition to aiokafka's producer as whole batches.

    Args:
        producer: A started producer.
        partition: Where they go.
        records: The records in order.
        sent: Gets partition, number of records and future of each batch.
    """
    for batch in batches_of(producer.create_batch, records):
        future = await _send(producer, batch, partition)
        sent.append((partition, batch.record_count(), future))


async def _send(producer: AIOKafkaProducer, builder: Any, partition: TopicPartition) -> asyncio.Future[Any]:  # noqa: ANN401 (aiokafka's batch builder)
    future: asyncio.Future[Any] = await producer.send_batch(builder, partition.topic, partition=partition.partition)
    # Where another step of the transaction fails first, nobody awaits this one: its exception must not be reported as lost.
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


async def stop_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer within a bound, whatever state it is in.

    Args:
        producer: The producer; unusable afterwards.
    """
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()
    except Exception:  # noqa: BLE001 (it is thrown away because something is wrong with it: whatever it says, it must send no more)
        # stop() flushes first and may hang on a dead broker. Its sender outlives that, and would connect again and go on.
        sender = producer._sender  # noqa: SLF001 (aiokafka 0.14 has no other way to stop without flushing)
        task = sender.sender_task if sender is not None else None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=CUT_SECONDS)
            _ = task.done() and not task.cancelled() and task.exception()  # looked at, so that nothing reports it as lost
        await producer.client.close()
