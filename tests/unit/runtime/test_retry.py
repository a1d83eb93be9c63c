"""Requests wait in their tier and go back when they are due."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import orjson

from pipeline.model.record import Record, TopicPartition
from pipeline.model.topics import RETRY_DELAYS
from pipeline.ports.broker import Position
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.inbox import Inbox
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.retry import RetryWorker

GROUP = "shop.retry"


class HandClock:
    """A clock that is moved by hand: sleepers wake when it has moved past their time."""

    def __init__(self, now_ms: int = 0) -> None:
        self.now = now_ms
        self.slept: list[float] = []
        self._moved = asyncio.Event()

    def now_ms(self) -> int:
        """Give the time."""
        return self.now

    def monotonic(self) -> float:
        """Give the time in seconds."""
        return self.now / 1000

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock was moved so far."""
        self.slept.append(seconds)
        until_ms = self.now + seconds * 1000
        while self.now < until_ms:
            await self._moved.wait()

    def move(self, to_ms: int) -> None:
        """Move the clock."""
        self.now = to_ms
        self._moved.set()
        self._moved = asyncio.Event()


def a_record(offset: int, not_before: int, tier: str = "10s", destination: bytes = b"crm", timestamp: int = 0) -> Record:
    """Make a record that waits."""
    headers = (("destination", destination), ("attempt", b"1"), ("first_attempt", b"0"), ("not_before", b"%d" % not_before))
    return Record(f"shop.retry.{tier}", 0, offset, timestamp, destination + b"/k-%d" % offset, b"v-%d" % offset, headers)


class Bench:
    """One tier with its broker and clock."""

    def __init__(self, tier: str = "10s", *, time_scale: float = 1.0) -> None:
        self.clock = HandClock()
        self.broker = MemoryBroker(self.clock)
        for name in ("requests.crm.retry", "dead.deliver", "ledger", *(f"retry.{name}" for name in RETRY_DELAYS)):
            self.broker.create(f"shop.{name}", 1)
        self.partition = TopicPartition(f"shop.retry.{tier}", 0)
        self.destinations = {"crm"}
        self.versions: dict[int, asyncio.Event] = {}
        self.worker = RetryWorker(
            self.partition,
            tier=tier,
            transactions=self.broker.transactions("t"),
            clock=self.clock,
            metrics=MemoryMetrics(),
            processor="retry",
            group=GROUP,
            prefix="shop",
            is_destination=lambda name: name in self.destinations,
            at_least=self.at_least,
            time_scale=time_scale,
        )

    @asynccontextmanager
    async def running(self, records: Sequence[Record]) -> AsyncIterator[None]:
        """Run the worker over records until the block is left."""

        async def committed() -> Position | None:
            return None

        await self.worker.open(committed, (0, 0))
        inbox = Inbox(8_000_000, lambda: None)
        inbox.put(records)
        task = asyncio.create_task(self.worker.run(inbox))
        try:
            yield
        finally:
            inbox.close()
            self.clock.move(self.clock.now + 1_000)
            await task
            await self.worker.close()

    async def at_least(self, version: int) -> None:
        """Wait for a version of the configuration where the test holds it back."""
        if version in self.versions:
            await self.versions[version].wait()

    def offset(self) -> int:
        """Give the committed offset, 0 for none."""
        position = self.broker.positions(GROUP).get(self.partition)
        return position.offset if position is not None else 0

    def written(self, name: str) -> list[Record]:
        """Give what was written to a topic."""
        return self.broker.log(f"shop.{name}")[0]


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fails after ten seconds."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 (what it waits for is not of our making)
            await asyncio.sleep(0)


async def test_due_records_go_back() -> None:
    """What is due goes back to its destination under its own key, unchanged, and the offset moves with it."""
    bench = Bench()
    bench.clock.move(20_000)
    async with bench.running([a_record(0, 10_000), a_record(1, 20_000)]):
        await until(lambda: bench.offset() == 2)
    assert [(b"k-0", b"v-0"), (b"k-1", b"v-1")] == [(record.key, record.value) for record in bench.written("requests.crm.retry")]
    assert a_record(0, 10_000).headers == bench.written("requests.crm.retry")[0].headers
    assert 2 == orjson.loads(bench.written("ledger")[0].value or b"")["passed"]


async def test_nothing_goes_early() -> None:
    """A record stays until its time has come, to the millisecond."""
    bench = Bench()
    bench.clock.move(9_000)
    async with bench.running([a_record(0, 10_000), a_record(1, 10_400)]):
        await until(lambda: bench.clock.slept == [1.0])
        bench.clock.move(9_999)
        await asyncio.sleep(0)
        assert 0 == bench.offset()
        bench.clock.move(10_000)
        await until(lambda: bench.offset() == 1)
        await until(lambda: bench.clock.slept[-1] == 0.4)
        bench.clock.move(10_400)
        await until(lambda: bench.offset() == 2)


async def test_hand_over_leaves_what_is_not_due() -> None:
    """When the partition is handed on, a record that waits stays in the topic, uncommitted."""
    bench = Bench()
    async with bench.running([a_record(0, 10_000)]):
        await until(lambda: len(bench.clock.slept) == 1)
    assert 0 == bench.offset()
    assert [] == bench.written("requests.crm.retry")


async def test_a_wait_longer_than_the_tier_moves_on() -> None:
    """After a tenth over the tier's 30 minutes, a wait of 60 goes on in the tier that fits the rest, 27 minutes."""
    bench = Bench("30m")
    bench.clock.move(1_980_000)
    async with bench.running([a_record(0, 3_600_000, "30m"), a_record(1, 1_900_000, "30m")]):
        await until(lambda: bench.offset() == 2)
    assert [b"crm/k-0"] == [record.key for record in bench.written("retry.30m")]
    assert [b"k-1"] == [record.key for record in bench.written("requests.crm.retry")]


async def test_removed_destination_is_dead() -> None:
    """A request for a destination that is no longer declared is kept in dead letters and stops nothing."""
    bench = Bench()
    bench.clock.move(20_000)
    async with bench.running([a_record(0, 0, destination=b"old"), a_record(1, 0)]):
        await until(lambda: bench.offset() == 2)
    (dead,) = bench.written("dead.deliver")
    assert (b"old/k-0", b"destination_disabled") == (dead.key, dict(dead.headers)["dead_reason"])
    assert 1 == len(bench.written("requests.crm.retry"))


async def test_event_without_key_goes_back_without_key() -> None:
    """An event that had no key has none again."""
    bench = Bench()
    bench.clock.move(20_000)
    async with bench.running([a_record(0, 0)._replace(key=b"crm/")]):
        await until(lambda: bench.offset() == 1)
    assert [None] == [record.key for record in bench.written("requests.crm.retry")]


async def test_a_destination_that_is_not_known_yet_is_waited_for() -> None:
    """A process that follows the configuration late takes no request for one of no destination: its version is in the header."""
    bench = Bench()
    bench.destinations.clear()
    bench.versions[2] = asyncio.Event()
    waiting = a_record(0, 0)
    waiting = waiting._replace(headers=(*waiting.headers, ("config", b"2")))
    bench.clock.move(20_000)
    async with bench.running([waiting]):
        for _ in range(20):
            await asyncio.sleep(0)
        assert 0 == bench.offset()
        bench.destinations.add("crm")
        bench.versions[2].set()
        await until(lambda: bench.offset() == 1)
    assert [b"v-0"] == [record.value for record in bench.written("requests.crm.retry")]
    assert [] == bench.written("dead.deliver")
