"""The contract of looking at single places, held by the broker in memory and by a real Kafka alike."""

from contextlib import aclosing

import pytest

from pipeline.model.record import TopicPartition
from tests.contracts.test_broker import Cluster, cluster

__all__ = ["cluster"]


async def _written(cluster: Cluster) -> TopicPartition:
    """Write 0 to 9 into partition 1 of a topic, each in a transaction of its own, so that markers lie between them."""
    await cluster.create("in", "other")
    async with cluster.owner("t") as transactions:
        for number in range(10):
            await transactions.commit([cluster.output("in", b"%d" % number, partition=1)], {}, cluster.name("g"))
    await cluster.fence()
    return TopicPartition(cluster.name("in"), 1)


async def test_a_look_reads_what_it_is_told(cluster: Cluster) -> None:
    """A range gives its records in order, whatever else the topic holds; a range beyond the end, or none, gives nothing."""
    partition = await _written(cluster)
    lookup = cluster.broker.lookup()
    try:
        bounds = await lookup.start([cluster.name("in"), cluster.name("other"), cluster.name("nowhere")])
        assert {cluster.name("in"), cluster.name("other")} == {each.topic for each in bounds}
        first, end = bounds[partition]

        async def values(start: int, stop: int, most: int = 500) -> list[bytes | None]:
            return [record.value async for records in lookup.read(partition, start, stop, most=most) for record in records]

        everything = [record async for records in lookup.read(partition, 0, end) for record in records]
        assert [b"%d" % number for number in range(10)] == [record.value for record in everything]
        assert [b"3", b"4"] == await values(everything[3].offset, everything[5].offset)
        assert [b"8", b"9"] == await values(everything[8].offset, end + 100, most=1)
        assert [] == await values(end, end + 1)
        assert [] == await values(first, first)
        assert [] == [one async for one in lookup.read(TopicPartition(cluster.name("other"), 0), 0, 10)]
        assert [b"0"] == (await values(0, end, most=1))[:1]
    finally:
        await lookup.stop()


async def test_a_look_may_be_left_early(cluster: Cluster) -> None:
    """Who has found what he looked for goes on elsewhere, also backwards."""
    partition = await _written(cluster)
    lookup = cluster.broker.lookup()
    try:
        await lookup.start([partition.topic])
        for start in (7, 0, 4):
            async with aclosing(lookup.read(partition, start, 1000, most=1)) as found:  # type: ignore[type-var]  # an async generator in both
                records = await anext(found)
            assert records[0].offset >= start
    finally:
        await lookup.stop()


async def test_a_look_that_was_left_open_stops_no_other(cluster: Cluster) -> None:
    """A look that nobody closes is closed by the loop, some time later: another one at the same partition goes on."""
    partition = await _written(cluster)
    lookup = cluster.broker.lookup()
    try:
        _, end = (await lookup.start([partition.topic]))[partition]
        left = lookup.read(partition, 0, end, most=1)
        await anext(left)
        found: list[bytes | None] = []
        async for records in lookup.read(partition, 0, end, most=1):
            if not found:
                await left.aclose()  # type: ignore[attr-defined]  # an async generator in both
            found += [record.value for record in records]
        assert [b"%d" % number for number in range(10)] == found
    finally:
        await lookup.stop()


async def test_a_time_is_a_place(cluster: Cluster) -> None:
    """A time gives the first record appended then or later: the first for the epoch, the end for the far future."""
    partition = await _written(cluster)
    lookup = cluster.broker.lookup()
    try:
        first, end = (await lookup.start([partition.topic]))[partition]
        records = [record async for batch in lookup.read(partition, first, end) for record in batch]
        assert first == await lookup.offset_at(partition, 0)
        assert end == await lookup.offset_at(partition, records[-1].timestamp + 3_600_000)
        found = await lookup.offset_at(partition, records[4].timestamp)
        assert min(record.offset for record in records if record.timestamp >= records[4].timestamp) == found
    finally:
        await lookup.stop()


@pytest.mark.integration
async def test_nobody_answers() -> None:
    """A broker that is not there is named."""
    from pipeline.ports.broker import BrokerError  # noqa: PLC0415 (for this test alone)
    from pipeline.runtime.brokers.kafka import KafkaBroker  # noqa: PLC0415 (the same)

    lookup = KafkaBroker("127.0.0.1:1").lookup()
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        await lookup.start(["x"])
