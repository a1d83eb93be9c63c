"""Goes on where retention ran ahead of a group, and names what is lost in the ledger, in the transaction that passes over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.model.ledger import Tally, ledger_key, ledger_value
from pipeline.model.record import Output, TopicPartition
from pipeline.model.topics import topic_name
from pipeline.ports.broker import Position, Transactions
from pipeline.ports.metrics import Metrics


def expired_ranges(known: int, first: int, finished: Sequence[range] = ()) -> Iterator[tuple[int, int]]:
    """Find what a group had yet to read of what is gone.

    Args:
        known: Offset up to which it has read.
        first: First offset that the partition still has.
        finished: Ranges beyond `known`, ascending, that it has done with all the same.

    Yields:
        Ranges of offsets, half open.
    """
    for done in finished:
        if known < min(done.start, first):
            yield known, min(done.start, first)
        known = max(known, done.stop)
    if known < first:
        yield known, first


async def pass_over(  # noqa: PLR0913 (ports are passed one by one)
    ranges: Sequence[tuple[int, int]],
    position: Position,
    *,
    partition: TopicPartition,
    processor: str,
    prefix: str,
    transactions: Transactions,
    metrics: Metrics,
    at_ms: int,
    label: str = "",
) -> None:
    """Commit the position behind what is gone, with what is gone as records of the ledger; does nothing where nothing is.

    Args:
        ranges: Offsets that nobody will ever read.
        position: Where the group goes on.
        partition: The input partition.
        processor: Consumer group without prefix.
        prefix: The workspace's name.
        transactions: Producer of this partition, started.
        metrics: Where it is counted.
        at_ms: Wall time in milliseconds since the epoch.
        label: What the metrics call the processor; empty for its name.

    Raises:
        BrokerError: It could not be committed.
    """
    if not ranges:
        return
    topic, number = partition.topic.removeprefix(f"{prefix}."), partition.partition
    key, at = ledger_key(processor, topic, number), position.offset
    outputs = [
        Output(
            topic_name(prefix, "ledger"),
            key,
            ledger_value(Tally(), processor=processor, topic=topic, partition=number, start=at, end=at, at_ms=at_ms, expired=lost),
        )
        for lost in ranges
    ]
    await transactions.commit(outputs, {partition: position}, topic_name(prefix, processor))
    metrics.add("headrace_records_expired_total", sum(end - start for start, end in ranges), processor=label or processor)
