"""From the collector's 200 to the arrival at a webhook, at a steady rate, through every process of a topology.

Run: `python -m benchmarks.latency [--json]`. One webhook destination, single events over HTTP, 4 partitions. Sender and receiver share this process,
so that both ends are timed by one clock. Budgets at 1,000 events/s, on a machine with cores for it: p99 of 400 ms (default), 120 ms (fused).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import statistics
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import islice
from typing import Any, Final, NamedTuple

import orjson
import uvloop

from benchmarks.cluster import Cluster, Running, cluster, rounded, running, seconds_of, shop_bodies
from pipeline.app.demo_workspace import RECEIVER, SECRET
from pipeline.model.workspace import Workspace

PROCESSES: Final[Mapping[str, tuple[tuple[str, ...], ...]]] = {
    "default": (("validate",), ("enrich",), ("filter",), ("translate",), ("deliver", "retry")),
    "fused": (("prepare",), ("translate",), ("deliver", "retry")),
}
CONNECTIONS: Final = 32
WARM_SECONDS: Final = 5.0
READY_SECONDS: Final = 120
LATE_SECONDS: Final = 10.0
"""How long arrivals are waited for after the last event was sent."""
_AUTHORIZATION: Final = base64.b64encode(b"demo:").decode()


class Receiver(asyncio.Protocol):
    """The tool: notes when each message arrives and says 200.

    Args:
        arrived: Gets the time of each message's first arrival, by its id.
        again: Gets the ids of those that arrive again.
    """

    def __init__(self, arrived: dict[str, float], again: list[str]) -> None:
        self._arrived = arrived
        self._again = again
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every whole request."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(self._buffer) < end + 4 + length:
                return
            name = orjson.loads(self._buffer[end + 4 : end + 4 + length])["messageId"]
            if name in self._arrived:
                self._again.append(name)
            else:
                self._arrived[name] = time.monotonic()
            self._buffer = self._buffer[end + 4 + length :]
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


class Sent(NamedTuple):
    """A request to the collector.

    Attributes:
        path: Of the endpoint.
        body: What is sent.
        names: Ids of its messages.
    """

    path: str
    body: bytes
    names: tuple[str, ...]


def requests_of(bodies: Iterable[bytes], batch: int) -> list[Sent]:
    """Make requests of track events.

    Args:
        bodies: The events.
        batch: How many a request carries.

    Returns:
        Requests of one event each, or of a batch.
    """
    events = iter(bodies)
    made = []
    while some := list(islice(events, batch)):
        names = tuple(orjson.loads(body)["messageId"] for body in some)
        made.append(Sent("/v1/track", some[0], names) if batch == 1 else Sent("/v1/batch", b'{"batch":[' + b",".join(some) + b"]}", names))
    return made


async def send(port: int, requests: Sequence[Sent], rate: float, answered: dict[str, float]) -> None:
    """Send requests at a rate; a later one waits where all connections wait for answers.

    Args:
        port: Of the collector.
        requests: What to send.
        rate: Requests a second.
        answered: Gets the time of the 200 of each message.
    """
    began = time.monotonic()
    place = 0

    async def connection() -> None:
        nonlocal place
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while place < len(requests):
            mine, place = place, place + 1
            await asyncio.sleep(max(0.0, began + mine / rate - time.monotonic()))
            path, body, names = requests[mine]
            head = f"POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Basic {_AUTHORIZATION}\r\ncontent-type: application/json\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            if answer.startswith(b"HTTP/1.1 200"):
                answered.update(dict.fromkeys(names, time.monotonic()))
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))


@asynccontextmanager
async def tool(arrived: dict[str, float], again: list[str]) -> AsyncIterator[dict[str, str]]:
    """Run the tool in this process.

    Args:
        arrived: Gets the time of each message's first arrival, by its id.
        again: Gets the ids of those that arrive again.

    Yields:
        The environment of processes that deliver to it.
    """
    server = await asyncio.get_running_loop().create_server(lambda: Receiver(arrived, again), "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield {**os.environ, RECEIVER: address, SECRET: "whsec_" + base64.b64encode(b"benchmark-benchmark-benchmark").decode()}
    finally:
        server.close()


def track_bodies(count: int) -> list[bytes]:
    """Give track events of the demo shop, each about 1 KB: each becomes one request of the webhook."""
    return list(islice((body for body in shop_bodies(3 * count) if body.startswith(b'{"type":"track"')), count))


async def ready_all(processes: list[Running]) -> None:
    """Wait until all of them take records, or requests.

    Raises:
        RuntimeError: One does not; with what it said last.
    """
    deadline = time.monotonic() + READY_SECONDS
    for process in processes:
        while not await process.is_ready():
            await process.usage()  # raises where it has ended
            if time.monotonic() > deadline:
                raise RuntimeError(f"a process is not ready after {READY_SECONDS} s: {process.last_words()}")
            await asyncio.sleep(0.2)


def one_webhook(workspace: Workspace) -> Workspace:
    """Leave a workspace one webhook and no storage, so that each track event becomes one request."""
    return replace(workspace, destinations={"crm": workspace.destinations["crm"]}, storage={})


async def measure(topology: str, rate: float, seconds: float) -> dict[str, Any]:
    """Send at a rate and measure each event's way.

    Args:
        topology: `default` or `fused`.
        rate: Events a second.
        seconds: How long, after five seconds to get warm.

    Returns:
        Latency in milliseconds, what arrived; CPU of all our processes and of the broker for each event; transactions a second and cores by process.
    """
    arrived: dict[str, float] = {}
    again: list[str] = []
    answered: dict[str, float] = {}
    requests = requests_of(track_bodies(int(rate * (seconds + WARM_SECONDS))), 1)
    warm = int(rate * WARM_SECONDS)
    async with tool(arrived, again) as own, cluster() as bare, AsyncExitStack() as stack:
        ready: Cluster = await bare.publish(one_webhook(bare.workspace), 4, topology)
        names = [("collector",), *PROCESSES[topology]]
        processes = [await stack.enter_async_context(running(ready, topology, name, name[0], own)) for name in names]
        await ready_all(processes)
        await send(processes[0].port, requests[:warm], rate, answered)
        answered.clear()
        broker = -seconds_of(ready.pid)
        before = [await process.usage() for process in processes]
        await send(processes[0].port, requests[warm:], rate, answered)
        after = [await process.usage() for process in processes]
        broker += seconds_of(ready.pid)
        deadline = time.monotonic() + LATE_SECONDS
        while not answered.keys() <= arrived.keys() and time.monotonic() < deadline:  # noqa: ASYNC110 (the receiver only notes)
            await asyncio.sleep(0.1)
    took = sorted((arrived[name] - at) * 1000 for name, at in answered.items() if name in arrived)
    wall = after[0].wall - before[0].wall
    used = {name[0]: late.seconds - early.seconds for name, early, late in zip(names, before, after, strict=True)}
    commits = {name[0]: late.transactions - early.transactions for name, early, late in zip(names, before, after, strict=True)}
    return rounded(
        {
            "topology": topology,
            "events_per_second": len(answered) / wall,
            "acknowledged": len(answered),
            "not_arrived_in_time": len(answered) - len(took),
            "arrived_again": len(again),
            "p50_ms": statistics.median(took),
            "p99_ms": took[int(len(took) * 0.99)],
            "cpu_us_an_event": sum(used.values()) * 1e6 / len(answered),
            "cpu_us_an_event_in_the_broker": broker * 1e6 / len(answered),
            "transactions_per_second": {name: round(count / wall, 1) for name, count in commits.items() if name != "collector"},
            "cores": {name: round(seconds / wall, 2) for name, seconds in used.items()} | {"broker": round(broker / wall, 2)},
        }
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topology", choices=tuple(PROCESSES), action="append")
    parser.add_argument("--rate", type=float, default=1000.0, help="events a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for topology in arguments.topology or tuple(PROCESSES):
            figures = runner.run(measure(topology, arguments.rate, arguments.seconds))
            print(orjson.dumps(figures).decode() if arguments.json else ", ".join(f"{name} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
