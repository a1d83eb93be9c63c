"""A backlog in many partitions: what all workers of a process hold stays within the bound, and everything is stored."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.app.query import lake_files
from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Position
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.lake import held as held_module
from pipeline.runtime.lake import worker as worker_module
from pipeline.runtime.lake.held import Held
from pipeline.runtime.lake.worker import LakeLimits, LakeWorker
from pipeline.testing import HandClock, MemoryMetrics

PARTITIONS, EVENTS, SLICE = 8, 60, 2_000
MOST = 100_000
GROUP = "shop.lake.lake"


class Watched(Held):
    """Remembers the most that was held."""

    peak = 0

    def note(self, worker: object, size: int) -> None:
        """Note, and remember."""
        super().note(worker, size)
        self.peak = max(self.peak, self.total)


class OfOne(Watched):
    """A broken build: it counts one partition only."""

    async def may_take(self, worker: object, patience: float | None) -> bool:
        """Ask a bound of its own."""
        alone = Held(MOST)
        alone.note(worker, self._sizes.setdefault(worker, 0))
        return await alone.may_take(worker, patience)


def a_broker() -> MemoryBroker:
    """Make a broker with a backlog in each partition."""
    broker = MemoryBroker()
    broker.create("shop.routed", PARTITIONS)
    for topic in ("shop.ledger", "shop.dead.lake", "shop.jobs"):
        broker.create(topic, 1)
    for number in range(PARTITIONS * EVENTS):
        body = {"type": "page", "messageId": f"m{number}", "name": "x" * 500, "receivedAt": "2026-03-14T09:00:00.000Z"}
        output = Output("shop.routed", None, orjson.dumps(body), (("source", b"web"), ("routes", b"lake")), partition=number % PARTITIONS)
        broker.append([output])
    return broker


async def work_off(broker: MemoryBroker, number: int, root: Path, held: Held, records: int = EVENTS) -> None:
    """Store one partition, whose rows need not be written before the end for any other reason than memory."""
    partition = TopicPartition("shop.routed", number)
    log = broker.log(partition.topic)[number]
    worker = LakeWorker(
        partition,
        storage="lake",
        prefix="shop",
        root=root,
        transactions=broker.transactions(f"shop-lake.lake-routed-{number}"),
        clock=HandClock(0),
        metrics=MemoryMetrics(),
        limits=LakeLimits(seconds=3600, records=records),
        held=held,
    )

    async def committed() -> Position | None:
        return broker.positions(GROUP).get(partition)

    await worker.open(committed, (0, len(log)))
    inbox = Inbox(1 << 20, lambda: None)
    inbox.put(log)
    running = asyncio.create_task(worker.run(inbox))
    while worker.standing().done < len(log) and not running.done() and len(inbox):  # noqa: ASYNC110 (a worker has no event)
        await asyncio.sleep(0.001)
    worker._limits = LakeLimits(seconds=0)  # what is left is due
    inbox.put([])
    while worker.standing().done < len(log) and not running.done():  # noqa: ASYNC110 (the same)
        await asyncio.sleep(0.001)
    inbox.close()
    await running
    await worker.close()


def _ids(root: Path) -> list[str]:
    return sorted(name for file in lake_files(root) for name in pq.ParquetFile(root / file.path).read(["id"])["id"].to_pylist())


@pytest.mark.parametrize(("build", "holds"), [(Watched, True), (OfOne, False)])
async def test_a_backlog_in_many_partitions_stays_within_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: type[Watched], *, holds: bool
) -> None:
    """All begin at once, and none is due for an hour: the largest is written, the others go on after it, and each row is there once."""
    monkeypatch.setattr(held_module, "_SLICE_LEAST", SLICE)
    monkeypatch.setattr(held_module, "SLICE_BYTES", SLICE * PARTITIONS)
    broker, held = a_broker(), build(MOST)
    async with asyncio.timeout(30):
        await asyncio.gather(*(work_off(broker, number, tmp_path, held) for number in range(PARTITIONS)))
    assert _ids(tmp_path) == sorted(f"m{number}" for number in range(PARTITIONS * EVENTS))
    assert holds == (held.peak <= MOST + PARTITIONS * 4 * SLICE)
    assert held.peak > MOST // 2
    assert held.total == 0


async def test_partitions_that_are_written_again_do_not_wait_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time lays large ranges aside, and those that wait for it may hold all the room there is: it goes on without."""
    broker, held = a_broker(), Held(MOST)
    for number in range(PARTITIONS):
        await work_off(broker, number, tmp_path, held)
    before = _ids(tmp_path)
    for partition in broker.positions(GROUP):
        broker.positions(GROUP)[partition] = Position(0)
    monkeypatch.setattr(held_module, "_SLICE_LEAST", SLICE)
    monkeypatch.setattr(held_module, "SLICE_BYTES", SLICE * PARTITIONS)
    monkeypatch.setattr(worker_module, "AGAIN_SECONDS", 0.01)
    async with asyncio.timeout(30):
        await asyncio.gather(*(work_off(broker, number, tmp_path, held, EVENTS // 2) for number in range(PARTITIONS)))
    assert before == _ids(tmp_path)
    assert held.total == 0


async def test_one_that_waits_goes_on_when_another_has_written() -> None:
    """Who holds nothing waits while half of the bound is held, and who holds less than the largest no longer than it has patience."""
    held, first, second, third = Held(100), "first", "second", "third"
    held.note(first, 60)
    waiting = asyncio.create_task(held.may_take(third, None))
    held.note(second, 40)
    assert not await held.may_take(first, 10)
    assert not await held.may_take(second, 0)
    assert not waiting.done()
    async with held.writing(first):
        assert not await held.may_take(second, 10)  # of those that do not write it holds the most
        assert not waiting.done()
    held.note(first, 0)
    assert await held.may_take(second, 10)
    assert await waiting
