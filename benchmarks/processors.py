"""CPU time, throughput and memory of processors on a real Kafka: consumed, judged, written and committed, exactly once.

Run: `python -m benchmarks.processors [--json]`. Events of the demo shop, about 1 KB each, lie in `raw` before the first process starts, so that each
stage works off a backlog. Measured once the first fifth is done: what starting costs is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any, Final

import orjson
import psutil
import uvloop

from benchmarks.cluster import Cluster, cluster, rounded, running, shop_bodies

WARM: Final = 0.2
"""Part of the input before the first reading."""
STAGES: Final = {
    "fused": (("fused", ("prepare",)),),
    "default": (("default", ("validate",)), ("default", ("enrich",)), ("default", ("filter",))),
}


async def stage(cluster: Cluster, topology: str, processors: Sequence[str], events: int, wrap: Sequence[str] = ()) -> dict[str, Any]:
    """Run one process over a backlog.

    Args:
        cluster: A cluster whose input topic holds the events.
        topology: Name of the topology.
        processors: The processors to run, whose first reads the backlog.
        events: How many there are.
        wrap: Command that the process is started by.

    Returns:
        Its figures, for each event after the warm part.
    """
    broker = psutil.Process(cluster.pid)
    async with running(cluster, topology, processors, "-".join(processors), wrap=wrap) as process:
        before = await process.until(int(events * WARM))
        broker_before = sum(broker.cpu_times()[:2])
        after = await process.until(events)
        broker_after = sum(broker.cpu_times()[:2])
    count = after.records - before.records
    wall, seconds = after.wall - before.wall, after.seconds - before.seconds
    return rounded(
        {
            "processors": "+".join(processors),
            "events": count,
            "cpu_us": seconds / count * 1e6,
            "events_per_core_second": count / seconds,
            "events_per_second": count / wall,
            "broker_cpu_us": (broker_after - broker_before) / count * 1e6,
            "transactions_per_second": (after.transactions - before.transactions) / wall,
            "rss_mb": after.rss / 1e6,
            "sockets": after.sockets,
        }
    )


async def measure(topology: str, events: int, *, size: int = 0, partitions: int = 4, wrap: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Fill `raw` and run the stages of a topology one after the other.

    Args:
        topology: `fused` or `default`.
        events: How many.
        size: Bytes that an event is filled up to, or 0.
        partitions: Of the topics that hold events.
        wrap: Command that each process is started by.

    Returns:
        The figures of each stage.
    """
    async with cluster() as bare:
        ready = await bare.publish(bare.workspace, partitions, topology)
        count = await ready.fill(shop_bodies(events, size))
        return [await stage(ready, name, processors, count, wrap) for name, processors in STAGES[topology]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topology", choices=tuple(STAGES), action="append")
    parser.add_argument("--events", type=int, default=150_000)
    parser.add_argument("--size", type=int, default=0, help="bytes that events are filled up to")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--wrap", default="", help="command that each process is started by, such as a profiler")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for topology in arguments.topology or tuple(STAGES):
            run = measure(topology, arguments.events, size=arguments.size, partitions=arguments.partitions, wrap=arguments.wrap.split())
            for figures in runner.run(run):
                text = orjson.dumps({"topology": topology, **figures}).decode()
                print(text if arguments.json else ", ".join(f"{name} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
