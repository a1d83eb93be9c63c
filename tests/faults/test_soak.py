"""An hour of random faults: nothing lost or doubled, memory and open files flat (`make soak`; SOAK_MINUTES says how long)."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import defaultdict
from pathlib import Path

import psutil
import pytest

from tests.faults.laws import hold
from tests.faults.report import Row
from tests.faults.soak_rules import files_flat, leaking, memory_flat, slope_per_hour
from tests.faults.test_whole_run import carry_out
from tests.faults.whole_run import Plan, WholeRun

pytestmark = [pytest.mark.faults, pytest.mark.integration]

MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
RATE = 200.0
LOOK_SECONDS = 10.0
FAULT_SECONDS = 600
"""Time between two kills, on average."""
WATCHED = frozenset({"collector", "validate", "enrich", "deliver", "lake"})
"""Processes that are never killed: what holds connections, state, requests and rows has the whole hour to grow in."""
WINDOW_SECONDS = 900
"""Dedup window: above the 500 s after which the last copies come; what is kept, 1.5 windows, no longer grows while memory is judged."""
LONG_ENOUGH = 50
"""Minutes of a soak that can tell a leak from noise."""


@pytest.mark.fault("T27")
@pytest.mark.skipif(not MINUTES, reason="`make soak` runs it, for SOAK_MINUTES")
async def test_a_soak_loses_nothing_and_grows_in_nothing(tmp_path: Path, row: Row) -> None:
    """Random kills every few minutes under a steady load; the processes that were spared grow in neither memory nor open files."""
    memory: defaultdict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    files: defaultdict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    chance = random.Random(27)  # noqa: S311 (when something is killed need not be secret)
    pause = chance.uniform(60, 120)
    plan = Plan(
        kills=int(60 * MINUTES / FAULT_SECONDS),
        events=int(RATE * 60 * MINUTES),
        rate=RATE,
        streams=1,
        pause=(pause, 3 * pause),
        seconds=60 * MINUTES,
        spared=WATCHED,
    )
    run = WholeRun(tmp_path, window=WINDOW_SECONDS)
    try:
        run.start()
        looking = asyncio.create_task(_look(run, memory, files))
        said = await carry_out(run, plan, tmp_path, row)
        looking.cancel()
    finally:
        run.end()
    slopes = {name: slope_per_hour(points) for (name, _), points in memory.items() if name in WATCHED}
    row.figures += f"; growth in MB an hour: {', '.join(f'{name} {slope:+.1f}' for name, slope in sorted(slopes.items()))}"
    hold([*said, memory_flat(memory), files_flat(files)])
    if MINUTES >= LONG_ENOUGH:
        # The same points with what a broken build would have added to them: the rules have to find it in the noise of this very run.
        row.caught = {
            "a MB a minute leaked": bool(memory_flat(leaking(memory, lambda seconds: seconds / 60)).violations),
            "a file a fault leaked": bool(files_flat(leaking(files, lambda seconds: seconds // FAULT_SECONDS)).violations),
        }
        assert all(row.caught.values()), f"a broken build passes: {row.caught}"


async def _look(
    run: WholeRun, memory: defaultdict[tuple[str, int], list[tuple[float, float]]], files: defaultdict[tuple[str, int], list[tuple[float, float]]]
) -> None:
    """Note memory and open files of each process again and again, and say once a minute how far it is."""
    began = said = time.monotonic()
    while True:
        for process in run.processes.values():
            try:
                one = psutil.Process(process["pid"])
                memory[process["name"], process["pid"]].append((time.monotonic(), one.memory_info().rss / 1e6))
                files[process["name"], process["pid"]].append((time.monotonic(), one.num_fds()))
            except psutil.Error:
                continue
        if time.monotonic() - said >= 60:
            said = time.monotonic()
            alive = {process["pid"] for process in run.processes.values()}
            megabytes = sum(points[-1][1] for (_, pid), points in memory.items() if pid in alive)
            print(f"{(said - began) / 60:.0f} of {MINUTES:g} minutes; {len(alive)} processes hold {megabytes:.0f} MB", flush=True)
        await asyncio.sleep(LOOK_SECONDS)
