"""Configurations that are bad, huge or flap, on the real broker, while events flow."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from pipeline.app.declared import read_topology
from pipeline.app.processes.options import call_schemas
from pipeline.app.settings import Secrets, read_schema
from pipeline.assembly import HostMaker, Judges, Outside
from pipeline.declaration import config_records
from pipeline.model import headers as names
from pipeline.model.record import Output, Record
from pipeline.model.topics import declared_topics
from pipeline.model.workspace import Destination, MappingDeclaration, Source, Workspace
from pipeline.ports.broker import Blocked
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.http.pooled_client import PooledClient
from pipeline.runtime.judgement import Plan
from pipeline.runtime.loop_watch import LoopWatch
from pipeline.runtime.metrics.memory import MemoryMetrics
from pipeline.runtime.plans import ConfiguredPlans
from pipeline.runtime.processors import ProcessorRunner
from pipeline.runtime.stores.sorted_runs import SortedRunsStore
from tests.conftest import Kafka
from tests.faults.laws import Verdict, bounded
from tests.faults.proof import prove
from tests.faults.report import Row

pytestmark = [pytest.mark.faults, pytest.mark.integration]

TOPOLOGY = read_topology("default")
STAGES = (("validate", "enrich"), ("filter", "translate"))
"""Two sets of processors, each with a follower of the configuration of its own, as two processes have."""
FLAPS = 100
BAD = range(2, 7)
"""Versions that no process, or not every stage, can put to work; the first one is in force meanwhile."""
CPU_MOST = 30.0
"""Seconds of CPU for all of it, the huge versions among it."""
RSS_MOST_MB = 600.0


class Behind(Configuration):
    """One that learns of a version later than others do."""

    async def _take(self, records: Sequence[Record]) -> None:
        await asyncio.sleep(2)
        await super()._take(records)


class Shop:
    """A workspace whose versions say their number in every request."""

    def __init__(self, broker: KafkaBroker, prefix: str, home: Path) -> None:
        self.broker = broker
        self.prefix = prefix
        self._home = home
        self._producer = broker.producer()
        self.version = 0
        self.sent: list[str] = []
        self.rss_mb: list[float] = []
        self.ended = False

    def workspace(self, *, destinations: int = 1, mappings: int = 1, trigger: str = 'type = "track"') -> Workspace:
        """Declare the next version."""
        fields: dict[str, Any] = {"version": self.version + 1, "id": {"@path": "$.messageId"}}
        more = tuple(MappingDeclaration(f"m{number}", 'type = "group"', {"text": "x" * 1_000}) for number in range(mappings - 1))
        crm = Destination(
            "d0", "webhook", ("web",), settings={"url": "https://tool.example/"}, mappings=(MappingDeclaration("all", trigger, fields), *more)
        )
        others = {f"d{number}": replace(crm, id=f"d{number}", enabled=False) for number in range(1, destinations)}
        return Workspace(self.prefix, sources={"web": Source("web")}, destinations={"d0": crm, **others})

    async def apply(self, workspace: Workspace) -> None:
        """Write a version, past the checks of `headrace apply`."""
        self.version += 1
        await self._write(config_records(workspace, self.version, at_ms=self.version))

    async def spoil(self, name: str, value: bytes) -> None:
        """Write a version with an object that is none."""
        self.version += 1
        records = [(key, value if name.encode() in key else text) for key, text in config_records(self.workspace(), self.version, at_ms=0)]
        await self._write(records)

    async def _write(self, records: list[tuple[bytes, bytes]]) -> None:
        for start in range(0, len(records), 500):
            await self._producer.send([Output(f"{self.prefix}.config", key, value, (), 0) for key, value in records[start : start + 500]])

    async def load(self) -> None:
        """Send events until the test is over."""
        for number in count():
            if self.ended:
                return
            batch = [f"{number}-{each}" for each in range(10)]
            events = [orjson.dumps({"type": "track", "event": "Paid", "userId": one[-1], "messageId": one}) for one in batch]
            header = ((names.SOURCE, b"web"),)
            await self._producer.send(
                [Output(f"{self.prefix}.raw", one[-1].encode(), event, header) for one, event in zip(batch, events, strict=True)]
            )
            self.sent += batch
            self.rss_mb.append(psutil.Process().memory_info().rss / 1e6)
            await asyncio.sleep(0.05)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[list[str]]:
        """Make the topics and run the processors; gives what would have ended a process."""
        await self.broker.admin().create(
            declared_topics(self.prefix, destinations=["d0"], dedup_processors=["validate"], partitions=TOPOLOGY.partitions)
        )
        await self._producer.start()
        await self.apply(self.workspace())
        ends: list[str] = []
        clock, metrics, http = SystemClock(), MemoryMetrics(), PooledClient()
        watch = LoopWatch(clock, metrics, process="test", end=lambda: ends.append("the loop stood still"))
        runners, tasks = [], [asyncio.create_task(watch.run())]
        for stage, follower in zip(STAGES, (Configuration, Behind), strict=True):
            configuration = follower(self.broker, self.prefix, read_schema("workspace"))
            judges = Judges(TOPOLOGY, call_schemas(), Secrets(self._home, {}).resolve)
            outside = Outside(
                self.broker, clock, metrics, http, lambda group, number, most: SortedRunsStore(self._home / group / str(number), max_ids=most)
            )
            maker = HostMaker(judges, configuration, outside)
            tasks.append(asyncio.create_task(configuration.run()))
            runners += [ProcessorRunner(TOPOLOGY.processors[name], configuration, maker) for name in stage]
        working = [asyncio.create_task(runner.run()) for runner in runners]
        load = asyncio.create_task(self.load())
        try:
            yield ends
            ends += [f"{task.get_name()} ended" for task in (*working, *tasks) if task.done()]
        finally:
            self.ended = True
            for runner in runners:
                runner.stop()
            await asyncio.gather(load, *working, return_exceptions=True)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await http.close()
            await self._producer.stop()

    async def come_through(self, seconds: float = 20.0) -> None:
        """Wait until all that was sent before has become requests."""
        async with asyncio.timeout(seconds):
            while not self.sent:  # noqa: ASYNC110 (the same)
                await asyncio.sleep(0.1)
            sent = set(self.sent)
            while not sent <= set(await self.requests()):  # noqa: ASYNC110 (a topic has no event)
                await asyncio.sleep(0.3)

    async def requests(self) -> dict[str, list[int]]:
        """Give the versions by which each event became requests."""
        found: dict[str, list[int]] = {}
        for record in await self._read("requests.d0"):
            payload = orjson.loads(record.value or b"")["body"]
            found.setdefault(payload["id"], []).append(payload["version"])
        return found

    async def routed(self) -> dict[str, int]:
        """Give the version that each event bears where translate reads it."""
        return {orjson.loads(one.value or b"")["messageId"]: int(dict(one.headers)[names.CONFIG]) for one in await self._read("routed")}

    async def _read(self, topic: str) -> list[Record]:
        return [record async for records in self.broker.reader().read(f"{self.prefix}.{topic}") for record in records]


async def _trial(shop: Shop, parts: Collection[str], seconds: float) -> list[Verdict]:
    """Hurt a shop with configurations, all of them or a part; give what is to be held."""
    used = time.process_time()
    async with shop.running() as ends:
        await shop.come_through()
        if "bad" in parts:
            await shop.apply(shop.workspace(trigger="type = = track"))
            await shop.come_through(seconds)
        if "all" in parts:
            await shop.spoil("destination/d0", b'{"id":"d0","type":17}')
            await shop.spoil("destination/d0", b"not JSON")
            await shop.apply(shop.workspace(destinations=3_000))
            await shop.apply(shop.workspace(destinations=250, mappings=80))
            await shop.come_through()
            good = 1
            before = {version for versions in (await shop.requests()).values() for version in versions}
            assert {good} == before, "a bad version was put to work"
            await shop.apply(shop.workspace(destinations=3, mappings=1_800))
            await shop.come_through()
        for _ in range(FLAPS if "all" in parts else FLAPS // 2):
            await shop.apply(shop.workspace())
            await asyncio.sleep(0.04)
        await shop.come_through(seconds)
        last = shop.version
        await asyncio.sleep(1.5)
        shop.ended = True
        await asyncio.sleep(0.5)
        await shop.come_through()
    requests, routed = await shop.requests(), await shop.routed()
    least = {one: 1 if version in BAD and "bad" in parts else version for one, version in routed.items()}
    older = [f"{one}: {versions} under {routed[one]}" for one, versions in requests.items() if min(versions) < least[one]]
    counts = Counter({one: len(versions) for one, versions in requests.items()})
    newest = max(version for versions in requests.values() for version in versions)
    return [
        Verdict("L1 no event is lost", len(shop.sent), tuple(sorted(set(shop.sent) - set(requests)))),
        Verdict("L2 no event is doubled", len(shop.sent), tuple(one for one, number in counts.items() if number > 1)),
        Verdict("no event is judged by a version older than the one it bears", len(requests), tuple(older)),
        Verdict("the last version is in force", 1, () if newest == last else (f"{newest}, not {last}",)),
        Verdict("nothing ends", 1, tuple(ends)),
        bounded({"cpu": time.process_time() - used, "rss": max(shop.rss_mb)}, {"cpu": CPU_MOST, "rss": RSS_MOST_MB}),
    ]


def _hasty(patch: pytest.MonkeyPatch) -> None:
    """Judge by what there is, instead of waiting for the version that an event bears."""

    async def broken(self: ConfiguredPlans, version: int) -> Plan:
        del version
        await self._configuration.at_least(1)
        return self.current()

    patch.setattr(ConfiguredPlans, "at_least", broken)


def _no_last_good(patch: pytest.MonkeyPatch) -> None:
    """Stand still with a version that cannot be put to work, instead of keeping the one before."""

    def broken(_self: ConfiguredPlans, workspace: Workspace, error: Exception) -> Plan:
        raise Blocked(str(workspace.version)) from error

    patch.setattr(ConfiguredPlans, "_refuse", broken)


BROKEN = {"hasty": (_hasty, ("flaps",)), "no_last_good": (_no_last_good, ("bad",))}
"""Broken builds, and the parts of the trial that each is put through."""


@pytest.mark.fault("T68")
async def test_bad_huge_and_flapping_configurations_lose_nothing(kafka: Kafka, prefix: str, tmp_path: Path, row: Row) -> None:
    """The last good version stays, no event is lost or judged by an older version than it bears, and nothing is started again."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        name = f"{prefix}-{broken.replace('_', '-')}" if broken else prefix
        shop = Shop(KafkaBroker(kafka.bootstrap), name, tmp_path / (broken or "product"))
        with pytest.MonkeyPatch.context() as patch:
            if not broken:
                verdicts = await _trial(shop, ("bad", "all"), seconds=20)
                row.figures = f"{shop.version} versions, {len(BAD)} of them bad or too large, the largest good one with 1,800 mappings"
                return verdicts
            breaks, parts = BROKEN[broken]
            breaks(patch)
            return await _trial(shop, parts, seconds=8)

    await prove(row, scenario, tuple(BROKEN))
