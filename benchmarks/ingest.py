"""CPU of the collector for each event taken over HTTP (budgets: 50 µs for a single-event request, 10 µs for an event in a batch of 100).

Run: `python -m benchmarks.ingest` with a producer that stores nothing, or `python -m benchmarks.ingest --bootstrap HOST:PORT` with a real Kafka.

The collector runs in this process; a child process drives kept-alive connections over loopback, so that its CPU does not count. Counted is all CPU of
this process, threads of the server included, from the first to the last answer; a warm-up goes before. Each event has about 1 KB.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import sys
import time
import timeit
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson
import uvloop

from pipeline.app.collector import serve_collector
from pipeline.ingest import WriteKeys
from pipeline.model.record import Output
from pipeline.model.topics import declared_topics
from pipeline.model.workspace import Source, Workspace
from pipeline.ports.broker import Producer
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock
from pipeline.runtime.metrics.prometheus import PrometheusMetrics

HEAD = (
    "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Basic ZGVtbzo=\r\ncontent-type: application/json\r\n"
    "user-agent: bench\r\ncontent-length: {length}\r\n\r\n"
)


_ROUNDS = 3
"""Rounds of each shape; the one that cost least is printed, since what else runs on the machine only adds."""


class Figures(NamedTuple):
    """What one run cost."""

    events: int
    cpu_seconds: float
    wall_seconds: float
    p50_ms: float
    p99_ms: float


def event(number: int) -> dict[str, Any]:
    """Make a track call of about 1 KB."""
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"{number:08d}-9d3c-4b1a-8f59-1c9d0a1b2c3d",
        "userId": f"user-{number % 5000}",
        "anonymousId": f"{number % 5000:08x}-6b0e-4a53-b9be-94f4b7d1c0de",
        "timestamp": "2026-01-01T12:34:56.789Z",
        "sentAt": "2026-01-01T12:34:57.001Z",
        "properties": {
            "order_id": f"o-{number}",
            "total": 129.9,
            "currency": "EUR",
            "coupon": "WINTER",
            "products": [
                {"product_id": f"p-{k}", "sku": f"sku-{k}", "name": "A product with a name", "price": 43.3, "quantity": 1} for k in range(3)
            ],
        },
        "context": {
            "library": {"name": "analytics-python", "version": "2.4.0"},
            "page": {"url": "https://shop.example/checkout/thanks?utm_source=news", "path": "/checkout/thanks", "title": "Thank you"},
            "userAgent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
            "ip": "203.0.113.9",
            "locale": "de-DE",
        },
    }


def requests(batch: int, count: int) -> list[bytes]:
    """Make requests, each of one event or of a batch."""
    made = []
    for number in range(count):
        body = orjson.dumps(event(number)) if batch == 1 else orjson.dumps({"batch": [event(number * batch + k) for k in range(batch)]})
        made.append(HEAD.format(path="/v1/track" if batch == 1 else "/v1/batch", length=len(body)).encode() + body)
    return made


async def drive(port: int, batch: int, count: int, connections: int) -> None:
    """Send requests over kept-alive connections, wait for each answer, and print the latencies; runs in the child."""
    made = requests(batch, min(count, 2000))
    latencies: list[float] = []
    left = iter(range(count))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in left:
            began = time.perf_counter()
            writer.write(made[number % len(made)])
            head = await reader.readuntil(b'{"success":true}')
            assert head.startswith(b"HTTP/1.1 200")
            latencies.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(connections)))
    latencies.sort()
    sys.stdout.buffer.write(orjson.dumps([latencies[len(latencies) // 2] * 1000, latencies[len(latencies) * 99 // 100] * 1000]))


class Nowhere:
    """A producer that stores nothing: what is left is the collector's own work."""

    async def start(self) -> None:
        """Do nothing."""

    async def send(self, outputs: Sequence[Output]) -> None:
        """Take the time that a broker nearby takes."""
        await asyncio.sleep(0.002)

    async def stop(self) -> None:
        """Do nothing."""


def cpu_seconds() -> float:
    """Give the CPU time of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def measure(port: int, batch: int, count: int, connections: int) -> Figures:
    """Have a child send requests; the child makes them before it connects, but its start is not long enough to matter."""
    child = [
        sys.executable,
        "-m",
        "benchmarks.ingest",
        "--drive",
        str(port),
        "--batch",
        str(batch),
        "--count",
        str(count),
        "--connections",
        str(connections),
    ]
    cpu, wall = cpu_seconds(), time.perf_counter()
    process = await asyncio.create_subprocess_exec(*child, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    p50, p99 = orjson.loads(out)
    return Figures(batch * count, cpu_seconds() - cpu, time.perf_counter() - wall, p50, p99)


async def run(bootstrap: str | None, scale: float) -> None:
    """Run the collector and print a line for each shape of load."""
    workspace = Workspace(f"bench-{uuid.uuid4().hex[:6]}", sources={"web": Source("web", ("demo",))})
    producer: Producer = Nowhere()
    if bootstrap:
        broker = KafkaBroker(bootstrap)
        await broker.admin().create(declared_topics(workspace.name, destinations=(), dedup_processors=()))
        producer = broker.producer()
    await producer.start()
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    keys = WriteKeys({"demo": "web"})
    serving = asyncio.create_task(
        serve_collector(
            host="127.0.0.1",
            port=0,
            producer=producer,
            workspace=lambda: workspace,
            keys=lambda: keys,
            metrics=PrometheusMetrics(),
            clock=SystemClock(),
            routes={},
            stop=stop,
            listening=listening.set_result,
        )
    )
    port = await listening
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    text = orjson.dumps(event(0))
    parse = min(timeit.repeat(lambda: orjson.loads(text), number=1000, repeat=20)) * 1000
    print(f"producer: {'Kafka' if bootstrap else 'stores nothing'}; one event is {len(text)} bytes, which this machine parses in {parse:.1f} µs now")
    await measure(port, 1, int(2000 * scale), 32)
    for batch, count, connections, budget in ((1, 20_000, 64, 50), (1, 20_000, 16, 50), (100, 1000, 8, 10)):
        rounds = [await measure(port, batch, max(int(count * scale), connections), connections) for _ in range(_ROUNDS)]
        figures = min(rounds, key=lambda figures: figures.cpu_seconds)
        print(
            f"batch of {batch:3}, {connections:2} connections: {figures.cpu_seconds / figures.events * 1e6:5.1f} µs CPU an event (budget {budget}); "
            f"{figures.events / figures.wall_seconds:6.0f} events/s; answers p50 {figures.p50_ms:.1f} ms, p99 {figures.p99_ms:.1f} ms",
        )
    stop.set()
    await serving
    await producer.stop()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bootstrap", help="host:port of a Kafka broker")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the full load is sent")
    parser.add_argument("--drive", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--connections", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.drive:
        uvloop.run(drive(given.drive, given.batch, given.count, given.connections))
    else:
        uvloop.run(run(given.bootstrap, given.scale))


if __name__ == "__main__":
    main()
