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
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

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
LATE_SECONDS: Final = 10.0
"""How long arrivals are waited for after the last event was sent."""
_AUTHORIZATION: Final = base64.b64encode(b"demo:").decode()


class Receiver(asyncio.Protocol):
    """The tool: notes when each message arrives and says 200.

    Args:
        arrived: Gets the time of each message's first arrival, by its id.
    """

    def __init__(self, arrived: dict[str, float]) -> None:
        self._arrived = arrived
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
            body = orjson.loads(self._buffer[end + 4 : end + 4 + length])
            self._arrived.setdefault(body["messageId"], time.monotonic())
            self._buffer = self._buffer[end + 4 + length :]
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


async def _send(port: int, bodies: list[bytes], rate: float, answered: dict[str, float]) -> None:
    began = time.monotonic()
    place = 0

    async def connection() -> None:
        nonlocal place
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while place < len(bodies):
            mine, place = place, place + 1
            await asyncio.sleep(max(0.0, began + mine / rate - time.monotonic()))
            body = bodies[mine]
            head = f"POST /v1/track HTTP/1.1\r\nhost: a\r\nauthorization: Basic {_AUTHORIZATION}\r\ncontent-type: application/json\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            await reader.readexactly(length)
            if answer.startswith(b"HTTP/1.1 200"):
                answered[orjson.loads(body)["messageId"]] = time.monotonic()
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))


async def ready_all(processes: list[Running]) -> None:
    """Wait until all of them take records, or requests."""
    async with asyncio.timeout(120):
        for process in processes:
            while not await process.is_ready():  # noqa: ASYNC110 (another process tells nobody)
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
    answered: dict[str, float] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Receiver(arrived), "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    tracks = (body for body in shop_bodies(int(rate * (seconds + WARM_SECONDS) * 2)) if body.startswith(b'{"type":"track"'))
    bodies = [body for body, _ in zip(tracks, range(int(rate * (seconds + WARM_SECONDS))), strict=False)]
    warm = int(rate * WARM_SECONDS)
    async with cluster() as bare, AsyncExitStack() as stack:
        ready: Cluster = await bare.publish(one_webhook(bare.workspace), 4, topology)
        own = {**os.environ, RECEIVER: address, SECRET: "whsec_" + base64.b64encode(b"benchmark-benchmark-benchmark").decode()}
        names = [("collector",), *PROCESSES[topology]]
        processes = [await stack.enter_async_context(running(ready, topology, name, name[0], own)) for name in names]
        await ready_all(processes)
        await _send(processes[0].port, bodies[:warm], rate, answered)
        answered.clear()
        broker = -seconds_of(ready.pid)
        before = [await process.usage() for process in processes]
        await _send(processes[0].port, bodies[warm:], rate, answered)
        after = [await process.usage() for process in processes]
        broker += seconds_of(ready.pid)
        deadline = time.monotonic() + LATE_SECONDS
        while not answered.keys() <= arrived.keys() and time.monotonic() < deadline:  # noqa: ASYNC110 (the receiver only notes)
            await asyncio.sleep(0.1)
    server.close()
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
