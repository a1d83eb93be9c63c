"""The collector over HTTP while its only broker stands still, or ends: nothing is acknowledged that is not stored."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import orjson
import psutil
import pytest

from pipeline.app.local.kafka import free_port
from pipeline.model.topics import declared_topics
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.faults.broken_loads import LOADS
from tests.faults.cluster import BrokerProcess
from tests.faults.laws import Verdict, hold, no_invention, no_loss
from tests.faults.load import HttpLoad
from tests.faults.report import Row
from tests.faults.sent import read_sent
from tests.integration.collector_over_http import WORKSPACE, collector

pytestmark = [pytest.mark.faults, pytest.mark.integration]

STOP_SECONDS = 30.0
RATE = 400.0
GRACE_SECONDS = 1.0
"""What was stored in the last moment before the broker stopped may be answered in the first one after."""
BACK_SECONDS = 60.0


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[BrokerProcess]:
    """One broker."""
    one = BrokerProcess(tmp_path / "broker", {}, free_port(), free_port())
    try:
        await one.format()
        await one.start()
        await one.ready()
        yield one
    finally:
        await one.stop(signal.SIGKILL)


class Side:
    """A collector with a load.

    Args:
        prefix: The workspace's name.
        build: A broken build of its producer, or empty.
        bootstrap: Kafka's address.
        folder: Where the load keeps its ledger.

    Attributes:
        load: The load, once it is sent.
        early: Requests that were answered 2xx while the broker stood still.
    """

    def __init__(self, prefix: str, build: str, bootstrap: str, folder: Path) -> None:
        self.prefix = prefix + build
        self.build = build
        self.broker = LOADS.get(build, KafkaBroker)(bootstrap)
        self.path = folder / f"sent{build}"
        self.load: HttpLoad | None = None
        self.early = 0

    def answered(self) -> int:
        """Count the requests that were answered 2xx."""
        assert self.load is not None
        return self.load.answers[200]

    async def until_answered(self) -> float:
        """Wait until a request is answered 2xx again; give the seconds."""
        before, began = self.answered(), time.monotonic()
        async with asyncio.timeout(BACK_SECONDS):
            while self.answered() <= before + 2:  # noqa: ASYNC110 (a thread counts them)
                await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def verdicts(self) -> list[Verdict]:
        """Say what the laws say of what lies in `raw`; copies are dedup's business, which comes later."""
        sent = read_sent([self.path])
        found: Counter[str] = Counter()
        async for records in self.broker.reader().read(f"{self.prefix}.raw"):
            found.update(str(orjson.loads(record.value or b"{}")["messageId"]) for record in records)
        early = tuple(f"{self.early} requests" for _ in range(min(1, self.early)))
        return [
            no_loss(sent, found, where=" in raw"),
            no_invention(sent, found),
            Verdict("no 2xx while the broker stands still", self.answered(), early),
        ]


@pytest.mark.fault("T9")
async def test_the_collector_acknowledges_only_what_a_broker_that_stands_still_has_stored(
    broker: BrokerProcess, prefix: str, tmp_path: Path, row: Row
) -> None:
    """SIGSTOP of the only broker for 30 s, then once more with SIGKILL: no request gets a 2xx meanwhile, and each that got one is in `raw`."""
    sides = [Side(prefix, build, f"127.0.0.1:{broker.port}", tmp_path) for build in ("", "unacknowledged")]
    async with asyncio.TaskGroup() as group:
        phases = Phases(broker, len(sides))
        for side in sides:
            group.create_task(phases.hurt(side))
    product, control = sides
    assert product.load is not None
    verdicts = await product.verdicts()
    sent = read_sent([product.path])
    row.kills, row.events, row.recovery_seconds = 2, len(sent.events), phases.back_seconds
    row.lost = len(verdicts[0].violations)
    row.figures = (
        f"answers {dict(sorted(product.load.answers.items()))} (0: none); acknowledged {len(sent.acknowledged)}, in doubt {len(sent.unknown)}; "
        f"collector and test took at most {phases.rss / 1e6:.0f} MB"
    )
    hold(verdicts)
    assert product.load.answers[503] > 0
    row.caught[control.build] = any(verdict.violations for verdict in await control.verdicts())
    assert row.caught[control.build]


class Phases:
    """What happens to the broker, seen by each side at the same time.

    Args:
        broker: The broker.
        sides: How many there are.

    Attributes:
        back_seconds: Longest time until the product answered 2xx again.
        rss: Highest memory of this process, which is the collector's too.
    """

    def __init__(self, broker: BrokerProcess, sides: int) -> None:
        self._broker = broker
        self._together = asyncio.Barrier(sides)
        self.back_seconds = 0.0
        self.rss = 0

    async def hurt(self, side: Side) -> None:
        """Send to a collector while the broker stands still, wakes, stands still and is killed."""
        topics = declared_topics(side.prefix, destinations=(), dedup_processors=())
        await side.broker.admin().create([topic for topic in topics if topic.name.endswith((".raw", ".dead.ingest"))])
        producer = side.broker.producer()
        await producer.start()
        try:
            async with collector(producer, workspace=replace(WORKSPACE, name=side.prefix)) as running:
                load = side.load = HttpLoad(running.port, rate=RATE, path=side.path, seed=9)
                load.start()
                try:
                    await asyncio.sleep(3)
                    await self._stand_still(side, STOP_SECONDS)
                    self._broker.send_signal(signal.SIGCONT)
                    await self._back(side)
                    await self._stand_still(side, 2 * GRACE_SECONDS)
                    if not side.build:
                        await self._broker.stop(signal.SIGKILL)
                        await self._broker.start()
                        await self._broker.ready()
                    await self._together.wait()
                    await self._back(side)
                    await asyncio.to_thread(load.stop)
                finally:
                    await asyncio.to_thread(load.stop, patient=False)
        finally:
            await producer.stop()

    async def _stand_still(self, side: Side, seconds: float) -> None:
        await self._together.wait()
        self._broker.send_signal(signal.SIGSTOP)
        await asyncio.sleep(GRACE_SECONDS)
        before, end = side.answered(), time.monotonic() + seconds - GRACE_SECONDS
        while time.monotonic() < end:
            self.rss = max(self.rss, psutil.Process().memory_info().rss)
            await asyncio.sleep(0.2)
        side.early += side.answered() - before
        await self._together.wait()

    async def _back(self, side: Side) -> None:
        took = await side.until_answered()
        if not side.build:
            self.back_seconds = max(self.back_seconds, took)
