"""CPU time of an event on its whole way, of all our processes together: from an HTTP request at the collector to the delivered webhook and the lake.

Run: `python -m benchmarks.whole_way [--topology fused] [--json]`. Collector, processors, deliver and lake run as the processes that they are, before
a real Kafka, with 4 partitions and one webhook; track events of about 1 KB come at 2,000 a second, or at the highest of the rates below that the
machine holds: one where what was answered has arrived within two seconds of the last answer. A figure counts only if each event that was answered
with 200 arrived at the webhook once and lies in the lake once. Idle time is in it: processes are measured from the first request to the last arrival.
Budget: 200 µs. RudderStack's way to a Kafka destination took 812 µs at 2,000 events/s on the machine where that budget was set.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Final

import orjson
import uvloop

from benchmarks.cluster import Running, Usage, cluster, rounded, running, seconds_of, turns_between
from benchmarks.latency import PROCESSES, Sent, ready_all, requests_of, send, tool, track_bodies
from pipeline.model.workspace import Workspace

RATES: Final = (2_000.0, 1_500.0, 1_000.0, 500.0, 250.0)
BATCH: Final = 100
KINDS: Final = {"single events": 1, f"batches of {BATCH}": BATCH}
WARM_SECONDS: Final = 4.0
STEADY_SECONDS: Final = 2.0
"""How late the last event may arrive after the last answer where a rate is held."""
LATE_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.05
LAKE_LOOK_SECONDS: Final = 1.0
"""Each look costs the process that it looks at."""
LAKE: Final = "lake"


def _workspace(workspace: Workspace) -> Workspace:
    return replace(workspace, destinations={"crm": workspace.destinations["crm"]})


class Way:
    """The processes of a topology, and what came of the events that were sent.

    Args:
        processes: By name; `collector` and `lake` among them.
        arrived: When each message arrived at the webhook.
        again: Messages that arrived once more.
        broker: Process of the broker.
    """

    def __init__(self, processes: Mapping[str, Running], arrived: dict[str, float], again: list[str], broker: int) -> None:
        self._processes = processes
        self._arrived = arrived
        self._again = again
        self._broker = broker
        self._stored = 0
        self._bodies = iter(track_bodies(200_000))

    async def _usages(self) -> dict[str, Usage]:
        return {name: await process.usage() for name, process in self._processes.items()}

    async def _in_the_lake(self) -> Usage:
        deadline = time.monotonic() + LATE_SECONDS
        while (usage := await self._processes[LAKE].usage()).rows < self._stored and time.monotonic() < deadline:  # noqa: ASYNC110 (another process tells nobody)
            await asyncio.sleep(LAKE_LOOK_SECONDS)
        if usage.rows != self._stored:
            raise RuntimeError(f"{self._stored} events were answered with 200, and the lake holds {usage.rows}")
        return usage

    async def send(self, rate: float, batch: int, seconds: float) -> tuple[int, float, float]:
        """Send events and wait until each of them has arrived.

        Args:
            rate: Events a second.
            batch: Events of a request.
            seconds: How long.

        Returns:
            Events, seconds from the first request to the last answer, and from there to the last arrival.

        Raises:
            RuntimeError: An event was not stored, did not arrive, or arrived twice.
        """
        count = int(rate * seconds)
        requests: Sequence[Sent] = requests_of((next(self._bodies) for _ in range(count)), batch)
        answered: dict[str, float] = {}
        began = time.monotonic()
        await send(self._processes["collector"].port, requests, rate / batch, answered)
        ended = time.monotonic()
        self._stored += len(answered)
        while not answered.keys() <= self._arrived.keys() and time.monotonic() < ended + LATE_SECONDS:  # noqa: ASYNC110 (the receiver only notes)
            await asyncio.sleep(LOOK_SECONDS)
        missing = len(answered.keys() - self._arrived.keys())
        if missing or self._again or len(answered) < count:
            raise RuntimeError(
                f"of {count} events {len(answered)} were answered with 200, {missing} did not arrive, {len(self._again)} arrived twice"
            )
        return count, ended - began, max(0.0, max(self._arrived[name] for name in answered) - ended)

    async def steady_rate(self) -> float:
        """Find the highest rate that the machine holds.

        Returns:
            Events a second.

        Raises:
            RuntimeError: It holds none.
        """
        for rate in RATES:
            count, took, late = await self.send(rate, 1, WARM_SECONDS)
            if late <= STEADY_SECONDS and count / took >= 0.95 * rate:
                return rate
        raise RuntimeError(f"the machine does not hold {RATES[-1]:.0f} events/s")

    async def measure(self, rate: float, batch: int, seconds: float) -> dict[str, Any]:
        """Measure one kind of request.

        Args:
            rate: Events a second.
            batch: Events of a request.
            seconds: How long.

        Returns:
            CPU µs an event, together and by process, and turns of the loops.
        """
        await self._in_the_lake()
        before, broker = await self._usages(), -seconds_of(self._broker)
        count, took, late = await self.send(rate, batch, seconds)
        after = await self._usages()
        broker += seconds_of(self._broker)
        after[LAKE] = await self._in_the_lake()
        used = {name: (after[name].seconds - before[name].seconds) / count * 1e6 for name in after}
        return rounded(
            {
                "events": count,
                "offered": rate,
                "events_per_second": count / took,
                "last_arrival_seconds": late,
                "cpu_us": sum(used.values()) - used[LAKE],
                "cpu_us_with_lake": sum(used.values()),
                "cpu_us_by_process": {name: round(cost, 1) for name, cost in used.items()},
                "broker_cpu_us": broker / count * 1e6,
                "rss_mb": sum(usage.rss for usage in after.values()) / 1e6,
                **turns_between(list(before.values()), list(after.values())),
            }
        )


async def measure(topology: str, seconds: float) -> dict[str, Any]:
    """Run a topology and send it events one by one and in batches.

    Args:
        topology: `default` or `fused`.
        seconds: Of each kind of request.

    Returns:
        Figures by kind of request.
    """
    arrived: dict[str, float] = {}
    again: list[str] = []
    async with tool(arrived, again) as environment, cluster() as bare, AsyncExitStack() as stack:
        ready = await bare.publish(_workspace(bare.workspace), 4, topology)
        names = [("collector",), *PROCESSES[topology], (LAKE,)]
        processes = {name[0]: await stack.enter_async_context(running(ready, topology, name, name[0], environment)) for name in names}
        await ready_all(list(processes.values()))
        way = Way(processes, arrived, again, ready.pid)
        rate = await way.steady_rate()
        return {"topology": topology, "kinds": {kind: await way.measure(rate, batch, seconds) for kind, batch in KINDS.items()}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topology", choices=tuple(PROCESSES), default="fused")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each kind of request")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(arguments.topology, arguments.seconds))
    if arguments.json:
        print(orjson.dumps(found).decode())
        return
    for kind, one in found["kinds"].items():
        print(f"{found['topology']}, {kind}: " + ", ".join(f"{name} {value}" for name, value in one.items()))


if __name__ == "__main__":
    main()
