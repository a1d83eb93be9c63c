"""Every process follows the configuration to the newest version that is good."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from pipeline.declaration import config_records
from pipeline.model.record import Output
from pipeline.model.topology import Processor
from pipeline.model.workspace import Source, Workspace
from pipeline.resources import resource
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.plans import ConfiguredPlans
from tests.unit.runtime.jumping import jumping

SCHEMA: dict[str, Any] = orjson.loads((resource("schemas") / "workspace.json").read_bytes())


class Bench:
    """A config topic and its follower."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.broker.create("shop.config", 1)
        self.configuration = Configuration(self.broker, "shop", SCHEMA)
        self.seen: list[int] = []

    def apply(self, version: int, *sources: str) -> None:
        """Publish a version with some sources."""
        workspace = Workspace("shop", sources={name: Source(name) for name in sources})
        self.broker.append([Output("shop.config", key, value) for key, value in config_records(workspace, version, at_ms=version)])

    def spoil(self, version: int) -> None:
        """Publish a version that no process can take."""
        self.broker.append([Output("shop.config", b"%010d/commit" % version, b'{"version":%d,"at":0,"objects":7}' % version)])

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
async def test_nothing_is_in_force_before_the_first_version() -> None:
    """Who asks for a version waits for it, and gets the newest one that is there by then."""
    bench = Bench()
    async with bench.running():
        await asyncio.sleep(5)
        assert bench.configuration.workspace is None
        waiting = asyncio.create_task(bench.configuration.at_least(1))
        bench.apply(1, "web")
        bench.apply(2, "web", "app")
        assert 2 == (await waiting).version
        assert ["web", "app"] == list((await bench.configuration.at_least(1)).sources)


@jumping
async def test_listeners_hear_each_version_once_and_the_present_one_at_once() -> None:
    """A listener is called for what is in force when it comes, and for each new version after that."""
    bench = Bench()
    async with bench.running():
        bench.configuration.on_change(lambda workspace: bench.seen.append(workspace.version))
        for version in (1, 2):
            bench.apply(version, "web")
            await bench.configuration.at_least(version)
        late: list[int] = []
        bench.configuration.on_change(lambda workspace: late.append(workspace.version))
        await asyncio.sleep(5)
    assert ([1, 2], [2]) == (bench.seen, late)


@jumping
async def test_a_listener_that_left_hears_nothing() -> None:
    """What `on_change` gives takes the listener away, also while versions are being told, and does no harm a second time."""
    bench = Bench()
    async with bench.running(), asyncio.timeout(60):

        def once(workspace: Workspace) -> None:
            bench.seen.append(workspace.version)
            leave()

        leave = bench.configuration.on_change(once)
        others: list[int] = []
        bench.configuration.on_change(lambda workspace: others.append(workspace.version))
        for version in (1, 2):
            bench.apply(version, "web")
            await bench.configuration.at_least(version)
        leave()
    assert ([1], [1, 2]) == (bench.seen, others)


@jumping
async def test_the_last_good_version_stays_in_force() -> None:
    """A version that is not whole is passed over; who waits for it gets the last good one instead of waiting for ever."""
    bench = Bench()
    async with bench.running():
        bench.apply(1, "web")
        bench.spoil(2)
        assert 1 == (await bench.configuration.at_least(2)).version
        bench.apply(3, "app")
        assert ["app"] == list((await bench.configuration.at_least(3)).sources)


@jumping
async def test_a_topic_that_is_not_there_yet_is_waited_for() -> None:
    """A process may start before the topics are made."""
    bench = Bench()
    bench.broker = MemoryBroker()
    bench.configuration = Configuration(bench.broker, "shop", SCHEMA)
    async with bench.running():
        await asyncio.sleep(5)
        bench.broker.create("shop.config", 1)
        bench.apply(1, "web")
        assert 1 == (await bench.configuration.at_least(1)).version


@jumping
async def test_plans_are_built_once_for_each_version() -> None:
    """Steps are built when their version is first asked for, and only then; raw alone is not trusted."""
    bench = Bench()
    built: list[int] = []

    def build(workspace: Workspace) -> tuple[()]:
        built.append(workspace.version)
        return ()

    plans = ConfiguredPlans(Processor("validate", "raw"), bench.configuration, build)
    async with bench.running():
        bench.apply(1, "web")
        first = await plans.at_least(1)
        assert (plans.current() is first, plans.current() is first) == (True, True)
        bench.apply(2, "web")
        assert 2 == (await plans.at_least(2)).version == plans.current().version
    assert [1, 2] == built
    assert not first.trusted
    assert ConfiguredPlans(Processor("filter", "enriched"), bench.configuration, build).current().trusted


@jumping
async def test_a_wait_that_lasts_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Events of a version that never comes (the topic was made anew) wait, but not in silence."""
    bench = Bench()
    async with bench.running():
        bench.apply(1)
        waiting = asyncio.create_task(bench.configuration.at_least(57))
        await asyncio.sleep(25)
        assert ["Waiting for version 57 of the configuration; shop.config has 1. Apply the workspace again."] * 2 == caplog.messages
        bench.apply(57)
        assert 57 == (await waiting).version


@jumping
async def test_versions_that_come_fast_are_put_to_work_once_a_second() -> None:
    """A hundred versions in five seconds cost six changes; the newest is in force a second later at the latest."""
    bench = Bench()
    async with bench.running():
        bench.configuration.on_change(lambda workspace: bench.seen.append(workspace.version))
        for version in range(1, 101):
            bench.apply(version, "web")
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.1)
    assert (1, 100) == (bench.seen[0], bench.seen[-1])
    assert len(bench.seen) <= 7


@jumping
async def test_a_version_that_is_waited_for_does_not_wait_for_its_second() -> None:
    """Events that bear a version are never judged by one before it, and need not wait until versions have settled."""
    bench = Bench()
    async with bench.running():
        bench.apply(1, "web")
        await bench.configuration.at_least(1)
        for version in range(2, 20):
            bench.apply(version, "web")
            async with asyncio.timeout(0.5):
                assert version == (await bench.configuration.at_least(version)).version


@jumping
async def test_a_listener_that_fails_stops_nobody_else() -> None:
    """What one part of a process cannot take over, the others do."""
    bench = Bench()

    def fails(workspace: Workspace) -> None:
        raise KeyError(workspace.version)

    async with bench.running():
        bench.configuration.on_change(fails)
        bench.configuration.on_change(lambda workspace: bench.seen.append(workspace.version))
        bench.apply(1, "web")
        await bench.configuration.at_least(1)
        bench.apply(2, "web")
        await bench.configuration.at_least(2)
    assert [1, 2] == bench.seen


async def test_a_version_that_is_too_large_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """More bytes than every process can keep and build from leave the last good version in force; a large one below is read in a thread."""
    bench = Bench()
    monkeypatch.setattr("pipeline.model.limits.CONFIG_BYTES", 1_000_000)
    async with bench.running(), asyncio.timeout(30):
        bench.apply(1, *(f"s{number}" for number in range(5_000)))
        assert 1 == (await bench.configuration.at_least(1)).version
        assert bench.configuration.is_large
        bench.apply(2, *(f"s{number}" for number in range(50_000)))
        assert 1 == (await bench.configuration.at_least(2)).version
        bench.apply(3, "web")
        assert 3 == (await bench.configuration.at_least(3)).version
        assert not bench.configuration.is_large
