"""CPU time, throughput and memory of processors on a real Kafka: consumed, judged, written and committed, exactly once.

Run: `python -m benchmarks.processors [--json]`. Events of the demo shop, about 1 KB each, lie in `raw` before the first process starts, so that each
stage works off a backlog. Measured once the first fifth is done: what starting costs is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final, NamedTuple

import orjson
import psutil
import uvloop

from benchmarks.cluster import LOOK_SECONDS, PATIENCE_SECONDS, Cluster, Running, Usage, cluster, rounded, running, shop_bodies, turns_between
from benchmarks.latency import tool
from pipeline.model.workspace import Workspace

WARM: Final = 0.2
"""Part of the input before the first reading."""
TIRED: Final = 0.9
"""Part of the input before the second one: as much is judged and not committed yet, and so not counted, as at the first."""
STAGES: Final = {"fused": ("prepare", "translate", "lake"), "default": ("validate", "enrich", "filter")}
DELIVER: Final = "deliver"
DELIVERED: Final = 24_000
"""Requests of which a run of deliver is measured, of those that translate wrote; the tool that takes them is this process."""
ROUTES: Final = 3
"""Destinations that an event goes to, however many there are."""


class Shape(NamedTuple):
    """What a run is made of.

    Attributes:
        topology: `fused` or `default`.
        events: How many.
        size: Bytes that an event is filled up to, or 0.
        partitions: Of the topics that hold events.
        processes: How many share the work of each stage.
        schemas: How many of its track events the source has schemas for.
        destinations: How many there are; each event is routed to three. 0 leaves the demo workspace's two.
        stages: Processors to run, each from the backlog of the one before.
    """

    topology: str = "fused"
    events: int = 150_000
    size: int = 0
    partitions: int = 4
    processes: int = 1
    schemas: int = 0
    destinations: int = 0
    stages: tuple[str, ...] = ()


def workspace_of(shape: Shape, workspace: Workspace) -> Workspace:
    """Declare as many schemas and destinations as a run asks for.

    Args:
        shape: The run.
        workspace: The demo workspace.

    Returns:
        The workspace of the run.
    """
    web = workspace.sources["web"]
    if shape.schemas:
        schema = {"type": "object", "properties": {"properties": {"type": "object", "properties": {"price": {"type": "number"}}}}}
        named = ("Product Viewed", "Product Clicked", "Product List Viewed", "Order Completed")
        events = [*named, *(f"Event {number}" for number in range(shape.schemas))][: shape.schemas]
        workspace = replace(workspace, sources={**workspace.sources, "web": replace(web, schemas=dict.fromkeys(events, schema))})
    if shape.destinations:
        crm = workspace.destinations["crm"]
        many = {f"tool-{number:03d}": replace(crm, id=f"tool-{number:03d}") for number in range(shape.destinations)}
        others = {name: replace(one, sources=("app",)) for name, one in list(many.items())[ROUTES:]}
        workspace = replace(workspace, destinations={**many, **others})
    return workspace


async def _taken(processes: Sequence[Running], records: int) -> list[Usage]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_SECONDS
    while True:
        usages = [await process.usage() for process in processes]
        taken = sum(usage.records for usage in usages)
        if taken >= records:
            return usages
        if loop.time() > deadline or any(process.process.returncode is not None for process in processes):
            raise RuntimeError(f"{taken} of {records} records were taken, and then no more")
        await asyncio.sleep(LOOK_SECONDS)


async def stage(cluster: Cluster, shape: Shape, processor: str, events: int, wrap: Sequence[str] = ()) -> dict[str, Any]:
    """Run one stage over a backlog; deliver sends to a tool in this process.

    Args:
        cluster: A cluster whose input topic holds the events.
        shape: The run.
        processor: The processor.
        events: How many there are.
        wrap: Command that each process is started by.

    Returns:
        Its figures, for each event between the two readings.

    Raises:
        RuntimeError: It took no more records, or all of them between two readings.
    """
    broker = psutil.Process(cluster.pid)
    async with AsyncExitStack() as stack:
        names = [f"{processor}-{number}" for number in range(shape.processes)]
        own = await stack.enter_async_context(tool({}, [])) if processor == DELIVER else None
        work = [processor, "retry"] if processor == DELIVER else [processor]
        processes = [await stack.enter_async_context(running(cluster, shape.topology, work, name, own, wrap)) for name in names]
        before = await _taken(processes, int(events * WARM))
        broker_before = sum(broker.cpu_times()[:2])
        after = await _taken(processes, int(events * TIRED))
        broker_after = sum(broker.cpu_times()[:2])
        last = await _taken(processes, events)

    def gained(name: str) -> float:
        return float(sum(getattr(one, name) for one in after) - sum(getattr(one, name) for one in before))

    count, wall, seconds = gained("records"), after[0].wall - before[0].wall, gained("seconds")
    if not count or not seconds:
        raise RuntimeError(f"{processor} worked off {events} records between two looks: more are needed to measure it")
    return rounded(
        {
            "topology": shape.topology,
            "processor": processor,
            "events": int(count),
            "cpu_us": seconds / count * 1e6,
            "events_per_core_second": count / seconds,
            "events_per_second": count / wall,
            "broker_cpu_us": (broker_after - broker_before) / count * 1e6,
            "transactions_per_second": gained("transactions") / wall,
            "rss_mb": max(one.rss for one in after) / 1e6,
            "sockets": sum(one.sockets for one in after),
            "requests": sum(one.requests for one in last),
            **turns_between(before, after),
        }
    )


async def measure(shape: Shape, wrap: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Fill `raw` and run the stages of a topology one after the other.

    Args:
        shape: The run.
        wrap: Command that each process is started by.

    Returns:
        The figures of each stage.
    """
    async with cluster() as bare:
        return await measure_on(bare, shape, wrap)


async def measure_on(bare: Cluster, shape: Shape, wrap: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Fill `raw` and run the stages, on a broker that runs.

    Args:
        bare: The broker, without topics of this workspace.
        shape: The run.
        wrap: Command that each process is started by.

    Returns:
        The figures of each stage.
    """
    ready = await bare.publish(workspace_of(shape, bare.workspace), shape.partitions, shape.topology)
    count = await ready.fill(shop_bodies(shape.events, shape.size))
    found: list[dict[str, Any]] = []
    for processor in shape.stages or STAGES[shape.topology]:
        records = min(found[-1]["requests"], DELIVERED) if processor == DELIVER else count
        found.append(await stage(ready, shape, processor, records, wrap))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Shape()
    parser.add_argument("--topology", choices=tuple(STAGES), default=default.topology)
    parser.add_argument("--events", type=int, default=default.events)
    parser.add_argument("--size", type=int, default=0, help="bytes that events are filled up to")
    parser.add_argument("--partitions", type=int, default=default.partitions)
    parser.add_argument("--processes", type=int, default=1, help="how many share each stage")
    parser.add_argument("--schemas", type=int, default=0, help="how many of its track events the source has schemas for")
    parser.add_argument("--destinations", type=int, default=0, help="how many there are; each event goes to three")
    parser.add_argument("--stage", action="append", default=[], help="processor to run; all of the topology's unless given")
    parser.add_argument("--wrap", default="", help="command with its path that each process is started by, such as a profiler")
    parser.add_argument("--json", action="store_true")
    given = vars(parser.parse_args())
    as_json, wrap, stages = given.pop("json"), given.pop("wrap").split(), tuple(given.pop("stage"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(Shape(**given, stages=stages), wrap))
    if as_json:
        print(orjson.dumps(found).decode())
        return
    for figures in found:
        print(", ".join(f"{name} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
