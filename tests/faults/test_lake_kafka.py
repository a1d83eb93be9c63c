"""A lake on a real Kafka whose writer is killed again and again, and whose topic is made anew: every event is one row, and the ledger adds up."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import orjson
import pyarrow.parquet as pq
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from pipeline.app.query import lake_files, run_query
from pipeline.model.record import Output, TopicPartition
from pipeline.model.topics import Declared
from pipeline.ports.broker import Position
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.faults.report import Row

EVENTS = 6_000
KILLS = 3
LONGEST_SECONDS = 90.0


class HasBootstrap(Protocol):
    """The `kafka` fixture."""

    bootstrap: str


def _member(bootstrap: str, prefix: str, root: Path, log: Path, *broken: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.faults.lake_member", bootstrap, prefix, str(root), *broken]
    with log.open("ab") as output:
        return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)


def _ids(root: Path) -> list[str]:
    return [name for file in lake_files(root) for name in pq.ParquetFile(root / file.path).read(["id"])["id"].to_pylist()]


def _end_of(log: Path) -> str:
    return log.read_text(encoding="utf-8")[-4000:]


async def _until(root: Path, count: int, log: Path) -> None:
    """Wait until the lake has so many rows."""
    end = time.monotonic() + LONGEST_SECONDS
    while len(_ids(root)) < count:
        assert time.monotonic() < end, _end_of(log)
        await asyncio.sleep(0.1)


@pytest.mark.fault("T44")
async def test_killed_writers_store_each_event_once(kafka: HasBootstrap, prefix: str, tmp_path: Path, row: Row) -> None:
    """Again and again the only writer dies without a word while events come; in the end each is there once, in files and ledger."""
    broker = KafkaBroker(kafka.bootstrap)
    settings = {"cleanup.policy": "delete"}
    await broker.admin().create([Declared(f"{prefix}.{name}", count, settings) for name, count in (("routed", 2), ("ledger", 1), ("dead.lake", 1))])
    producer = broker.producer()
    await producer.start()
    root, log = tmp_path / "lake", tmp_path / "member.log"
    for life in range(KILLS + 1):
        member = _member(kafka.bootstrap, prefix, root, log)
        try:
            part = EVENTS // (KILLS + 1)
            for first in range(life * part, (life + 1) * part, 100):
                await producer.send([_routed(prefix, number) for number in range(first, first + 100)])
                await asyncio.sleep(0.02)
            await _until(root, (life * part + part // 2) if life < KILLS else EVENTS, log)
        finally:
            os.killpg(member.pid, signal.SIGKILL)
            member.wait()
    await producer.stop()
    ids = _ids(root)
    assert sorted(ids) == sorted(f"m{number}" for number in range(EVENTS))
    assert run_query(root, "SELECT event, count(*) FROM tracks GROUP BY 1").rows == [["bought", EVENTS]]
    await _check_ledger(broker, prefix)
    row.kills, row.events, row.lost, row.doubled = KILLS + 1, EVENTS, 0, 0
    row.figures = "its broken builds: see the crashes at each step"


def _routed(prefix: str, number: int) -> Output:
    body = {"type": "track", "messageId": f"m{number}", "event": "Bought", "properties": {"n": number}, "receivedAt": "2026-03-14T09:26:54.100Z"}
    return Output(f"{prefix}.routed", b"device-%d" % (number % 50), orjson.dumps(body), (("source", b"web"), ("routes", b"lake")))


async def _check_ledger(broker: KafkaBroker, prefix: str) -> None:
    """The last commit may be under way when the writer dies; up to there ranges join and counts add up."""
    by_end = {}
    async for records in broker.reader().read(f"{prefix}.ledger"):
        for record in records:
            entry = orjson.loads(record.value or b"")
            assert (entry["partition"], entry["to"]) not in by_end
            by_end[(entry["partition"], entry["to"])] = entry
    for partition in (0, 1):
        entries = sorted((entry for entry in by_end.values() if entry["partition"] == partition), key=lambda entry: entry["from"])
        assert [entry["from"] for entry in entries] == [0, *(entry["to"] for entry in entries[:-1])]
        assert all(entry["in"] == entry["passed"] == entry["to"] - entry["from"] for entry in entries)


@pytest.mark.faults
@pytest.mark.fault("T19")
async def test_a_lake_keeps_the_rows_of_a_topic_that_was_made_anew(kafka: HasBootstrap, prefix: str, tmp_path: Path, row: Row) -> None:
    """Its topic is deleted, and longer than before when the writer comes back, its offsets gone or set by hand: each row of both is there once."""
    broker = KafkaBroker(kafka.bootstrap)
    await broker.admin().create([Declared(f"{prefix}.{name}", 1, {}) for name in ("ledger", "dead.lake", "jobs")])
    for build in ("", "topic_nameless"):
        root, log = tmp_path / f"lake{build}", tmp_path / f"member{build}.log"
        found = [await _life(broker, prefix, root, log, life, build) for life in range(3)]
        row.kills, row.events = 3, 60
        held = found == [10, 30, 60]
        if build:
            row.caught[build] = not held
        else:
            row.lost = row.doubled = 0
            assert held, f"{found}\n{_end_of(log)}"
    assert row.caught == {"topic_nameless": True}


async def _life(broker: KafkaBroker, prefix: str, root: Path, log: Path, life: int, build: str) -> int:
    """Make the topic anew with ten events more than in the life before, have a member store them, and count the rows that are there once."""
    topic, group = TopicPartition(f"{prefix}.routed", 0), f"{prefix}.lake.lake"
    await _delete(broker, topic.topic)
    await broker.admin().create([Declared(topic.topic, 1, {})])
    assert {} == await broker.admin().positions(group), "the group's offsets went with their topic"
    producer = broker.producer()
    await producer.send([_routed(prefix, life * 1_000 + number) for number in range(10 * (life + 1))])
    await producer.stop()
    if life == 2:
        await broker.admin().set_positions(group, {topic: Position(0)})
    member = _member(broker.bootstrap, prefix, root, log, *([build] if build else []))
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            while (await broker.admin().positions(group)).get(topic, Position(0)).offset < 10 * (life + 1):  # noqa: ASYNC110 (the broker has no event)
                await asyncio.sleep(0.1)
    finally:
        os.killpg(member.pid, signal.SIGKILL)
        member.wait()
    async with asyncio.timeout(LONGEST_SECONDS):
        while await broker.admin().members(group):  # noqa: ASYNC110 (the same)
            await asyncio.sleep(0.2)
    ids = _ids(root)
    return len(ids) if len(ids) == len(set(ids)) else -1


async def _delete(broker: KafkaBroker, topic: str) -> None:
    if topic not in await broker.admin().topics():
        return
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
    finally:
        await admin.close()
    async with asyncio.timeout(LONGEST_SECONDS):
        while topic in await broker.admin().topics():  # noqa: ASYNC110 (the broker has no event)
            await asyncio.sleep(0.1)
