"""A group member follows the configuration for as long as it works."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from pipeline.assembly import HostMaker, Judges, Outside, hosts
from pipeline.declaration import config_records
from pipeline.model.record import Output
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Destination, Source, Workspace
from pipeline.resources import resource
from pipeline.runtime.configuration import Configuration
from pipeline.testing import HandClock, MemoryBroker, MemoryDedupStore, MemoryHttpClient, MemoryMetrics, an_answer
from tests.unit.runtime.jumping import jumping


def a_workspace(rate: float) -> Workspace:
    """Make a workspace with one tool."""
    tool = Destination("crm", "webhook", ("web",), settings={"url": "https://crm.example/"}, rate=rate)
    return Workspace("shop", sources={"web": Source("web")}, destinations={"crm": tool})


def test_a_member_that_ended_listens_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it works a member takes each new version's settings; once it has ended nobody computes them for it."""
    rates: list[float | None] = []
    settings_of = hosts.delivery_settings

    def noted(destination: Destination, resolve: Any) -> Any:  # noqa: ANN401 (what it wraps)
        rates.append(destination.rate)
        return settings_of(destination, resolve)

    monkeypatch.setattr(hosts, "delivery_settings", noted)

    @jumping
    async def run() -> None:
        broker = MemoryBroker()
        for topic in ("config", "requests.crm", "requests.crm.retry"):
            broker.create(f"shop.{topic}", 1)
        configuration = Configuration(broker, "shop", orjson.loads((resource("schemas") / "workspace.json").read_bytes()))
        processor = Processor("deliver", "requests.{destination}", kind="deliver", for_each="destination")
        outside = Outside(broker, HandClock(0), MemoryMetrics(), MemoryHttpClient(lambda _request: an_answer(200)), lambda *_: MemoryDedupStore())
        maker = HostMaker(Judges(Topology("test", {"deliver": processor}), {}, str), configuration, outside)

        async def apply(version: int) -> None:
            broker.append([Output("shop.config", key, value) for key, value in config_records(a_workspace(version), version, at_ms=0)])
            await configuration.at_least(version)

        following = asyncio.create_task(configuration.run())
        await apply(1)
        host = maker(processor, "crm", await configuration.at_least(1))
        working = asyncio.create_task(host.run())
        await asyncio.sleep(1)
        await apply(2)
        host.stop()
        await working
        await apply(3)
        following.cancel()
        await asyncio.wait([following])

    run()
    assert [1, 1, 2] == rates  # to begin with, as a listener that is told the present version, and for the second one
