"""The demo under kill -9: processes of the local run are killed while the shop sends, and what becomes of its events is counted."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Final

import psutil

from pipeline.app.processes.probe import is_ready
from pipeline.app.processes.run_file import READY_PATHS, StartedProcess, read_run
from pipeline.app.query import count_rows
from pipeline.demo import DemoCall, Tally, tally
from pipeline.ports.clock import Clock

KILL_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 1.0
BACK_SECONDS: Final = 60.0
"""Longest wait for what was killed to take events again."""
SPARED: Final = frozenset(("kafka", "receiver", "monitor"))
"""Kafka is what the rest relies on, the receiver is somebody else's tool, and no event depends on the monitor."""


def victims(home: Path) -> list[StartedProcess]:
    """List what may be killed: the collector and the processors of the run that lives in this home, and nothing else.

    Args:
        home: Home of the run.

    Returns:
        Those that live at this moment; none where nothing runs.
    """
    run = read_run(home)
    return [] if run is None else [one for one in run.processes if one.name not in SPARED and _is_child(one.pid, run.pid)]


def _is_child(pid: int, parent: int) -> bool:
    """Whether a process is one that the run has started: its file may be a second old, and the number another process's by now."""
    try:
        process = psutil.Process(pid)
        return process.ppid() == parent and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


class KilledDemo:
    """Kills and counts beside the traffic of the demo.

    Args:
        home: Home of the run.
        lake: Folder of its lake.
        clock: Time.
        chance: Chooses what is killed.

    Attributes:
        kills: Kills by process.
        last: What was killed last.
    """

    def __init__(self, home: Path, lake: Path, clock: Clock, chance: Random) -> None:
        self._home = home
        self._lake = lake
        self._clock = clock
        self._chance = chance
        self._since = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
        self._acknowledged: dict[str, float] = {}
        self.kills: Counter[str] = Counter()
        self.last = ""

    def acknowledged(self, calls: Sequence[DemoCall]) -> None:
        """Take calls that were answered 2xx; the bad ones among them are for the dead letters, not for the lake."""
        now = self._clock.monotonic()
        for call in calls:
            if call.kind != "bad":
                self._acknowledged.setdefault(call.body["messageId"], now)

    async def kill(self, every: float = KILL_SECONDS) -> None:
        """Kill one process after another, until cancelled.

        Args:
            every: Seconds between two kills.
        """
        while True:
            await self._clock.sleep(every)
            alive = await asyncio.to_thread(victims, self._home)
            if alive:
                victim = self._chance.choice(alive)
                with suppress(ProcessLookupError):
                    os.kill(victim.pid, signal.SIGKILL)
                    self.kills[victim.name] += 1
                    self.last = victim.name

    async def count(self) -> Tally:
        """Count what is stored now."""
        rows = await asyncio.to_thread(count_rows, self._lake, self._since)
        return tally(self._acknowledged, rows, self._clock.monotonic())

    async def watch(self, show: Callable[[Tally], None]) -> None:
        """Count again and again, until cancelled.

        Args:
            show: Called with each count.
        """
        while True:
            show(await self.count())
            await self._clock.sleep(LOOK_SECONDS)

    async def drain(self, show: Callable[[Tally], None]) -> Tally:
        """Wait until nothing is on the way any more, and what was killed is back.

        Args:
            show: Called with each count.

        Returns:
            The last count: everything is stored, or lost.
        """
        while (count := await self.count()).on_the_way:
            show(count)
            await self._clock.sleep(LOOK_SECONDS)
        until = self._clock.monotonic() + BACK_SECONDS
        while not await self._is_whole() and self._clock.monotonic() < until:
            await self._clock.sleep(LOOK_SECONDS)
        return count

    async def _is_whole(self) -> bool:
        run = read_run(self._home)
        processes = [one for one in run.processes if one.name not in SPARED] if run is not None else []
        return all(await asyncio.gather(*(is_ready(one.port, READY_PATHS.get(one.name, "/health/ready")) for one in processes)))
