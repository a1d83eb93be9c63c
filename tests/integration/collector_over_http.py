"""A collector in this process, a producer that tests steer, and a client that sends exactly the bytes it is given."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from pipeline.app.collector import Checking, Routes, Tokens, serve_collector
from pipeline.ingest import WriteKeys
from pipeline.ingest.webhook import Hook
from pipeline.model.addresses import Network
from pipeline.model.record import Output
from pipeline.model.workspace import Source, Workspace
from pipeline.ports.broker import BrokerError, Producer
from pipeline.runtime.metrics.memory import MemoryMetrics

WORKSPACE = Workspace("shop", version=1, sources={"web": Source("web", ("demo",)), "app": Source("app", ("app-key",))})
AUTHORIZATION = "authorization: Basic ZGVtbzo="


class SteeredProducer:
    """Stores records in a list, when the test lets it.

    Attributes:
        stored: What was stored.
        sends: How many times it was asked.
        asked: Released each time it is asked.
        gate: Cleared to make it wait.
        broken: Whether it fails.
    """

    def __init__(self) -> None:
        self.stored: list[Output] = []
        self.sends = 0
        self.asked = asyncio.Semaphore(0)
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken = False

    async def start(self) -> None:
        """Connect, or fail."""
        if self.broken:
            raise BrokerError("the broker is stopped")

    async def send(self, outputs: Sequence[Output]) -> None:
        """Store, wait or fail."""
        self.sends += 1
        self.asked.release()
        await self.gate.wait()
        if self.broken:
            raise BrokerError("the broker is stopped")
        self.stored.extend(outputs)

    async def stop(self) -> None:
        """Do nothing."""

    def events(self) -> list[dict[str, Any]]:
        """Give the stored events of `raw`."""
        return [orjson.loads(output.value or b"") for output in self.stored if output.topic == "shop.raw"]


class LeapingClock:
    """The machine's clock, which a test can put forward."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def now_ms(self) -> int:
        """Give the wall time."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Give the machine's time and what was leapt over."""
        return time.monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        """Wait, but never for long."""
        await asyncio.sleep(min(seconds, 0.01))


@dataclass
class Running:
    """A collector that runs."""

    port: int
    task: asyncio.Task[None]
    stop: asyncio.Event
    keys: dict[str, str]
    clock: LeapingClock
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    troubles: list[str] = field(default_factory=list)

    async def until_trouble(self, wanted: str) -> None:
        """Wait until it says just this of why it takes no events."""
        async with asyncio.timeout(10):
            while self.troubles[-1:] != [wanted]:  # noqa: ASYNC110 (what it waits for is not of our making)
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def collector(  # noqa: PLR0913 (what a test may want otherwise)
    producer: Producer,
    routes: Routes | None = None,
    host: str = "127.0.0.1",
    workspace: Workspace = WORKSPACE,
    *,
    tokens: Tokens | None = None,
    checking: Checking | None = None,
    trusted_proxies: Sequence[Network] = (),
    disabled: Mapping[str, str] = MappingProxyType({}),
    hook: Callable[[str], Hook | None] = lambda _source: None,
) -> AsyncIterator[Running]:
    """Run a collector on a free port; stop it at the end and raise what it raised."""
    listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    stop, clock, metrics = asyncio.Event(), LeapingClock(), MemoryMetrics()
    troubles: list[str] = []
    keys = {"demo": "web", "app-key": "app"} if host == "127.0.0.1" else {"app-key": "app"}
    task = asyncio.create_task(
        serve_collector(
            host=host,
            port=0,
            producer=producer,
            workspace=lambda: workspace,
            keys=lambda: WriteKeys(keys, disabled),
            tokens=tokens,
            checking=checking,
            trusted_proxies=trusted_proxies,
            hook=hook,
            metrics=metrics,
            clock=clock,
            routes=routes or {},
            stop=stop,
            listening=listening.set_result,
            troubled=troubles.append,
        )
    )
    await asyncio.wait((task, listening), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    try:
        yield Running(listening.result(), task, stop, keys, clock, metrics, troubles)
    finally:
        stop.set()
        await asyncio.wait_for(task, 20)


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """A kept-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> Answer:
        """Read one answer."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, body)

    async def ask(self, line: str, *headers: str, body: bytes = b"") -> Answer:
        """Send a request whose body has a declared length, and read its answer."""
        length = [f"content-length: {len(body)}"] if body or line.startswith("POST") else []
        self.writer.write("\r\n".join([f"{line} HTTP/1.1", "host: localhost", *headers, *length, "", ""]).encode() + body)
        await self.writer.drain()
        return await self.answer()


@contextlib.asynccontextmanager
async def connection(port: int, host: str = "127.0.0.1") -> AsyncIterator[Connection]:
    """Open a connection and close it at the end."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ask(port: int, line: str, *headers: str, body: bytes = b"") -> Answer:
    """Send one request on a connection of its own."""
    async with connection(port) as only:
        return await only.ask(line, *headers, body=body)
