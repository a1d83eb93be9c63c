"""A lake whose group is set back, and what jobs add to it: at every moment one row for each source and message id."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from pipeline.app.query import lake_contents, lake_files
from pipeline.model.record import Output, TopicPartition
from pipeline.ports.broker import Position
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.lake import sieve
from pipeline.runtime.lake.worker import LakeLimits
from pipeline.runtime.lake.workers import lake_workers
from pipeline.testing import HandClock, MemoryMetrics

LIVE = TopicPartition("shop.routed", 0)
JOBS = TopicPartition("shop.routed.lake.replay", 0)
GROUP = "shop.lake.lake"


def a_broker() -> MemoryBroker:
    """Make a broker with the lake's topics."""
    broker = MemoryBroker()
    for topic in (LIVE.topic, JOBS.topic, "shop.ledger", "shop.dead.lake", "shop.jobs"):
        broker.create(topic, 1)
    return broker


def write(broker: MemoryBroker, partition: TopicPartition, *ids: str, hour: int = 9) -> None:
    """Write events for the lake."""
    for name in ids:
        body = {"type": "track", "event": "A", "messageId": name, "receivedAt": f"2026-03-14T{hour:02}:00:00.000Z"}
        broker.append([Output(partition.topic, None, orjson.dumps(body), (("source", b"web"), ("routes", b"lake")))])


async def store(broker: MemoryBroker, root: Path, partition: TopicPartition = LIVE, records: int = 2) -> None:
    """Let a worker store everything that lies in a partition, so many records to a range."""
    limits = LakeLimits(seconds=0, records=records)
    make = lake_workers(broker, storage="lake", prefix="shop", root=root, clock=HandClock(0), metrics=MemoryMetrics(), limits=limits)
    worker = make(partition, None)
    log = broker.log(partition.topic)[0]

    async def committed() -> Position | None:
        return broker.positions(GROUP).get(partition)

    try:
        start = await worker.open(committed, (0, len(log)))
        inbox = Inbox(1 << 20, lambda: None)
        running = asyncio.create_task(worker.run(inbox))
        for at in range(start, len(log), records):
            inbox.put(log[at : at + records])
            end = min(at + records, len(log))
            while not running.done() and at + records >= len(log) and broker.positions(GROUP).get(partition, Position(0)).offset < end:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        inbox.close()
        await running
    finally:
        await worker.close()


def rows(root: Path) -> list[str]:
    """Ids of all rows in the files that count."""
    return sorted(name for file in lake_files(root) for name in pq.ParquetFile(root / file.path).read(["id"])["id"].to_pylist())


@pytest.mark.parametrize("offset", [0, 1, 3, 4])
async def test_rows_are_written_again_to_the_same_effect(tmp_path: Path, offset: int) -> None:
    """Wherever the group was set to, the rows are the same, from new files, and the group is at its end again."""
    broker = a_broker()
    write(broker, LIVE, "a", "b", "c", "d", "e")
    await store(broker, tmp_path)
    before, files = lake_contents(tmp_path), {file.path for file in lake_files(tmp_path)}
    broker.positions(GROUP)[LIVE] = Position(offset)
    await store(broker, tmp_path)
    assert before == lake_contents(tmp_path)
    assert {file.path for file in lake_files(tmp_path)} - files
    assert 5 == broker.positions(GROUP)[LIVE].offset
    assert 1 == len(broker.log("shop.jobs")[0])
    write(broker, LIVE, "f")
    await store(broker, tmp_path)
    assert ["a", "b", "c", "d", "e", "f"] == rows(tmp_path)


async def test_a_large_range_is_written_again_in_parts(tmp_path: Path) -> None:
    """Its rows wait on disk until all of them are there, and become one file for each hour; nothing is left of the parts."""
    broker = a_broker()
    write(broker, LIVE, "a", "b", "c", "d", "e")
    write(broker, LIVE, "f", hour=10)
    await store(broker, tmp_path, records=6)
    before = lake_contents(tmp_path)
    broker.positions(GROUP)[LIVE] = Position(0)
    await store(broker, tmp_path, records=2)
    assert before == lake_contents(tmp_path)
    assert [5, 1] == [file.rows for file in lake_files(tmp_path)]
    assert [] == [path for path in (tmp_path / "_temporary").rglob("*") if path.is_file()]


async def test_a_damaged_lake_is_mended(tmp_path: Path) -> None:
    """A file that was lost is written again from the topic."""
    broker = a_broker()
    write(broker, LIVE, "a", "b", "c")
    await store(broker, tmp_path)
    before = lake_contents(tmp_path)
    (tmp_path / lake_files(tmp_path)[0].path).unlink()
    broker.positions(GROUP)[LIVE] = Position(0)
    await store(broker, tmp_path)
    assert before == lake_contents(tmp_path)


async def test_a_job_adds_what_is_missing_and_nothing_else(tmp_path: Path) -> None:
    """What the lake holds, what a job brings twice and what another job brought is passed over, and counted."""
    broker = a_broker()
    write(broker, LIVE, "a", "b")
    await store(broker, tmp_path)
    write(broker, JOBS, "a", "x", "x", "y", "x")
    await store(broker, tmp_path, JOBS)
    assert ["a", "b", "x", "y"] == rows(tmp_path)
    write(broker, JOBS, "a", "x", "y", "z")
    await store(broker, tmp_path, JOBS)
    assert ["a", "b", "x", "y", "z"] == rows(tmp_path)
    ledger = [orjson.loads(record.value or b"") for record in broker.log("shop.ledger")[0] if b"replay" in (record.key or b"")]
    assert (9, 3, 6) == tuple(sum(entry[name] for entry in ledger) for name in ("in", "passed", "dropped"))


async def test_both_ways_into_the_lake_written_again_keep_one_row(tmp_path: Path) -> None:
    """An event that a job brought stays the job's when the live group is set back over it, and the other way round."""
    broker = a_broker()
    write(broker, LIVE, "a", "b", "c")
    broker.positions(GROUP)[LIVE] = Position(2)
    await store(broker, tmp_path)
    write(broker, JOBS, "a", "c")
    await store(broker, tmp_path, JOBS)
    assert ["a", "c"] == rows(tmp_path)
    write(broker, LIVE, "d")
    await store(broker, tmp_path)
    for partition in (LIVE, JOBS, LIVE):
        broker.positions(GROUP)[partition] = Position(0)
        await store(broker, tmp_path, partition)
        assert ["a", "c", "d"] == rows(tmp_path)


async def test_a_sink_that_does_not_look_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the look into the lake a job's rows stand beside the live ones: the test above can fail."""
    monkeypatch.setattr(sieve, "stored_ids", lambda *_: {})
    broker = a_broker()
    write(broker, LIVE, "a", "b")
    await store(broker, tmp_path)
    write(broker, JOBS, "a")
    await store(broker, tmp_path, JOBS)
    assert ["a", "a", "b"] == rows(tmp_path)
