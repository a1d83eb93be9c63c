"""A lake's partition is handed on while it is being written: no row is stored twice, whatever was known when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.app.query import lake_files
from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Committed, Membership, Position, Transactions, Uncertain
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.lake.worker import LakeLimits, LakeWorker
from pipeline.runtime.lake.workers import lake_workers
from pipeline.testing import HandClock, MemoryMetrics

PARTITION = TopicPartition("shop.routed", 0)
GROUP = "shop.lake.lake"
Make = Callable[[], LakeWorker]


class _Broker(MemoryBroker):
    """Loses the commit of whoever is told to."""

    losing = False

    def transactions(self, transactional_id: str, membership: Membership | None = None) -> Transactions:  # type: ignore[override]  # a narrower type than the port's is not needed
        inner = super().transactions(transactional_id, membership)
        if not self.losing:
            return inner
        return _Losing(inner)


class _Losing:
    def __init__(self, inner: Transactions) -> None:
        self._inner = inner
        self.start, self.stop = inner.start, inner.stop

    async def commit(self, outputs: Sequence[Output], positions: Mapping[TopicPartition, Position], group: str) -> Committed:
        raise Uncertain("the broker is away")


def a_broker(events: int) -> _Broker:
    """Make a broker with events for the lake."""
    broker = _Broker()
    for topic in ("shop.ledger", "shop.dead.lake", "shop.jobs"):
        broker.create(topic, 1)
    fill(broker, events)
    return broker


def fill(broker: MemoryBroker, events: int, name: str = "m") -> None:
    """Make the topic, have the lake's group work on it, and write events."""
    broker.create(PARTITION.topic, 1)
    broker.pin(GROUP, {PARTITION.topic: broker.describe([PARTITION.topic])[PARTITION.topic].topic_id})
    for number in range(events):
        body = {"type": "track", "event": "A", "messageId": f"{name}{number}", "receivedAt": "2026-03-14T09:00:00.000Z"}
        broker.append([Output("shop.routed", None, orjson.dumps(body), (("source", b"web"), ("routes", b"lake")))])


def a_factory(broker: MemoryBroker, root: Path) -> Make:
    """Give what a process makes the partition's workers with."""
    make = lake_workers(broker, storage="lake", prefix="shop", root=root, clock=HandClock(0), metrics=MemoryMetrics(), limits=LakeLimits(seconds=0))
    return lambda: make(PARTITION, None)


async def work(worker: LakeWorker, broker: MemoryBroker, end: int) -> int:
    """Open a worker that was told this end of the partition, let it store everything, and give where it started."""
    records = broker.log(PARTITION.topic)[0]

    async def committed() -> Position | None:
        return broker.positions(GROUP).get(PARTITION)

    try:
        start = await worker.open(committed, (0, end))
        inbox = Inbox(1 << 20, lambda: None)
        running = asyncio.create_task(worker.run(inbox))
        if records[start:]:
            inbox.put(records[start:])
            while not running.done() and broker.positions(GROUP).get(PARTITION, Position(0)).offset < len(records):  # noqa: ASYNC110 (it has no event)
                await asyncio.sleep(0.001)
        inbox.close()
        await running
    finally:
        await worker.close()
    return start


def rows(root: Path) -> list[str]:
    """Ids of all rows in the files that count."""
    return sorted(name for file in lake_files(root) for name in pq.ParquetFile(root / file.path).read(["id"])["id"].to_pylist())


async def test_an_end_that_was_read_before_fencing_is_no_topic_made_anew(tmp_path: Path) -> None:
    """The old owner stored what came after the new one had read the partition's end, and its commit was lost: its rows stay the only ones."""
    broker = a_broker(3)
    broker.losing = True
    with pytest.raises(Uncertain):
        await work(a_factory(broker, tmp_path)(), broker, 3)
    broker.losing = False
    make = a_factory(broker, tmp_path)
    with pytest.raises(Uncertain, match="looking again"):
        await work(make(), broker, 1)
    assert 3 == await work(make(), broker, 3)
    assert ["m0", "m1", "m2"] == rows(tmp_path)
    assert 3 == broker.positions(GROUP)[PARTITION].offset


async def test_a_topic_made_anew_is_believed_at_the_second_look(tmp_path: Path) -> None:
    """Offsets that start again begin a new chain beside the old one."""
    old = a_broker(3)
    await work(a_factory(old, tmp_path)(), old, 3)
    new = a_broker(2)
    make = a_factory(new, tmp_path)
    with pytest.raises(Uncertain, match="looking again"):
        await work(make(), new, 2)
    assert 0 == await work(make(), new, 2)
    assert ["m0", "m0", "m1", "m1", "m2"] == rows(tmp_path)


@pytest.mark.parametrize("set_by_hand", [False, True])
async def test_a_topic_made_anew_that_is_longer_already_is_stored_from_its_first_record(tmp_path: Path, *, set_by_hand: bool) -> None:
    """Its id tells it from the old one, whether the group's offset is forgotten or was set by hand: nothing is left out or replaced."""
    broker = a_broker(2)
    await work(a_factory(broker, tmp_path)(), broker, 2)
    broker.delete(PARTITION.topic)
    broker.positions(GROUP).clear()  # as a cluster does
    fill(broker, 3, "n")
    if set_by_hand:
        await broker.admin().set_positions(GROUP, {PARTITION: Position(0)})
    assert 0 == await work(a_factory(broker, tmp_path)(), broker, 3)
    assert ["m0", "m1", "n0", "n1", "n2"] == rows(tmp_path)
    assert 3 == await work(a_factory(broker, tmp_path)(), broker, 3)
    assert ["m0", "m1", "n0", "n1", "n2"] == rows(tmp_path)
