"""A version that cannot be put to work leaves the last good one in force."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
import pytest

from pipeline.declaration import config_records
from pipeline.model.outcomes import Step
from pipeline.model.record import Output
from pipeline.model.topology import Processor
from pipeline.model.workspace import Workspace
from pipeline.resources import resource
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.plans import ConfiguredPlans
from tests.unit.runtime.jumping import jumping


class Bench:
    """A configuration and plans that are told which versions cannot be built."""

    def __init__(self, *bad: int) -> None:
        self.broker = MemoryBroker()
        self.broker.create("shop.config", 1)
        self.configuration = Configuration(self.broker, "shop", orjson.loads((resource("schemas") / "workspace.json").read_bytes()))
        self.built: list[int] = []
        self._bad = bad
        self.plans = ConfiguredPlans(Processor("enrich", "validated"), self.configuration, self._build)

    def _build(self, workspace: Workspace) -> tuple[tuple[str, Step], ...]:
        self.built.append(workspace.version)
        if workspace.version in self._bad:
            raise FileNotFoundError("geo.mmdb")
        return ()

    def apply(self, version: int) -> None:
        """Publish a version."""
        self.broker.append([Output("shop.config", key, value) for key, value in config_records(Workspace("shop"), version, at_ms=version)])

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
    """Where there is no good one the fault goes up: nothing is judged without a plan."""
    bench = Bench(1)
    async with bench.running():
        bench.apply(1)
        with pytest.raises(FileNotFoundError):
            await bench.plans.at_least(1)
