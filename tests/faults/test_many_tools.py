"""One of many tools dead, at a tenth of the traffic: the others do not feel it (test T37).

The machine is busy, now more and now less, so that a figure says little alone. The tool dies and lives by turns, in short phases of one run, and the
same tools are compared with themselves: what the machine does meets both kinds of phases alike, and who waits for the dead one waits its deadline.
After each death a deadline passes before the next phase counts as one of life: what was under way ends by then.
"""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect
from collections.abc import Sequence
from itertools import cycle
from statistics import median

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

TOOLS = int(os.environ.get("HEADRACE_FAULT_TOOLS", "200"))
"""How many destinations one process serves."""
FEW = 12
"""How many in the trial of a broken build."""
RATE = 50
"""Requests a second in all: some 225 of the others in a phase, so that two are beyond its p99."""
DEAD = "t0"
EVERY = 10
"""One request of so many is for the one that dies."""
DEADLINE = 3.0
TURNS = 3
"""How often the tool dies and lives again; once in the trial of a broken build, whose others all wait."""
PHASE_SECONDS = 5.0
"""How long it is dead, or alive, each time: longer than its deadline, so that a request that waits for it shows."""
ALIVE, DEAD_NOW, SETTLING = "alive", "dead", "settling"
SAMPLES_LEAST = 200
"""Requests of a phase below which nobody speaks of a p99."""
CALM_MS = 500.0
CALM_SECONDS = 40.0
LOOK_SECONDS = 2.0
TICK = 0.05
BACKLOG = 100
"""Requests that come for the dead tool at once, each time that it dies."""
GROWTH_MOST_MB = 20.0
TIMES_MOST = 1.1
SHARE_OF_DEADLINE = 0.25
"""How much of its deadline the others may take longer while it is dead, for the machine's sake; who shares anything with it takes all of it."""


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


Phase = tuple[float, str]
"""When it began, and its kind."""


def _latencies(seen: Sequence[Seen], phases: Sequence[Phase]) -> dict[str, list[list[float]]]:
    """Give how long requests took to the tools that live, in ms, by kind and phase in which they were made; the first try of each counts."""
    by_phase: list[list[float]] = [[] for _ in phases]
    begins = [begin for begin, _ in phases]
    for one in {one.id: one for one in reversed(seen) if one.path != f"/{DEAD}"}.values():
        made = orjson.loads(one.body)["sent"]
        if made >= begins[0]:
            by_phase[bisect(begins, made) - 1].append((one.at - made) * 1000)
    found: dict[str, list[list[float]]] = {kind: [] for _, kind in phases}
    for (_, kind), latencies in zip(phases, by_phase, strict=True):
        found[kind].append(latencies)
    return found


def _usual(phases: Sequence[Sequence[float]], share: float) -> float:
    """Give the median of a percentile over phases of one kind: who waits for the dead tool does so each time, a machine stands still once."""
    return median(percentile(latencies, share) for latencies in phases)


async def _until_calm(tool: HostileTool) -> None:
    """Let so many members find their places, and what waited meanwhile be sent, so that the first phase shows a steady load."""
    end = time.monotonic() + CALM_SECONDS
    while time.monotonic() < end:
        begin = time.monotonic()
        await asyncio.sleep(LOOK_SECONDS)
        (latencies,) = _latencies(tool.seen, [(begin, ALIVE)])[ALIVE]
        if latencies and percentile(latencies, 0.99) < CALM_MS:
            return


@pytest.mark.fault("T37")
async def test_one_dead_tool_delays_no_other(kafka: Kafka, prefix: str, row: Row) -> None:
    """One of 200 tools dies by turns, a tenth of the traffic: no other one's p99 rises, memory is flat, its backlog drains at twice the inflow."""

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
                phases: list[Phase] = []
                backlog: list[str] = []
                rss = process.memory_info().rss
                for turn in range(1 if broken else TURNS):
                    if turn:
                        del tool.behave[f"/{DEAD}"]
                        phases.append((time.monotonic(), SETTLING))
                        await asyncio.sleep(DEADLINE)
                    phases.append((time.monotonic(), ALIVE))
                    await asyncio.sleep(PHASE_SECONDS)
                    tool.behave[f"/{DEAD}"] = hostile.silence
                    phases.append((time.monotonic(), DEAD_NOW))
                    backlog += await trial.send([(DEAD, f"{DEAD}-waiting-{turn}-{number}", f"u{number % 50}") for number in range(BACKLOG)])
                    await asyncio.sleep(PHASE_SECONDS)
                waiting = {ident for ident in (*load.sent, *backlog) if ident.startswith(f"{DEAD}-")} - accepted()
                del tool.behave[f"/{DEAD}"]
                phases.append((time.monotonic(), SETTLING))
                grown = (process.memory_info().rss - rss) / 1024**2
                await trial.until(lambda: waiting <= accepted())
                # What was under way when the tool came back ends at its deadline; from then on the backlog drains.
                drained = len(waiting & accepted()) / max(1.0, time.monotonic() - phases[-1][0] - DEADLINE) / (RATE / EVERY)
                load.stop()
                await sending
                await trial.until(lambda: set(load.sent) <= accepted())
                cpu = sum(process.cpu_times()[:2])
        latencies = _latencies(tool.seen, phases)
        alive, dead = latencies[ALIVE], latencies[DEAD_NOW]
        if not broken:
            row.figures = (
                f"{len(names)} tools in one process of {rss / 1024**2:.0f} MB, ready after {started:.0f} s with {cpu:.0f} s of CPU in all; "
                f"p50 and p99 of the others {_usual(alive, 0.5):.0f} and {_usual(alive, 0.99):.0f} ms of {sum(map(len, alive))} while it lives, "
                f"{_usual(dead, 0.5):.0f} and {_usual(dead, 0.99):.0f} ms of {sum(map(len, dead))} while it is dead; "
                f"grown by {grown:.1f} MB; backlog of {len(waiting)} drained at {drained:.1f} times the inflow"
            )
            assert min(map(len, (*alive, *dead))) >= SAMPLES_LEAST
        figures, caps = {"MB grown": grown}, {"MB grown": GROWTH_MOST_MB}
        for name, share in (("p50", 0.5), ("p99", 0.99)):
            figures[f"{name} of the others"] = _usual(dead, share)
            caps[f"{name} of the others"] = TIMES_MOST * _usual(alive, share) + SHARE_OF_DEADLINE * DEADLINE * 1000
        return [
            arrived([*first, *backlog, *load.sent], accepted()),
            repeated_alike(tool.seen),
            bounded(figures, caps),
            Verdict("L8 drains at twice the inflow", len(waiting), () if drained >= 2 else (f"{drained:.1f} times",)),
        ]

    await prove(row, scenario, ("shared_slots",))
