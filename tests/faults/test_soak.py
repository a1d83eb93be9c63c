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

from tests.faults.laws import Verdict, hold
from tests.faults.report import Row
from tests.faults.test_whole_run import carry_out
from tests.faults.whole_run import Plan, WholeRun

pytestmark = [pytest.mark.faults, pytest.mark.integration]

MINUTES = float(os.environ.get("SOAK_MINUTES", "0"))
RATE = 200.0
LOOK_SECONDS = 10.0
SLOPE_MOST = 1.0
"""Most growth of a process's memory, in MB an hour, over the second half of the soak."""
SLOPE_MINUTES = 50
"""A slope an hour says nothing over less."""


def slope_per_hour(points: list[tuple[float, float]]) -> float:
    """Fit a line through the second half of some points, by least squares.

    Args:
        points: Seconds and values.

    Returns:
        Growth of the value in an hour.
    """
    half = points[len(points) // 2 :]
    if len(half) < 2:
        return 0.0
    middle = sum(at for at, _ in half) / len(half)
    mean = sum(value for _, value in half) / len(half)
    spread = sum((at - middle) ** 2 for at, _ in half)
    return 3600 * sum((at - middle) * (value - mean) for at, value in half) / spread if spread else 0.0


@pytest.mark.fault("T27")
@pytest.mark.skipif(not MINUTES, reason="`make soak` runs it, for SOAK_MINUTES")
async def test_a_soak_loses_nothing_and_grows_in_nothing(tmp_path: Path, row: Row) -> None:
    """Random kills every few minutes under a steady load; the processes that were spared grow in neither memory nor open files."""
    memory: defaultdict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    files: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    chance = random.Random(27)  # noqa: S311 (when something is killed need not be secret)
    pause = chance.uniform(60, 120)
    plan = Plan(kills=int(MINUTES / 10), events=int(RATE * 60 * MINUTES), rate=RATE, streams=1, pause=(pause, 3 * pause), seconds=60 * MINUTES)
    run = WholeRun(tmp_path)
    try:
        run.start()
        looking = asyncio.create_task(_look(run, memory, files))
        said = await carry_out(run, plan, tmp_path, row)
        looking.cancel()
    finally:
        run.end()
    slopes = {name: slope_per_hour(points) for (name, _), points in memory.items() if len(points) > 2}
    steepest = max(slopes, key=lambda name: slopes[name])
    row.figures += f"; steepest growth {steepest} {slopes[steepest]:+.1f} MB an hour"
    grown = tuple(f"{name} {slope:+.1f} MB an hour" for name, slope in slopes.items() if slope > SLOPE_MOST and MINUTES >= SLOPE_MINUTES)
    leaked = tuple(f"{name} {counts[0]} to {counts[-1]}" for (name, _), counts in files.items() if counts[-1] > 2 * counts[len(counts) // 2])
    hold([*said, Verdict("L9 memory flat", len(slopes), grown), Verdict("L9 open files flat", len(files), leaked)])


async def _look(
    run: WholeRun, memory: defaultdict[tuple[str, int], list[tuple[float, float]]], files: defaultdict[tuple[str, int], list[int]]
) -> None:
    """Note memory and open files of each process again and again."""
    while True:
        for process in run.processes.values():
            try:
                one = psutil.Process(process["pid"])
                memory[process["name"], process["pid"]].append((time.monotonic(), one.memory_info().rss / 1e6))
                files[process["name"], process["pid"]].append(one.num_fds())
            except psutil.Error:
                continue
        await asyncio.sleep(LOOK_SECONDS)
