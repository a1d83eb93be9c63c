"""The step worker under kill -9, SIGSTOP beyond its session, and members that come and go: nothing lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from pipeline.model.topics import Declared
from pipeline.ports.broker import Broker
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.conftest import Kafka
from tests.faults.load import Observer, send_load

pytestmark = [pytest.mark.faults, pytest.mark.integration]

PARTITIONS = 4
OUTPUTS = ("main", "left", "right")
ROUNDS = int(os.environ.get("HEADRACE_FAULT_ROUNDS", "1"))


class Members:
    """Group members as processes of their own."""

    def __init__(self, bootstrap: str, prefix: str, state: Path) -> None:
        self._arguments = (bootstrap, prefix)
        self._state = state
        self._number = 0
        self.alive: dict[int, asyncio.subprocess.Process] = {}

    async def join(self) -> int:
        """Start one more member."""
        self._number += 1
        number = self._number
        self.alive[number] = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.faults.member", *self._arguments, str(self._state / str(number))
        )
        return number

    async def kill(self, number: int) -> None:
        """End a member with SIGKILL."""
        process = self.alive.pop(number)
        process.kill()
        await process.wait()

    async def kill_all(self) -> None:
        """End all members."""
        for number in list(self.alive):
            await self.kill(number)


@pytest.fixture
async def cluster(kafka: Kafka, prefix: str) -> Broker:
    """Give a broker with the topics of the test."""
    broker = KafkaBroker(kafka.bootstrap)
    log = {"message.timestamp.type": "LogAppendTime"}
    names = ["input", *OUTPUTS, "split.dedup.changelog"]
    await broker.admin().create(
        [
            *(Declared(f"{prefix}.{name}", PARTITIONS, log) for name in names),
            Declared(f"{prefix}.ledger", 1, log),
            Declared(f"{prefix}.dead.validate", 1, log),
        ]
    )
    return broker


@pytest.fixture
async def members(kafka: Kafka, prefix: str, tmp_path: Path) -> AsyncIterator[Members]:
    """Give members that end with the test."""
    group = Members(kafka.bootstrap, prefix, tmp_path)
    yield group
    await group.kill_all()


async def ledger_totals(broker: Broker, prefix: str) -> dict[str, int]:
    """Add the ledger up."""
    totals = {"in": 0, "passed": 0, "dropped": 0, "dead": 0, "blocked": 0}
    async for records in broker.reader().read(f"{prefix}.ledger"):
        for record in records:
            body = orjson.loads(record.value or b"{}")
            for name in totals:
                totals[name] += body[name]
    return totals


async def check(broker: Broker, prefix: str, observer: Observer, events: int, copies: int) -> None:
    """Hold the outcome to the laws: no loss, no duplicate, order, conservation."""
    await observer.until(events, 60)
    await asyncio.sleep(1)  # whatever would come too much has its chance to come
    await observer.stop()
    doubled = [message for message, count in observer.seen.items() if count > 1]
    assert (len(observer.seen), doubled, observer.disorder) == (events, [], [])
    totals = await ledger_totals(broker, prefix)
    assert totals["in"] == copies
    assert totals["in"] == totals["passed"] + totals["dropped"] + totals["dead"] + totals["blocked"]
    assert totals["passed"] == events


async def test_members_killed_at_random_lose_and_double_nothing(cluster: Broker, prefix: str, members: Members) -> None:
    """SIGKILL to one of three members every second or so, with a new one in its place, leaves every event once and in order."""
    events = 20_000 * ROUNDS
    observer = Observer(cluster, [f"{prefix}.{name}" for name in OUTPUTS])
    observer.start()
    for _ in range(3):
        await members.join()
    load = asyncio.create_task(send_load(cluster, f"{prefix}.input", events=events, seconds=12 * ROUNDS, users=200, seed=1))
    chance = random.Random(7)  # noqa: S311 (which member is killed need not be secret)
    kills = 0
    while not load.done():
        await asyncio.sleep(chance.uniform(0.8, 2.0))
        await members.kill(chance.choice(list(members.alive)))
        await members.join()
        kills += 1
    sent = await load
    await check(cluster, prefix, observer, events, sent.copies)
    print(f"kills {kills}, events {events}, copies {sent.copies}, lost 0, doubled 0")


async def test_a_member_stopped_beyond_its_session_commits_nothing_when_it_wakes(cluster: Broker, prefix: str, members: Members) -> None:
    """SIGSTOP of the owner for longer than its session hands its partitions on; when it wakes, it is fenced."""
    events = 15_000 * ROUNDS
    observer = Observer(cluster, [f"{prefix}.{name}" for name in OUTPUTS])
    observer.start()
    first = await members.join()
    load = asyncio.create_task(send_load(cluster, f"{prefix}.input", events=events, seconds=20, users=200, seed=2))
    await observer.until(500, 60)
    await members.join()
    await asyncio.sleep(2)
    os.kill(members.alive[first].pid, signal.SIGSTOP)
    stopped = time.monotonic()
    await asyncio.sleep(11)
    os.kill(members.alive[first].pid, signal.SIGCONT)
    sent = await load
    await check(cluster, prefix, observer, events, sent.copies)
    print(f"stopped {time.monotonic() - stopped:.0f} s ago, events {events}, lost 0, doubled 0")


async def test_members_that_come_and_go_lose_and_double_nothing(cluster: Broker, prefix: str, members: Members) -> None:
    """Members that join and leave by SIGTERM every other second leave every event once and in order."""
    events = 15_000 * ROUNDS
    observer = Observer(cluster, [f"{prefix}.{name}" for name in OUTPUTS])
    observer.start()
    await members.join()
    load = asyncio.create_task(send_load(cluster, f"{prefix}.input", events=events, seconds=12 * ROUNDS, users=200, seed=3))
    while not load.done():
        await members.join()
        await asyncio.sleep(1.5)
        if len(members.alive) > 2:
            process = members.alive.pop(min(members.alive))
            process.terminate()
            await process.wait()
    sent = await load
    await check(cluster, prefix, observer, events, sent.copies)
