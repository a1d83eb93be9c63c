"""The feed follows topics while someone looks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

from pipeline.app.live import feed as feed_module
from pipeline.app.live.facts import Place
from pipeline.app.live.feed import LiveFeed
from pipeline.model.ledger import Row, Tally, ledger_key, ledger_value
from pipeline.model.record import Output
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Destination, Source, Workspace
from pipeline.runtime.brokers.memory import MemoryBroker
from pipeline.runtime.clock import SystemClock

TOPOLOGY = Topology("default", {"validate": Processor("validate", "raw", steps=("validate",), lanes={"main": "validated"})})


class Scene:
    """A cluster, a workspace that can change, and a feed that runs."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        for topic in ("raw", "validated"):
            self.broker.create(f"shop.{topic}", 2)
        for topic in ("deliveries", "ledger", "dead.validate"):
            self.broker.create(f"shop.{topic}", 1)
        self.workspace = Workspace("shop", 1, sources={"web": Source("web")})
        self.feed = LiveFeed(self.broker, "shop", TOPOLOGY, workspace=lambda: self.workspace, clock=SystemClock())

    def write(self, topic: str, body: Any, key: bytes = b"u-1", **headers: str) -> None:  # noqa: ANN401 (JSON)
        """Write a record."""
        self.broker.append([Output(f"shop.{topic}", key, orjson.dumps(body), tuple((name, text.encode()) for name, text in headers.items()))])

    async def rows(self, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Open the page and wait until its rows, by message id, satisfy a test."""
        rows: dict[str, Any] = {}
        async with asyncio.timeout(10), contextlib.aclosing(self.feed.updates()) as updates:
            async for name, data in updates:
                if name == "events":
                    rows |= {row["id"]: row for row in data["rows"]}
                if enough(rows):
                    return rows
        return rows


@pytest.fixture
async def scene(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """A scene whose feed looks for new topics without delay."""
    monkeypatch.setattr(feed_module, "TOPICS_SECONDS", 0.05)
    monkeypatch.setattr(feed_module, "START_SECONDS", 0.0)
    monkeypatch.setattr(feed_module, "TICK_SECONDS", 0.01)
    scene = Scene()
    running = asyncio.create_task(scene.feed.run())
    yield scene
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def event(message_id: str) -> dict[str, Any]:
    """Make a track event."""
    return {"type": "track", "event": "Signed Up", "messageId": message_id, "userId": "u-1"}


async def test_sees_what_was_there_and_what_comes(scene: Scene) -> None:
    """A page shows the newest events of before, and then each new one."""
    scene.write("raw", event("before"), source="web", received_at="1")
    task = asyncio.create_task(scene.rows(lambda rows: "after" in rows))
    await scene.rows(lambda rows: "before" in rows)
    scene.write("raw", event("after"), source="web", received_at="2")
    rows = await task
    assert {"before", "after"} == set(rows)
    assert ("web", "Signed Up", "u-1", "validate", "waiting") == tuple(rows["after"][name] for name in ("source", "event", "user", "stage", "state"))


async def test_nothing_is_read_while_nobody_looks(scene: Scene) -> None:
    """Without a page there is nothing to remember."""
    scene.write("raw", event("m"), source="web")
    await asyncio.sleep(0)
    assert scene.feed.detail("m") is None


async def test_history_is_bounded(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long topic the newest records of each partition are read."""
    monkeypatch.setattr(feed_module, "EVENTS_OF_A_SOURCE", 10)
    for number in range(100):
        scene.write("raw", event(f"m-{number}"), source="web", received_at=str(number + 1))
    rows = await scene.rows(lambda rows: "m-99" in rows)
    assert {f"m-{number}" for number in range(90, 100)} == set(rows)


async def test_ledger_says_that_an_event_was_dropped(scene: Scene) -> None:
    """Once a transaction is old enough, its reasons end the event, without anything new being written."""
    scene.write("raw", event("m"), source="web", received_at="1")
    place = next(index for index, log in enumerate(scene.broker.log("shop.raw")) if log)
    tally = Tally()
    tally.rows[Row("web", "track", "Signed Up", "dropped", "duplicate")] += 1
    at_ms = SystemClock().now_ms() - 10_000
    value = ledger_value(tally, processor="validate", topic="raw", partition=place, start=0, end=1, at_ms=at_ms)
    scene.broker.append([Output("shop.ledger", ledger_key("validate", "raw", place), value)])
    rows = await scene.rows(lambda rows: "m" in rows and rows["m"]["state"] == "dropped")
    assert ["duplicate"] == list(rows["m"]["reasons"])
    stages = scene.feed.stages()
    assert {"duplicate": 1} == stages["processors"]["validate"]["dropped"]


async def test_a_destination_that_is_added(scene: Scene) -> None:
    """Topics of a new destination are followed without a new start."""
    scene.write("raw", event("m"), source="web")
    task = asyncio.create_task(scene.rows(lambda rows: any(fact.kind == "request" for fact in facts(scene, "m"))))
    scene.workspace = Workspace("shop", 2, sources={"web": Source("web")}, destinations={"crm": Destination("crm", "webhook", ("web",))})
    scene.broker.create("shop.requests.crm", 1)
    scene.write("requests.crm", {}, message_id="m", destination="crm")
    await task
    assert "requests.crm" in scene.feed.topics()


def facts(scene: Scene, message_id: str) -> list[Any]:
    """Give what the feed saw of an event."""
    seen = scene.feed._recent.get(message_id)
    return seen.facts if seen is not None else []


async def test_lag(scene: Scene) -> None:
    """The lag of each group is asked for while someone looks."""
    for number in range(3):
        scene.write("raw", event(f"m-{number}"), source="web")
    await scene.rows(lambda _: scene.feed.stages()["processors"]["validate"].get("lag") == 3)


async def test_what_is_no_ledger_record_is_passed_over(scene: Scene) -> None:
    """A record of another version, or nonsense, stops nothing."""
    for value in (b"", b"[]", b"{}", b'{"processor":"x"}', b"\xff"):
        scene.broker.append([Output("shop.ledger", None, value)])
    scene.write("raw", event("m"), source="web")
    await scene.rows(lambda rows: "m" in rows)


async def test_record(scene: Scene) -> None:
    """One record is read on demand, from topics that the page shows only."""
    scene.broker.create("other.secret", 1)
    scene.write("raw", event("m"), source="web")
    partition = next(index for index, log in enumerate(scene.broker.log("shop.raw")) if log)
    found = await scene.feed.record(Place("raw", partition, 0))
    assert found is not None
    assert ("u-1", [["source", "web"]]) == (found["key"], found["headers"])
    assert await scene.feed.record(Place("raw", partition, 1)) is None
    assert await scene.feed.record(Place("secret", 0, 0)) is None


async def test_busy_feed_keeps_whole_ways(scene: Scene) -> None:
    """When it looks at a part of the keys only, it looks at the deliveries of just these events."""
    scene.write("raw", event("m"), source="web")
    await scene.rows(lambda rows: "m" in rows)
    scene.feed._sampling.one_in = 2
    assert scene.feed._looks_at("deliveries", b"m")
    assert not scene.feed._looks_at("deliveries", b"unknown")
