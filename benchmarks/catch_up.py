"""How fast a pipeline catches up after a stop, while new events go on coming, and what its processes take in memory meanwhile.

Run: `python -m benchmarks.catch_up [--json]`. Events go into `raw` at 500 a second; the processes of the topology are ended, started again after a
while, and have caught up once what was written has arrived at the webhook up to a second's inflow. Budget: at least three times the inflow, from the
moment that all processes are ready; memory of each at most 200 MB.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import orjson
import psutil
import uvloop

from benchmarks.cluster import Cluster, Running, cluster, rounded, running, shop_bodies, turns_between
from benchmarks.latency import PROCESSES, one_webhook, ready_all, tool
from pipeline.model import ids
from pipeline.model.record import Output
from pipeline.model.topics import topic_name

TICK_SECONDS: Final = 0.1
WARM_SECONDS: Final = 4.0
DRAIN_SECONDS: Final = 240.0
"""Longest time to catch up; a slower pipeline is reported as not caught up."""
DIFFERENT: Final = 20_000


class Inflow:
    """Writes track events to `raw` at a steady rate.

    Args:
        ready: Where.
        rate: Events a second.

    Attributes:
        written: How many are stored.
    """

    def __init__(self, ready: Cluster, rate: float) -> None:
        self._ready = ready
        self._rate = rate
        self.written = 0

    async def run(self) -> None:
        """Write until cancelled; a late turn writes more."""
        producer = self._ready.broker.producer()
        topic = topic_name(self._ready.prefix, "raw")
        tracks = [body for body in shop_bodies(DIFFERENT) if body.startswith(b'{"type":"track"')]
        names = [orjson.loads(body)["messageId"].encode() for body in tracks]
        keys = [ids.event_key(orjson.loads(body)) for body in tracks]
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            while True:
                outputs = []
                for number in range(self.written, int((loop.time() - began) * self._rate)):
                    which = number % len(tracks)
                    body = tracks[which].replace(names[which], b"catch-up-%012d" % number, 1)
                    outputs.append(Output(topic, keys[which], body, (("source", b"web"),)))
                if outputs:
                    await producer.send(outputs)
                    self.written += len(outputs)
                await asyncio.sleep(TICK_SECONDS)
        finally:
            await producer.stop()


@asynccontextmanager
async def _pipeline(ready: Cluster, topology: str, environment: dict[str, str], start: int) -> AsyncIterator[list[Running]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running(ready, topology, names, f"{names[0]}-{start}", environment)) for names in PROCESSES[topology]]


async def _drained(inflow: Inflow, arrived: dict[str, float], rate: float, processes: list[Running], names: list[str]) -> tuple[bool, dict[str, int]]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + DRAIN_SECONDS
    most = dict.fromkeys(names, 0)
    while inflow.written - len(arrived) > rate and loop.time() < deadline:
        for name, process in zip(names, processes, strict=True):
            most[name] = max(most[name], psutil.Process(process.process.pid).memory_info().rss)
        await asyncio.sleep(TICK_SECONDS)
    return inflow.written - len(arrived) <= rate, most


async def measure(topology: str, rate: float, stopped_seconds: float) -> dict[str, Any]:
    """Stop a pipeline, start it again and let it catch up.

    Args:
        topology: `default` or `fused`.
        rate: Events a second that come all the time.
        stopped_seconds: How long the processes are gone.

    Returns:
        The backlog, the times to be ready and to catch up, events a second meanwhile, and the most memory of each process.
    """
    loop = asyncio.get_running_loop()
    arrived: dict[str, float] = {}
    names = [one[0] for one in PROCESSES[topology]]
    async with cluster() as bare, tool(arrived, []) as environment:
        ready = await bare.publish(one_webhook(bare.workspace), 4, topology)
        inflow = Inflow(ready, rate)
        writing = asyncio.create_task(inflow.run())
        try:
            async with _pipeline(ready, topology, environment, 1) as processes:
                await ready_all(processes)
                await asyncio.sleep(WARM_SECONDS)
            await asyncio.sleep(stopped_seconds)
            async with _pipeline(ready, topology, environment, 2) as processes:
                began = loop.time()
                await ready_all(processes)
                early = [await process.usage() for process in processes]
                started, before, backlog = loop.time(), len(arrived), inflow.written - len(arrived)
                caught_up, most = await _drained(inflow, arrived, rate, processes, names)
                ended, after = loop.time(), len(arrived)
                late = [await process.usage() for process in processes]
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
    return rounded(
        {
            "topology": topology,
            "inflow": rate,
            "stopped_seconds": stopped_seconds,
            "backlog": backlog,
            "ready_seconds": started - began,
            "caught_up": caught_up,
            "drain_seconds": ended - started,
            "events_per_second": (after - before) / (ended - started),
            "times_the_inflow": (after - before) / (ended - started) / rate,
            "rss_mb": {name: round(rss / 1e6, 1) for name, rss in most.items()},
            **turns_between(early, late),
        }
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topology", choices=tuple(PROCESSES), default="fused")
    parser.add_argument("--rate", type=float, default=500.0, help="events a second that come all the time")
    parser.add_argument("--stopped", type=float, default=40.0, help="seconds without processes")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(arguments.topology, arguments.rate, arguments.stopped))
    print(orjson.dumps(found).decode() if arguments.json else "\n".join(f"{name:20} {value}" for name, value in found.items()))


if __name__ == "__main__":
    main()
