"""One worker of the collector beside several (`headrace run collector --workers N`), before a real Kafka, under oha.

Run: `python -m benchmarks.workers [--workers 1 2] [--seconds 8] [--json]`. The broker and the generator are on the same machine and want cores
too, so more workers than free cores only show what they cost; how many cores workers and broker had is said.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Any, Final

import orjson
import psutil
import uvloop

from benchmarks import generator
from benchmarks.cluster import Cluster, cluster, rounded, running, seconds_of
from benchmarks.generator import Load
from benchmarks.ingest import BATCH, READY_SECONDS, write_bodies

CONNECTIONS: Final = 64


def _seconds(pid: int) -> list[float]:
    """Give the CPU seconds of a process and of each of its children, in the order of their ids."""
    process = psutil.Process(pid)
    return [seconds_of(pid), *(seconds_of(child.pid) for child in sorted(process.children(), key=lambda one: one.pid))]


async def _measured(ready: Cluster, workers: int, load: Load, batch: int) -> dict[str, Any]:
    async with running(ready, "fused", ["collector", "--workers", str(workers)], f"collector-{workers}") as collector:
        async with asyncio.timeout(READY_SECONDS):
            while not await collector.is_ready() or len(_seconds(collector.process.pid)) < (workers if workers > 1 else 0):  # noqa: ASYNC110 (others tell nobody)
                await asyncio.sleep(0.2)
        await generator.generate(load._replace(seconds=2.0), collector.port)
        loop = asyncio.get_running_loop()
        began, before, broker = loop.time(), _seconds(collector.process.pid), seconds_of(ready.pid)
        came = await generator.generate(load, collector.port)
        wall, after = loop.time() - began, _seconds(collector.process.pid)
    each = [late - early for early, late in zip(before, after, strict=True)]
    events = came.stored * batch
    return rounded(
        {
            "workers": workers,
            "batch": batch,
            "events": events,
            "events_per_second": events / wall,
            "cpu_us": sum(each) / events * 1e6,
            "cores_used": sum(each) / wall,
            "broker_cores_used": (seconds_of(ready.pid) - broker) / wall,
            "shares": [round(one / sum(each), 2) for one in (each[1:] or each)],
            "refused": came.others,
            "p50_ms": came.p50_ms,
            "p99_ms": came.p99_ms,
        }
    )


async def measure(counts: list[int], seconds: float) -> list[dict[str, Any]]:
    """Measure the collector.

    Args:
        counts: Numbers of workers.
        seconds: Of each load.

    Returns:
        Figures of each number of workers, for single events and for batches.
    """
    async with cluster() as bare:
        files = write_bodies(bare.home)
        ready = await bare.publish(bare.workspace, 4, "fused")
        loads = {1: Load("/v1/track", files[1, False], CONNECTIONS, seconds), BATCH: Load("/v1/batch", files[BATCH, False], CONNECTIONS, seconds)}
        return [await _measured(ready, workers, load, batch) for batch, load in loads.items() for workers in counts]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if generator.program() is None:
        sys.exit(generator.MISSING)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(arguments.workers, arguments.seconds))
    if arguments.json:
        print(orjson.dumps({"cores": os.cpu_count(), "generator": generator.generator_version(), "workers": found}).decode())
        return
    print(f"{os.cpu_count()} cores, {generator.generator_version()}, {CONNECTIONS} connections")
    for one in found:
        what = "single events" if one["batch"] == 1 else f"batches of {one['batch']}"
        print(f"{one['workers']} workers, {what:15} {one['events_per_second']:7.0f} events/s, {one['cpu_us']:5.1f} µs CPU an event, ", end="")
        print(f"{one['cores_used']:.2f} cores (broker {one['broker_cores_used']:.2f}), shares {one['shares']}, ", end="")
        print(f"p99 {one['p99_ms']:.0f} ms {one['refused'] or ''}")


if __name__ == "__main__":
    main()
