"""What `headrace demo --kill` may kill, and how it counts."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import psutil
import pytest

from pipeline.app.demo_kill import KilledDemo, victims
from pipeline.app.processes.run_file import Run, StartedProcess, write_run
from pipeline.demo import DemoCall, Tally
from pipeline.runtime.clock import SystemClock

CHANCE = Random(1)  # noqa: S311 (what is killed need not be secret)


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that does nothing."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import signal; signal.pause()"])
    yield process
    process.kill()
    process.wait()


def a_run(home: Path, *processes: tuple[str, int]) -> None:
    """Write a run file of this process."""
    started = tuple(StartedProcess(name, pid, 1) for name, pid in processes)
    write_run(home, Run(os.getpid(), "127.0.0.1:1", "demo", "default", 1, 0, ready=True, processes=started))


def test_only_the_collector_and_processors_of_the_run_are_killed(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    """Kafka, the receiver and the monitor are spared, and so is a number that belongs to a process of somebody else by now."""
    foreign = psutil.Process().ppid()
    names = ("kafka", "receiver", "monitor", "collector", "validate")
    a_run(tmp_path, *((name, child.pid) for name in names), ("filter", foreign))
    assert [one.name for one in victims(tmp_path)] == ["collector", "validate"]


def test_nothing_is_killed_where_nothing_runs(tmp_path: Path) -> None:
    """A home without a run has no victims."""
    assert victims(tmp_path) == []


def test_a_kill_is_a_kill(tmp_path: Path, child: subprocess.Popen[bytes]) -> None:
    """The victim gets SIGKILL, and is counted by its name."""
    a_run(tmp_path, ("enrich", child.pid))
    killed = KilledDemo(tmp_path, tmp_path / "lake", SystemClock(), CHANCE)

    async def kill_one() -> None:
        task = asyncio.create_task(killed.kill(every=0.01))
        while not killed.kills:  # noqa: ASYNC110 (the kills have no event)
            await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(kill_one())
    assert (child.wait(), dict(killed.kills), killed.last) == (-signal.SIGKILL, {"enrich": 1}, "enrich")


def test_bad_events_are_not_expected_in_the_lake(tmp_path: Path) -> None:
    """Of an acknowledged batch, the bad call goes to the dead letters, and a duplicate counts once."""
    killed = KilledDemo(tmp_path, tmp_path / "lake", SystemClock(), CHANCE)
    killed.acknowledged([DemoCall(0, {"messageId": "m1"}, "normal"), DemoCall(0, {"messageId": "m1"}, "duplicate"), DemoCall(0, {}, "bad")])
    assert asyncio.run(killed.count()) == Tally(sent=1, stored=0, on_the_way=1, lost=0, doubled=0)
