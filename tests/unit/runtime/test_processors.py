"""A processor has as many group members as the configuration says, and keeps up with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import orjson
import pytest

from pipeline.declaration import config_records
from pipeline.model.record import Output, TopicPartition
from pipeline.model.topology import ForEach, Processor
from pipeline.model.workspace import Destination, Source, Storage, Workspace
from pipeline.resources import resource
from pipeline.runtime.breaker import BreakerError
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.inbox import Inbox, InboxClosedError
from pipeline.runtime.partition_worker import ReadCommitted
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.processors import ProcessorRunner, group_name, instances
from pipeline.runtime.progress import Standing
from tests.unit.runtime.jumping import jumping


def a_workspace(*destinations: str, path: str = "./lake") -> Workspace:
    """Make a workspace with some destinations and a lake."""
    return Workspace(
        "shop",
        sources={"web": Source("web")},
        destinations={name: Destination(name, "webhook", ("web",), settings={"url": f"https://{name}.example/"}) for name in destinations},
        storage={"lake": Storage("lake", "parquet", ("web",), {"path": path})},
    )


class Bench:
    """A runner whose members are real hosts with workers that only note that they were there."""

    def __init__(self, for_each: ForEach = "destination") -> None:
        self.broker = MemoryBroker()
        for topic in ("config", "routed"):
            self.broker.create(f"shop.{topic}", 1)
        self.configuration = Configuration(self.broker, "shop", orjson.loads((resource("schemas") / "workspace.json").read_bytes()))
        self.log: list[str] = []
        self.bug: Exception | None = None
        self.missing = ""
        self.guilty = ""
        self.runner = ProcessorRunner(Processor("translate", "routed", for_each=for_each), self.configuration, self._make_host)
        self._version = 0

    def _make_host(self, processor: Processor, instance: str, workspace: Workspace) -> PartitionHost:
        name = group_name(processor, instance)
        if self.missing and self.missing in str(workspace.storage[instance].settings["path"]):
            reason = f"{self.missing} is not set"
            raise ValueError(reason)
        return PartitionHost(
            self.broker,
            group=f"{workspace.name}.{name}",
            topics=["shop.routed"],
            make_worker=lambda partition, _: _Worker(self, name, partition),
        )

    def apply(self, *destinations: str, path: str = "./lake") -> None:
        """Publish a version."""
        self._version += 1
        records = config_records(a_workspace(*destinations, path=path), self._version, at_ms=0)
        self.broker.append([Output("shop.config", key, value) for key, value in records])

    def names(self) -> list[str]:
        """Give the groups that have a member."""
        return [name for name, _ in self.runner.members]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run until the block is left."""
        following = asyncio.create_task(self.configuration.run())
        task = asyncio.create_task(self.runner.run())
        try:
            yield task
        finally:
            self.runner.stop()
            with suppress(Exception):
                await task
            following.cancel()
            await asyncio.wait([following])

    async def until_ready(self, names: Iterable[str]) -> None:
        """Wait until just these groups have members, all taking records."""
        async with asyncio.timeout(60):
            while not (self.names() == list(names) and self.runner.ready):  # noqa: ASYNC110 (what it waits for is not of our making)
                await asyncio.sleep(0.1)


class _Worker:
    def __init__(self, bench: Bench, name: str, partition: TopicPartition) -> None:
        self._bench = bench
        self._name = name
        self._partition = partition

    async def open(self, read_committed: ReadCommitted, bounds: tuple[int, int]) -> int:
        return bounds[0]

    async def run(self, inbox: Inbox) -> None:
        self._bench.log.append(f"{self._name} works")
        while True:
            try:
                await inbox.take(1, None)
            except InboxClosedError:
                return
            if self._bench.bug is not None and self._name.endswith(self._bench.guilty):
                raise self._bench.bug

    def standing(self) -> Standing:
        return Standing(0)

    async def close(self) -> None:
        self._bench.log.append(f"{self._name} is closed")


def test_instances_are_what_is_declared() -> None:
    """One group for each destination or storage, or one for all; names are the processor's and the id."""
    workspace = a_workspace("crm", "mail")
    assert ["crm", "mail"] == instances(Processor("translate", "routed", for_each="destination"), workspace)
    assert ["lake"] == instances(Processor("lake", "routed", for_each="storage"), workspace)
    assert [""] == instances(Processor("filter", "enriched"), workspace)
    assert "translate.crm" == group_name(Processor("translate", "routed"), "crm")
    assert "filter" == group_name(Processor("filter", "enriched"), "")


