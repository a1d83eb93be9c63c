"""One trial of deliver: destinations on a real broker, a tool to be as hostile as it likes, members that deliver, and what is found in the end."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import psutil

from pipeline.model.record import Output
from pipeline.model.topics import declared_topics
from pipeline.runtime.brokers.kafka import KafkaBroker
from tests.conftest import Kafka
from tests.faults.hostile_tool import HostileTool

NO_CIRCUIT = 100_000
"""Failures in a row that never happen."""
CAUGHT_SECONDS = 8.0
"""Longest wait for what a broken build may never do; the product does it in much less, and is waited for longer."""
GIVEN_UP_SECONDS = 0.5
"""Longest wait for anything more of a broken build, once it has not done something."""


class DeliveryTrial:
    """Destinations, their topics and members that deliver to them.

    Args:
        kafka: The broker.
        prefix: Prefix of the trial's topics.
        tool: The tool.
        destinations: Settings by id, as `tests.faults.deliver_member` takes them; `url` is where it is, unless at the tool's path of its name.
        broken: Name of a broken build, or empty.
        scale: What retry delays are multiplied by.
        told: What more the members are told.

    Attributes:
        seconds: Longest wait for anything.
    """

    def __init__(
        self,
        kafka: Kafka,
        prefix: str,
        tool: HostileTool,
        destinations: Mapping[str, Mapping[str, Any]],
        *,
        broken: str = "",
        scale: float = 0.01,
        **told: Any,  # noqa: ANN401 (what the member takes)
    ) -> None:
        self.broker = KafkaBroker(kafka.bootstrap)
        self.prefix = f"{prefix}-{broken}" if broken else prefix
        self.tool = tool
        self.destinations = {name: dict(declared) for name, declared in destinations.items()}
        self._urls = {name: declared.pop("url", tool.url(f"/{name}")) for name, declared in self.destinations.items()}
        self._bootstrap = kafka.bootstrap
        self.told: dict[str, Any] = {"scale": scale, "broken": broken, **told}
        self.seconds = CAUGHT_SECONDS if broken else 60.0

    async def prepare(self, partitions: int = 1) -> None:
        """Create the topics."""
        ordered = [name for name, declared in self.destinations.items() if declared.get("ordered")]
        topics = declared_topics(self.prefix, destinations=self.destinations, dedup_processors=[], ordered=ordered, partitions=partitions)
        used = ("requests.", "retry.", "deliveries", "dead.deliver", "ledger")
        kept = [one for one in topics if one.name.removeprefix(f"{self.prefix}.").startswith(used) and not one.name.endswith(".replay")]
        await self.broker.admin().create(kept)

    @asynccontextmanager
    async def member(self) -> AsyncIterator[psutil.Process]:
        """Run a member; at the end it is killed."""
        told = orjson.dumps({**self.told, "destinations": self.destinations}).decode()
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.faults.deliver_member", self._bootstrap, self.prefix, told)
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()
            await process.wait()

    async def send(self, requests: Sequence[tuple[str, str, str]], **more: Any) -> list[str]:  # noqa: ANN401 (any JSON value)
        """Write requests: destination, id and user; gives the ids."""
        producer = self.broker.producer()
        await producer.start()
        await producer.send([self.request(*one, **more) for one in requests])
        await producer.stop()
        return [ident for _, ident, _ in requests]

    def request(self, destination: str, ident: str, user: str, **more: Any) -> Output:  # noqa: ANN401 (any JSON value)
        """Make the record of a request, which says when it was made."""
        value = {
            "id": ident,
            "method": "POST",
            "url": self._urls[destination],
            "headers": {},
            "body": {"id": ident, "user": user, "sent": time.monotonic(), **more},
        }
        headers = (("destination", destination.encode()), ("message_id", ident.encode()), ("source", b"web"), ("type", b"track"))
        return Output(f"{self.prefix}.requests.{destination}", user.encode(), orjson.dumps(value), headers)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds; see `_waiting`."""
        async with self._waiting():
            while not holds():  # noqa: ASYNC110 (what it waits for is not of our making)
                await asyncio.sleep(0.02)

    async def until_written(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Wait until something is found in a topic; see `_waiting`."""
        async with self._waiting():
            while not await holds():  # noqa: ASYNC110 (a topic has no event)
                await asyncio.sleep(0.2)

    @asynccontextmanager
    async def _waiting(self) -> AsyncIterator[None]:
        """Wait not for ever. What a broken build has not done by then it will not do: the laws say what is wrong with it."""
        try:
            async with asyncio.timeout(self.seconds):
                yield
        except TimeoutError:
            if not self.told["broken"]:
                raise
            self.seconds = GIVEN_UP_SECONDS

    async def written(self, name: str) -> list[tuple[dict[str, bytes], dict[str, Any]]]:
        """Read headers and value of all records of a topic."""
        found = []
        async for records in self.broker.reader().read(f"{self.prefix}.{name}"):
            found += [(dict(record.headers), orjson.loads(record.value or b"{}")) for record in records]
        return found

    async def attempts(self) -> list[dict[str, Any]]:
        """Read what was written down about attempts."""
        return [value for _, value in await self.written("deliveries")]

    async def have_attempted(self, sent: Collection[str]) -> bool:
        """Say whether an attempt at each of some requests was written down."""
        return set(sent) <= {one["message_id"] for one in await self.attempts()}

    async def have_delivered(self, sent: Collection[str]) -> bool:
        """Say whether it was written down of each of some requests that its tool took it."""
        return set(sent) <= {one["message_id"] for one in await self.attempts() if one["outcome"] == "delivered"}

    async def have_died(self, count: int) -> bool:
        """Say whether there are so many dead letters."""
        return len(await self.dead()) >= count

    async def dead(self) -> list[dict[str, bytes]]:
        """Read the headers of dead letters."""
        return [headers for headers, _ in await self.written("dead.deliver")]


def numbered(destination: str, count: int) -> list[tuple[str, str, str]]:
    """Name so many requests of a destination, each of a user of its own: destination, id and user."""
    return [(destination, f"{destination}-{number}", f"u{number}") for number in range(count)]
