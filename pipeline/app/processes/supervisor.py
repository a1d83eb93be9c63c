"""Starts the processes of a local run, restarts the one that dies, and stops all of them in order."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pipeline.app.local.tether import tethered

STOP_SECONDS: Final = 8.0
RESTART_SECONDS: Final = (0.2, 1.0, 3.0, 10.0)
"""Waits before a process that died is started again, the last one for every further time."""
STEADY_SECONDS: Final = 30.0
"""A process that lived this long is no crash loop: when it dies, the waits begin anew."""


@dataclass(slots=True)
class Child:
    """One supervised process.

    Attributes:
        name: Its name, and its log's.
        arguments: Arguments of `headrace`.
        port: Port of its health and metrics.
        ready_path: The page that answers 200 when it is ready.
        process: The process while it lives.
        deaths: How often in a row it died soon after its start, or could not be started.
    """

    name: str
    arguments: Sequence[str]
    port: int
    ready_path: str
    process: asyncio.subprocess.Process | None = None
    deaths: int = 0
    watch: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def lives(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.returncode is None


class Supervisor:
    """Keeps processes alive.

    Args:
        logs: Folder of the logs; None where the processes log to where this one does.
        environment: Environment of the processes.
        say: Says that one died and was started again.
        stop_seconds: How long a process has to end once it is asked to.
    """

    def __init__(self, logs: Path | None, environment: Mapping[str, str], say: Callable[[str], None], stop_seconds: float = STOP_SECONDS) -> None:
        self._logs = logs
        self._stop_seconds = stop_seconds
        self.environment = dict(environment)
        self._say = say
        self._stopping = False
        self.children: dict[str, Child] = {}

    async def start(self, name: str, arguments: Sequence[str], port: int, ready_path: str) -> None:
        """Start a process and keep it alive.

        Args:
            name: Its name.
            arguments: Arguments of `headrace`.
            port: Port of its health and metrics, for who asks.
            ready_path: The page that answers 200 when it is ready.
        """
        if self._logs is not None:
            self._logs.mkdir(parents=True, exist_ok=True)
        child = self.children[name] = Child(name, arguments, port, ready_path)
        await self._spawn(child)
        child.watch = asyncio.create_task(self._keep(child), name=f"watch {name}")

    async def _spawn(self, child: Child) -> None:
        with (self._logs / f"{child.name}.log").open("ab") if self._logs is not None else nullcontext() as log:
            child.process = await asyncio.create_subprocess_exec(
                *tethered([sys.executable, "-m", "pipeline.app.cli", *child.arguments], os.getpid()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,  # Ctrl-C in the terminal reaches the supervisor only, which stops all in order
            )

    async def _keep(self, child: Child) -> None:
        while child.process is not None:
            began = asyncio.get_running_loop().time()
            status = await child.process.wait()
            if self._stopping:
                return
            if asyncio.get_running_loop().time() - began > STEADY_SECONDS:
                child.deaths = 0
            await self._back_off(child, f"ended with status {status}")
            while not self._stopping:
                try:
                    await self._spawn(child)
                except OSError as error:  # no memory for a process, no room for its log: a state of the machine, which may pass
                    await self._back_off(child, f"cannot be started ({error})")
                else:
                    break

    async def _back_off(self, child: Child, what: str) -> None:
        wait = RESTART_SECONDS[min(child.deaths, len(RESTART_SECONDS) - 1)]
        child.deaths += 1
        log = f" (log: {self._logs / child.name}.log)" if self._logs is not None else ""
        self._say(f"{child.name} {what}; starting it again in {wait:g} s{log}")
        await asyncio.sleep(wait)

    async def stop(self, order: Sequence[Sequence[str]]) -> None:
        """Stop all processes, group after group; one that does not end in time is killed.

        Args:
            order: Names in groups: the next group is stopped when the one before has ended. Processes not named come last.
        """
        self._stopping = True
        named = {name for group in order for name in group}
        for group in [*order, [name for name in self.children if name not in named]]:
            await asyncio.gather(*(self._end(self.children[name]) for name in group if name in self.children))

    async def _end(self, child: Child) -> None:
        if child.watch is not None:
            child.watch.cancel()
        process = child.process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._stop_seconds):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
