"""CPU and latency of the collector, a process of its own before a real Kafka, under a compiled load generator (oha).

Run: `python -m benchmarks.ingest [--json]`. Each event has about 1 KB and is stored (`acks=all`) before it is answered. Every kind of request comes
over 1, 16 and 256 connections; then single events at 2,000 requests a second, and the same beside a broker that other writers keep busy.
What happens when the broker stops is `python -m benchmarks.stopped_broker`. Budgets: 50 µs of CPU for a single event, 10 µs for an event in a batch
of 100, 12,000 events/s on a core, and at 2,000 requests/s a p99 of 25 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import itertools
import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import uvloop

from benchmarks import generator
from benchmarks.cluster import Cluster, Running, cluster, rounded, running, seconds_of, shop_bodies, turns_between
from benchmarks.generator import Load
from pipeline.model import ids
from pipeline.model.record import Output
from pipeline.model.topics import Declared

BATCH: Final = 100
DIFFERENT: Final = {1: 4_000, BATCH: 60}
"""Bodies of each kind: their keys lie in all partitions."""
CONNECTIONS: Final = (1, 16, 256)
RATE: Final = 2_000.0
RATE_CONNECTIONS: Final = 64
BUSY_EVENTS: Final = 15_000
"""Events of 1 KB a second that other writers put on a busy broker."""
READY_SECONDS: Final = 60


class Kind(NamedTuple):
    """A kind of request.

    Attributes:
        batch: Events of a request.
        keep_alive: Whether a connection serves more than one request.
        compressed: Whether the body is gzip.
    """

    batch: int
    keep_alive: bool
    compressed: bool

    @property
    def label(self) -> str:
        """What a table calls it."""
        parts = ["single events" if self.batch == 1 else f"batches of {self.batch}", "" if self.keep_alive else "a connection each"]
        return ", ".join([part for part in (*parts, "gzip" if self.compressed else "") if part])


KINDS: Final = tuple(itertools.starmap(Kind, itertools.product((1, BATCH), (True, False), (False, True))))


def write_bodies(folder: Path) -> dict[tuple[int, bool], Path]:
    """Write the bodies of all kinds of requests.

    Args:
        folder: Where.

    Returns:
        The files, by events of a request and whether they are gzip.
    """
    written: dict[tuple[int, bool], Path] = {}
    for batch, different in DIFFERENT.items():
        events = shop_bodies(batch * different)
        bodies = [next(events) if batch == 1 else b'{"batch":[' + b",".join(itertools.islice(events, batch)) + b"]}" for _ in range(different)]
        plain, packed = folder / f"{batch}.lines", folder / f"{batch}.gz"
        plain.write_bytes(b"\n".join(bodies) + b"\n")
        packed.write_bytes(gzip.compress(bodies[0], 6))
        written |= {(batch, False): plain, (batch, True): packed}
    return written


def load_of(kind: Kind, files: dict[tuple[int, bool], Path], connections: int, seconds: float, rate: float | None = None) -> Load:
    """Give the generator's run of a kind of request.

    Args:
        kind: The kind.
        files: What `write_bodies` gives.
        connections: How many at once.
        seconds: How long.
        rate: Requests a second, or None for as many as are answered.

    Returns:
        The run.
    """
    path = "/v1/batch" if kind.batch > 1 else "/v1/track"
    return Load(path, files[kind.batch, kind.compressed], connections, seconds, kind.keep_alive, kind.compressed, rate)


async def _measured(collector: Running, broker: int, kind: Kind, load: Load) -> dict[str, Any]:
    before, broker_before = await collector.usage(), seconds_of(broker)
    came = await generator.generate(load, collector.port)
    after, broker_after = await collector.usage(), seconds_of(broker)
    events = came.stored * kind.batch
    if not events:
        raise RuntimeError(f"{kind.label}: nothing was stored: {came.others}")
    return rounded(
        {
            "kind": kind.label,
            "batch": kind.batch,
            "keep_alive": kind.keep_alive,
            "gzip": kind.compressed,
            "connections": load.connections,
            "rate": load.rate,
            "events": events,
            "refused": came.others,
            "cpu_us": (after.seconds - before.seconds) / events * 1e6,
            "events_per_core_second": events / (after.seconds - before.seconds),
            "events_per_second": events / (after.wall - before.wall),
            "broker_cpu_us": (broker_after - broker_before) / events * 1e6,
            "p50_ms": came.p50_ms,
            "p99_ms": came.p99_ms,
            "rss_mb": after.rss / 1e6,
            **turns_between([before], [after]),
        }
    )


@asynccontextmanager
async def _busy(ready: Cluster) -> AsyncIterator[None]:
    """Keep the broker busy with a topic of its own, about a quarter of a second ahead of time at most."""
    topic = f"{ready.prefix}.busy-{uuid.uuid4().hex[:6]}"
    await ready.broker.admin().create([Declared(topic, 4, {})])
    producer = ready.broker.producer()
    bodies = list(shop_bodies(BUSY_EVENTS // 4))
    outputs = [Output(topic, ids.event_key(orjson.loads(body)), body) for body in bodies]

    async def write() -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await producer.send(outputs)
            due = max(due + 0.25, loop.time() - 0.25)
            await asyncio.sleep(max(0.0, due - loop.time()))

    writing = asyncio.create_task(write())
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await producer.stop()


def _matrix(kinds: tuple[Kind, ...]) -> Iterator[tuple[Kind, int]]:
    for kind in kinds:
        for connections in CONNECTIONS:
            yield kind, connections


async def measure(seconds: float, kinds: tuple[Kind, ...]) -> dict[str, Any]:
    """Measure the collector.

    Args:
        seconds: Of each kind over each number of connections; the runs at a rate take four times as long.
        kinds: Kinds of requests.

    Returns:
        The generator's version; figures of every kind; figures at the rate, beside an idle and a busy broker.
    """
    single = Kind(1, keep_alive=True, compressed=False)
    async with cluster() as bare:
        files = write_bodies(bare.home)
        ready = await bare.publish(bare.workspace, 4, "fused")
        async with running(ready, "fused", ["collector"], "collector") as collector:
            async with asyncio.timeout(READY_SECONDS):
                while not await collector.is_ready():  # noqa: ASYNC110 (another process tells nobody)
                    await asyncio.sleep(0.2)
            await generator.generate(load_of(single, files, 16, 1.0), collector.port)
            found = []
            for kind, connections in _matrix(kinds):
                print(f"  {kind.label}, {connections} connections …", file=sys.stderr, flush=True)
                found.append(await _measured(collector, ready.pid, kind, load_of(kind, files, connections, seconds)))
            at_rate = load_of(single, files, RATE_CONNECTIONS, seconds * 4, RATE)
            idle = await _measured(collector, ready.pid, single, at_rate)
            async with _busy(ready):
                busy = await _measured(collector, ready.pid, single, at_rate)
    return {"generator": generator.generator_version(), "closed_loop": found, "at_rate": {"idle": idle, "busy": busy}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each kind of request over each number of connections")
    parser.add_argument("--plain", action="store_true", help="only kept-alive connections without gzip")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if generator.program() is None:
        sys.exit(generator.MISSING)
    kinds = tuple(kind for kind in KINDS if not arguments.plain or (kind.keep_alive and not kind.compressed))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(arguments.seconds, kinds))
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    print(found["generator"])
    lines = {f"{one['kind']}, {one['connections']} connections": one for one in found["closed_loop"]}
    lines |= {f"{one['rate']:.0f} requests/s, broker {name}": one for name, one in found["at_rate"].items()}
    for what, one in lines.items():
        print(f"{what:58} {one['cpu_us']:6.1f} µs CPU an event, {one['events_per_second']:7.0f} events/s, ", end="")
        print(f"p50 {one['p50_ms']:.1f} ms, p99 {one['p99_ms']:.1f} ms {one['refused'] or ''}")


if __name__ == "__main__":
    main()
