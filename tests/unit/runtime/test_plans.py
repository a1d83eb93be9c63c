"""A version that cannot be put to work leaves the last good one in force."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from pipeline.declaration import config_records
from pipeline.model.outcomes import Step
from pipeline.model.record import Message, Output
from pipeline.model.topology import Processor
from pipeline.model.workspace import Source, Workspace
from pipeline.ports.broker import Blocked
from pipeline.resources import resource
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.plans import ConfiguredPlans, PartitionPlans
from tests.unit.runtime.jumping import jumping


def pass_on(_message: Message) -> None:
    """Let every message go on."""


class Bench:
    """A configuration and plans that are told which versions cannot be built."""

    def __init__(self, *bad: int) -> None:
        self.broker = MemoryBroker()
        self.broker.create("shop.config", 1)
        self.configuration = Configuration(self.broker, "shop", orjson.loads((resource("schemas") / "workspace.json").read_bytes()))
        self.built: list[int] = []
        self.threads: list[str] = []
        self._bad = bad
        self.plans = ConfiguredPlans(Processor("enrich", "validated"), self.configuration, self._build)

    def _build(self, workspace: Workspace) -> tuple[tuple[str, Step], ...]:
        self.built.append(workspace.version)
        self.threads.append(threading.current_thread().name)
        if workspace.version in self._bad:
            raise FileNotFoundError("geo.mmdb")
        return (("one", pass_on), ("three", pass_on))

    def apply(self, version: int, sources: int = 0) -> None:
        """Publish a version."""
        workspace = Workspace("shop", sources={f"s{number}": Source(f"s{number}") for number in range(sources)})
        self.broker.append([Output("shop.config", key, value) for key, value in config_records(workspace, version, at_ms=version)])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow until the block is left."""
        task = asyncio.create_task(self.configuration.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])


@jumping
async def test_the_last_good_plan_stays_until_a_better_version() -> None:
    """A refused version is built once, said once, and counts as reached: events that it has stamped elsewhere wait for nothing."""
    bench = Bench(2)
    async with bench.running():
        bench.apply(1)
        assert 1 == (await bench.plans.at_least(1)).version
        bench.apply(2)
        assert 1 == (await bench.plans.at_least(2)).version
        assert 1 == bench.plans.current().version
        assert [1, 2] == bench.built
        bench.apply(3)
        assert 3 == (await bench.plans.at_least(3)).version
        assert 3 == bench.plans.current().version
        assert [1, 2, 3] == bench.built


@jumping
async def test_a_first_version_that_cannot_be_put_to_work_is_said() -> None:
    """Where there is no good one nothing is judged: the partition waits, with what must be mended in its words."""
    bench = Bench(1)
    async with bench.running():
        bench.apply(1)
        with pytest.raises(Blocked, match=r"version 1 .* geo\.mmdb"):
            await bench.plans.at_least(1)


async def test_a_large_version_is_built_beside_the_loop_once_for_all_partitions() -> None:
    """While it is built the plan before judges; who needs the new one waits; each partition adds the step that is its own, in its place."""
    bench = Bench()
    partitions = [PartitionPlans(bench.plans, ("one", "two", "three"), ("two", pass_on)) for _ in range(3)]
    async with bench.running(), asyncio.timeout(30):
        bench.apply(1)
        assert [1, 1, 1] == [(await each.at_least(1)).version for each in partitions]
        bench.apply(2, sources=5_000)
        await bench.configuration.at_least(2)
        assert [1, 1, 1] == [each.current().version for each in partitions]
        plans = await asyncio.gather(*(each.at_least(2) for each in partitions))
        assert [2, 2, 2] == [plan.version for plan in plans]
        assert ["one", "two", "three"] == [name for name, _ in plans[0].steps]
    assert [1, 2] == bench.built
    assert threading.current_thread().name == bench.threads[0] != bench.threads[1]
