"""A sample of a range: how many events are taken of how many."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from pipeline.app.explain.looking import Looking
from pipeline.app.explain.sampling import Sample, Wanted
from pipeline.model.record import Output, Record
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.testing import HandClock


class WithMarkers(Looking):
    """Sees a topic whose every third offset is a transaction's marker, as Kafka has them."""

    async def read(self, topic: str, partition: int, start: int, end: int, most: int = 500) -> AsyncIterator[Sequence[Record]]:
        """Read a range without its markers."""
        async for records in super().read(topic, partition, start, end, most):
            yield [record for record in records if record.offset % 3 != 2]


@pytest.mark.parametrize(("sample", "taken"), [(100, 60), (10, 10)])
def test_markers_of_transactions_are_no_records(sample: int, taken: int) -> None:
    """Of 90 offsets 30 hold no record: a sample says that it was taken of 60, or of as many as what it read lets reckon."""
    clock = HandClock(1_000_000)
    broker = MemoryBroker(clock)
    broker.create("shop.enriched", 1)
    broker.append([Output("shop.enriched", b"k", b'{"messageId":"%d"}' % number, (), 0) for number in range(90)])

    async def look() -> tuple[int, int]:
        looking = WithMarkers(broker.lookup(), "shop", lambda _text: None)
        await looking.start(["enriched"])
        found = Sample(looking, "enriched", [], Wanted(0, 2_000_000, sample))
        return len([event async for event in found.events(lambda _count: None)]), found.records

    found, records = asyncio.run(look())
    assert taken == found
    assert records == 60 if taken == 60 else 55 < records < 65
