"""Other engines beside our fused processor, in one run: the same broker, the same input, the same work.

Run: `python -m benchmarks.peers [--json] [--only kafka-streams]`. What each wrote is compared with ours event by event, as JSON values with their
headers, before a ratio is given. Kafka Streams does all of the work, exactly once; faust-streaming all but dedup, at least once; Kafka's own
performance tools only write and read the same events, which is the floor.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson
import uvloop

from benchmarks.cluster import cluster, shop_bodies
from benchmarks.peers import faust_streaming, kafka_streams, performance_tools
from benchmarks.peers.comparison import Given, NotRunError, agents_of, outcome, require_equal, run_ours
from pipeline.model.topics import topic_name

ENGINES: Final[dict[str, Callable[[Given, str], Awaitable[dict[str, Any]]]]] = {
    "kafka-streams": kafka_streams.run,
    "faust-streaming": faust_streaming.run,
}
FLOOR: Final = "performance-tools"


async def _one_of(name: str, given: Given, ours: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    output = await given.output(name)
    try:
        theirs = await ENGINES[name](given, output)
    except NotRunError as error:
        return {"not_run": str(error)}
    compared = require_equal(mine, await outcome(given.cluster, output))
    return {"compared": compared, **theirs, "ratio": round(ours["cpu_us"] / theirs["cpu_us"], 2)}


async def compare(events: int, only: str) -> dict[str, Any]:
    """Run ours and each peer.

    Args:
        events: How many, the same for all; figures are of the second half.
        only: Name of the one peer to run, or empty for all.

    Returns:
        Figures, ratio to ours and settings of each.

    Raises:
        RuntimeError: Outputs differ.
    """
    async with cluster() as bare:
        ready = await bare.publish(bare.workspace, 4, "fused")
        bodies = list(shop_bodies(events))
        routes = ",".join(sorted([*ready.workspace.destinations, *ready.workspace.storage]))
        count = await ready.fill(iter(bodies))
        given = Given(ready, count, agents_of(bodies[:20_000]), routes)
        found: dict[str, Any] = {"headrace": await run_ours(given), "peers": {}}
        mine = await outcome(ready, topic_name(ready.prefix, "routed"))
        for name in ENGINES:
            if only in {"", name}:
                found["peers"][name] = await _one_of(name, given, found["headrace"], mine)
        if only in {"", FLOOR}:
            try:
                found["floor"] = await performance_tools.run(given, bodies, await given.output(FLOOR))
            except NotRunError as error:
                found["floor"] = {"not_run": str(error)}
    return found


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=240_000)
    parser.add_argument("--only", choices=("", *ENGINES, FLOOR), default="")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(compare(arguments.events, arguments.only))
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    ours = found["headrace"]
    print(f"{'headrace':18} {ours['cpu_us']:6.1f} CPU µs an event, {ours['rss_mb']:.0f} MB")
    for name, one in found["peers"].items():
        if "not_run" in one:
            print(f"{name:18} not run: {one['not_run']}")
            continue
        print(f"{name:18} {one['cpu_us']:6.1f} CPU µs an event, {one['rss_mb']:.0f} MB; {one['guarantee']}; {one['compared']} events equal; ", end="")
        print(f"ours / its CPU: {one['ratio']}\n  " + ", ".join(f"{setting}={value}" for setting, value in one["settings"].items()))
    if floor := found.get("floor"):
        text = f"not run: {floor['not_run']}" if "not_run" in floor else f"write {floor['write_cpu_us']}, read {floor['read_cpu_us']} CPU µs an event"
        print(f"{FLOOR:18} {text}")


if __name__ == "__main__":
    main()
