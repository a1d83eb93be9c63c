"""One of many tools dead, at a tenth of the traffic: the others do not feel it (test T37)."""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect
from collections.abc import Sequence
from itertools import cycle

import orjson
import pytest

from tests.conftest import Kafka
from tests.faults import hostile_tool as hostile
from tests.faults.delivery_trial import DeliveryTrial
from tests.faults.hostile_tool import HostileTool, Seen
from tests.faults.laws import Verdict, bounded
from tests.faults.proof import prove
from tests.faults.report import Row
from tests.faults.tool_laws import arrived, percentile, repeated_alike

pytestmark = [pytest.mark.faults, pytest.mark.integration]

TOOLS = int(os.environ.get("HEADRACE_FAULT_TOOLS", "100"))
"""How many destinations one process serves; 200 need a quiet machine to say anything of latencies."""
FEW = 12
"""How many in the trial of a broken build."""
RATE = 40
"""Requests a second in all."""
DEAD = "t0"
EVERY = 10
"""One request of so many is for the one that dies."""
DEADLINE = 3.0
PHASE_SECONDS = 8.0
CALM_MS = 500.0
CALM_SECONDS = 40.0
LOOK_SECONDS = 2.0
TICK = 0.05
BACKLOG = 300
"""Requests that come for the dead tool at once."""
GROWTH_MOST_MB = 20.0


class Load:
    """Requests at a steady rate, a tenth of them for one tool and the rest for the others in turn.

    Attributes:
        sent: Their ids.
    """

    def __init__(self, trial: DeliveryTrial, names: Sequence[str]) -> None:
        self._trial = trial
        self._others = cycle(name for name in names if name != DEAD)
        self._stopped = asyncio.Event()
        self.sent: list[str] = []

    async def run(self) -> None:
        """Send until stopped."""
        producer = self._trial.broker.producer()
        await producer.start()
        began = time.monotonic()
        number = 0
        while not self._stopped.is_set():
            due = int((time.monotonic() - began) * RATE)
            names = [DEAD if each % EVERY == 0 else next(self._others) for each in range(number, due)]
            requests = [(name, f"{name}-{each}", f"u{each % 50}") for each, name in enumerate(names, number)]
            await producer.send([self._trial.request(*one) for one in requests])
            self.sent += [ident for _, ident, _ in requests]
            number = due
            await asyncio.sleep(TICK)
        await producer.stop()

    def stop(self) -> None:
        """End it."""
        self._stopped.set()


def _latencies(seen: Sequence[Seen], begins: Sequence[float]) -> list[list[float]]:
    """Give how long requests took to the tools that live, in ms, by the phase in which they were made; the first try of each counts."""
    phases: list[list[float]] = [[] for _ in begins]
    for one in {one.id: one for one in reversed(seen) if one.path != f"/{DEAD}"}.values():
        made = orjson.loads(one.body)["sent"]
        if made >= begins[0]:
            phases[bisect(begins, made) - 1].append((one.at - made) * 1000)
    return phases


async def _until_calm(tool: HostileTool) -> None:
    """Let so many members find their places, and what waited meanwhile be sent, so that the first phase shows a steady load."""
    end = time.monotonic() + CALM_SECONDS
    while time.monotonic() < end:
        begin = time.monotonic()
        await asyncio.sleep(LOOK_SECONDS)
        (latencies,) = _latencies(tool.seen, [begin])
        if latencies and percentile(latencies, 0.99) < CALM_MS:
            return


@pytest.mark.fault("T37")
async def test_one_dead_tool_delays_no_other(kafka: Kafka, prefix: str, row: Row) -> None:
    """One of a hundred tools falls silent, a tenth of the traffic: the others do not wait, memory is flat, its backlog drains at twice the inflow."""

    async def scenario(broken: str) -> Sequence[Verdict]:
        names = [f"t{number}" for number in range(FEW if broken else TOOLS)]
        async with HostileTool() as tool:
            trial = DeliveryTrial(kafka, prefix, tool, {name: {"deadline": DEADLINE} for name in names}, broken=broken)
            trial.seconds = 30.0 if broken else 180.0  # so many consumers and producers take their time to start

            def accepted() -> set[str]:
                return {ident for found in tool.accepted.values() for ident in found}

            await trial.prepare()
            first = await trial.send([(name, f"{name}-first", "u") for name in names])
            started = time.monotonic()
            async with trial.member() as process:
                await trial.until(lambda: set(first) <= accepted())
                started = time.monotonic() - started
                load = Load(trial, names)
                sending = asyncio.create_task(load.run())
                await _until_calm(tool)
                begins = [time.monotonic()]
                await asyncio.sleep(PHASE_SECONDS)
                rss = process.memory_info().rss
                tool.behave[f"/{DEAD}"] = hostile.silence
                begins.append(time.monotonic())
                backlog = await trial.send([(DEAD, f"{DEAD}-waiting-{number}", f"u{number % 50}") for number in range(BACKLOG)])
                await asyncio.sleep(PHASE_SECONDS)
                grown = (process.memory_info().rss - rss) / 1024**2
                del tool.behave[f"/{DEAD}"]
                waiting = {ident for ident in (*load.sent, *backlog) if ident.startswith(f"{DEAD}-")} - accepted()
                begins.append(time.monotonic())
                await trial.until(lambda: waiting <= accepted())
                # What was under way when the tool came back ends at its deadline; from then on the backlog drains.
                drained = len(waiting & accepted()) / max(1.0, time.monotonic() - begins[-1] - DEADLINE) / (RATE / EVERY)
                load.stop()
                await sending
                await trial.until(lambda: set(load.sent) <= accepted())
                cpu = sum(process.cpu_times()[:2])
        phases = _latencies(tool.seen, begins)
        halves = [percentile(phase, 0.5) for phase in phases[:2]]
        most = [percentile(phase, 0.99) for phase in phases[:2]]
        if not broken:
            row.figures = (
                f"{len(names)} tools in one process of {rss / 1024**2:.0f} MB, ready after {started:.0f} s with {cpu:.0f} s of CPU in all; "
                f"p50 and p99 of the others {halves[0]:.0f} and {most[0]:.0f} ms before, {halves[1]:.0f} and {most[1]:.0f} ms meanwhile; "
                f"grown by {grown:.1f} MB; backlog of {len(waiting)} drained at {drained:.1f} times the inflow"
            )
        # The median: on a busy machine the slowest few say more of the machine than of the dead tool, and who shares slots with it waits each time.
        figures, caps = (
            {"p50 of the others": halves[1], "MB grown": grown},
            {"p50 of the others": halves[0] + DEADLINE * 500, "MB grown": GROWTH_MOST_MB},
        )
        return [
            arrived([*first, *backlog, *load.sent], accepted()),
            repeated_alike(tool.seen),
            bounded(figures, caps),
            Verdict("L8 drains at twice the inflow", len(waiting), () if drained >= 2 else (f"{drained:.1f} times",)),
        ]

    await prove(row, scenario, ("shared_slots",))