@jumping
async def test_members_come_and_go_with_the_configuration() -> None:
    """A new destination gets a member, a removed one loses it, and the others are not touched."""
    bench = Bench()
    async with bench.running():
        await asyncio.sleep(3)
        assert ([], False) == (bench.names(), bench.runner.ready)
        bench.apply("crm")
        await bench.until_ready(["translate.crm"])
        bench.apply("crm", "mail")
        await bench.until_ready(["translate.crm", "translate.mail"])
        bench.apply("mail")
        await bench.until_ready(["translate.mail"])
        await asyncio.sleep(1)  # the removed member finishes what it has in flight
        assert ["translate.crm works", "translate.mail works", "translate.crm is closed"] == bench.log
    assert "translate.mail is closed" == bench.log[-1]
    assert [] == bench.names()


@jumping
async def test_a_lake_that_lies_elsewhere_gets_a_new_member() -> None:
    """A new path of a lake ends its member and makes another; a version that leaves it alone does not."""
    bench = Bench(for_each="storage")
    async with bench.running():
        bench.apply()
        await bench.until_ready(["translate.lake"])
        bench.apply("crm")
        await asyncio.sleep(3)
        assert ["translate.lake works"] == bench.log
        bench.apply("crm", path="./elsewhere")
        await asyncio.sleep(3)
        await bench.until_ready(["translate.lake"])
        assert ["translate.lake works", "translate.lake is closed", "translate.lake works"] == bench.log


@jumping
async def test_a_processor_without_instances_has_one_member() -> None:
    """A single group stays as it is, whatever is declared."""
    bench = Bench(for_each="")
    async with bench.running():
        bench.apply()
        await bench.until_ready(["translate"])
        bench.apply("crm")
        await asyncio.sleep(3)
        assert ["translate works"] == bench.log


@jumping
async def test_a_bug_in_one_member_ends_the_processor() -> None:
    """What ends a member is raised, and the other members are closed in order."""
    bench = Bench()
    bench.bug = ZeroDivisionError("a bug")
    async with bench.running() as task:
        bench.apply("crm", "mail")
        await bench.until_ready(["translate.crm", "translate.mail"])
        bench.broker.append([Output("shop.routed", None, b"{}")])
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await task
    assert {"translate.crm is closed", "translate.mail is closed"} == set(bench.log[-2:])


@jumping
async def test_a_missing_topic_is_waited_for() -> None:
    """A group whose topic is missing is not ready, and works once it is there."""
    bench = Bench()
    bench.broker.delete("shop.routed")
    async with bench.running() as task:
        bench.apply("crm")
        await asyncio.sleep(60)
        assert not bench.runner.ready
        assert not task.done()
        bench.broker.create("shop.routed", 1)
        await bench.until_ready(["translate.crm"])


@jumping
async def test_it_stops_before_the_first_configuration() -> None:
    """A process that is told to end while nothing is declared yet ends."""
    bench = Bench()
    task = asyncio.create_task(bench.runner.run())
    await asyncio.sleep(1)
    bench.runner.stop()
    await asyncio.wait([task], timeout=60)
    assert task.done()
    task.result()


@jumping
async def test_a_member_that_the_breaker_stopped_ends_nothing_else() -> None:
    """It says why, keeps the processor from being ready, and begins again with the next configuration; the others go on all the while."""
    bench = Bench()
    bench.bug, bench.guilty = BreakerError("it crashed on everything"), "crm"
    async with bench.running() as task:
        bench.apply("crm", "mail")
        await bench.until_ready(["translate.crm", "translate.mail"])
        bench.broker.append([Output("shop.routed", b"k", b"{}")])
        await asyncio.sleep(3)
        assert ({"translate.crm": "it crashed on everything"}, False) == (bench.runner.stopped, bench.runner.ready)
        bench.broker.append([Output("shop.routed", b"k", b"{}")])
        await asyncio.sleep(3)
        assert ["translate.crm works", "translate.mail works", "translate.crm is closed"] == bench.log
        assert not task.done()
        bench.bug = None
        bench.apply("crm", "mail")
        await bench.until_ready(["translate.mail", "translate.crm"])
        assert {} == bench.runner.stopped
        assert ["translate.crm works"] == bench.log[3:]


@jumping
async def test_a_member_that_cannot_be_made_leaves_the_last_good_one() -> None:
    """A lake whose path names a secret that is not there is said, the lake before goes on, and the new one comes once the secret is there."""
    bench = Bench("storage")
    bench.missing = "${env:LAKE}"
    async with bench.running() as task:
        bench.apply()
        await bench.until_ready(["translate.lake"])
        bench.apply(path="${env:LAKE}/events")
        async with asyncio.timeout(60):
            while not bench.runner.unmade:  # noqa: ASYNC110 (what it waits for is not of our making)
                await asyncio.sleep(0.1)
        assert {"translate.lake": "${env:LAKE} is not set"} == bench.runner.unmade
        assert (["translate.lake works"], False, False) == (bench.log, bench.runner.ready, task.done())
        bench.missing = ""
        await bench.until_ready(["translate.lake"])
        assert ["translate.lake works", "translate.lake is closed", "translate.lake works"] == bench.log
