"""`headrace up`: the whole product on one machine, from the broker to the live page."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.app.cli.config import publish
from pipeline.app.cli.errors import CommandError
from pipeline.app.declared import read_topology, read_workspace
from pipeline.app.demo_workspace import RECEIVER, demo_workspace
from pipeline.app.local.kafka import KafkaStartError, LocalKafka, check_port_free, free_port, free_ports
from pipeline.app.processes.probe import is_ready
from pipeline.app.processes.run_file import READY_PATHS, Run, StartedProcess, read_run, remove_run, write_run
from pipeline.app.processes.supervisor import Supervisor
from pipeline.app.settings import Secrets, make_home
from pipeline.model.topology import Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import BrokerError
from pipeline.runtime.brokers.kafka import KafkaBroker
from pipeline.runtime.clock import SystemClock

READY_SECONDS: Final = 120.0
FREE_BYTES: Final = 1024**3
"""Least free disk to start with."""
LOOK_SECONDS: Final = 0.4


Progress = Callable[[str], None]


class UpOptions(NamedTuple):
    """What `headrace up` is told.

    Attributes:
        home: Folder of all state.
        port: The collector's port.
        bootstrap: Another broker's address, or empty to start one.
        topology: Name or path of the topology.
        workspace: Path of the workspace, or empty for the demo workspace.
        time_scale: What retry delays are multiplied by.
    """

    home: Path
    port: int
    bootstrap: str
    topology: str
    workspace: Path | None
    time_scale: float


class Local:
    """A local run.

    Args:
        options: What `headrace up` is told.
        progress: Says what is being done.
        environment: Environment of the processes.
    """

    def __init__(self, options: UpOptions, progress: Progress, environment: Mapping[str, str]) -> None:
        self._options = options
        self._progress = progress
        self._supervisor = Supervisor(options.home / "logs", {**environment, "HEADRACE_HOME": str(options.home)}, progress)
        self._kafka: LocalKafka | None = None
        self._bootstrap = options.bootstrap
        self._workspace: Workspace | None = None
        self._receiver = 0
        self._ready = False

    async def run(self, started: Callable[[Run], None]) -> None:
        """Start everything, say so, and stay until SIGINT or SIGTERM.

        Args:
            started: Called once everything is ready.

        Raises:
            CommandError: Something cannot be started, or the broker died; everything else has been stopped.
        """
        self._check()
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        stopping = asyncio.create_task(stop.wait())
        try:
            running = asyncio.create_task(self._start_and_watch(started))
            await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            else:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
        finally:
            stopping.cancel()
            await self._stop()

    def _check(self) -> None:
        home = self._options.home
        run = read_run(home)
        if run is not None:
            raise CommandError(
                f"a run of {home} is up already (process {run.pid})", "stop it with Ctrl-C, or choose another HEADRACE_HOME and HEADRACE_PORT"
            )
        # What is declared wrongly is said now, not after a broker was started for it.
        read_topology(self._options.topology)
        if self._options.workspace is not None:
            read_workspace(self._options.workspace)
        make_home(home)
        free = os.statvfs(home)
        if free.f_bavail * free.f_frsize < FREE_BYTES:
            raise CommandError(f"less than 1 GB is free on the disk of {home}", "make room, or choose another HEADRACE_HOME")
        try:
            check_port_free(self._options.port, "the collector")
        except KafkaStartError as error:
            raise CommandError(str(error), "stop that, or set HEADRACE_PORT to another port") from error

    async def _start_and_watch(self, started: Callable[[Run], None]) -> None:
        died = await self._start_kafka()
        topology = read_topology(self._options.topology)
        self._workspace = await self._apply(topology)
        await self._start_processes(topology)
        self._progress("waiting until every process takes records")
        await self._until_ready(died)
        self._ready = True
        self._write()
        started(self._described())
        while True:
            await asyncio.wait({died}, timeout=LOOK_SECONDS * 5)
            self._fail_if_kafka_died(died)
            self._ready = await self._all_ready()
            self._write()

    async def _start_kafka(self) -> asyncio.Task[int]:
        if self._bootstrap:
            return asyncio.create_task(_never())
        kafka = LocalKafka(self._options.home, free_port())
        try:
            await kafka.start(self._progress)
        except KafkaStartError as error:
            raise CommandError(f"Kafka does not start: {error}", f"see {self._options.home / 'logs' / 'kafka.log'}") from error
        self._kafka = kafka
        self._bootstrap = kafka.bootstrap
        return asyncio.create_task(kafka.wait())

    def _fail_if_kafka_died(self, died: asyncio.Task[int]) -> None:
        if died.done() and self._kafka is not None:
            words = self._kafka.last_words().strip()
            raise CommandError(
                f"Kafka ended with status {died.result()}{': ' if words else ''}{words}",
                f"nothing acknowledged is lost; see {self._options.home / 'logs' / 'kafka.log'} and start again",
            )

    async def _apply(self, topology: Topology) -> Workspace:
        self._progress("creating topics and putting the workspace to work")
        if self._options.workspace is None:
            self._receiver = free_port()
            self._supervisor.environment[RECEIVER] = f"http://127.0.0.1:{self._receiver}"
            path = demo_workspace(self._options.home)
        else:
            path = self._options.workspace
        declared = read_workspace(path)
        refuse_unwritable_lakes(declared, Secrets(self._options.home).resolve)
        try:
            await publish(KafkaBroker(self._bootstrap), declared, topology, SystemClock())
        except BrokerError as error:
            raise CommandError(str(error), "check that the broker is reachable and that its user may create topics") from error
        return declared

    async def _start_processes(self, topology: Topology) -> None:
        assert self._workspace is not None  # noqa: S101 (set by the caller)
        shared = [
            "--bootstrap", self._bootstrap, "--prefix", self._workspace.name, "--topology", self._options.topology,
            "--home", str(self._options.home), "--time-scale", str(self._options.time_scale),
        ]  # fmt: skip
        hosted: dict[str, list[str]] = defaultdict(list)
        for processor in topology.processors.values():
            hosted[processor.process or processor.name].append(processor.name)
        if self._receiver:
            await self._child("receiver", ["run", "receiver", "--home", str(self._options.home)], self._receiver)
        monitored, *ports = free_ports(1 + len(hosted), (self._receiver, self._options.port))  # asked for one by one, two could be the same
        for (name, processors), port in zip(hosted.items(), ports, strict=True):
            await self._child(name, ["run", *processors, "--name", name, *shared], port)
        if find_spec("faust") is not None:
            await self._child("monitor", ["run", "monitor", *shared], monitored)
        else:
            self._progress("the monitor is left out: faust-streaming has no wheel for this machine")
        await self._child("collector", ["run", "collector", *shared], self._options.port)
        self._write()

    async def _child(self, name: str, arguments: list[str], port: int) -> None:
        self._progress(f"starting {name}")
        await self._supervisor.start(name, [*arguments, "--port", str(port)], port, READY_PATHS.get(name, "/health/ready"))

    async def _until_ready(self, died: asyncio.Task[int]) -> None:
        end = time.monotonic() + READY_SECONDS
        while not await self._all_ready():
            self._fail_if_kafka_died(died)
            if time.monotonic() > end:
                late = [child.name for child in self._supervisor.children.values() if not await is_ready(child.port, child.ready_path)]
                raise CommandError(f"not ready after {READY_SECONDS:g} s: {', '.join(late)}", f"see the logs in {self._options.home / 'logs'}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _all_ready(self) -> bool:
        return all(await asyncio.gather(*(is_ready(child.port, child.ready_path) for child in self._supervisor.children.values())))

    def _described(self) -> Run:
        assert self._workspace is not None  # noqa: S101 (set before anything is started)
        processes = tuple(
            StartedProcess(child.name, child.process.pid, child.port) for child in self._supervisor.children.values() if child.process is not None
        )
        if self._kafka is not None and self._kafka.pid is not None:
            port = int(self._bootstrap.rpartition(":")[2])
            processes = (StartedProcess("kafka", self._kafka.pid, port), *processes)
        return Run(
            os.getpid(), self._bootstrap, self._workspace.name, self._options.topology, self._options.port, self._receiver, self._ready, processes
        )

    def _write(self) -> None:
        write_run(self._options.home, self._described())

    async def _stop(self) -> None:
        self._progress("stopping: collector, processors, Kafka")
        middle = [name for name in self._supervisor.children if name not in ("collector", "receiver")]
        await self._supervisor.stop([["collector"], middle, ["receiver"]])
        if self._kafka is not None:
            await self._kafka.stop()
        remove_run(self._options.home)


def refuse_unwritable_lakes(workspace: Workspace, resolve: Callable[[str], str]) -> None:
    """Make the folders of the lakes, and say which one cannot be written before anything is sent to it.

    Args:
        workspace: What is declared.
        resolve: Fills in references to secrets.

    Raises:
        CommandError: A lake cannot be written; names it and its folder.
    """
    for storage in workspace.storage.values():
        folder = Path(resolve(str(storage.settings["path"])))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".writable-"):
                pass
        except OSError as error:
            raise CommandError(
                f"the lake {storage.id} cannot be written: {folder}: {error.strerror}", "change its path, or who may write there"
            ) from error


async def _never() -> int:
    await asyncio.Event().wait()
    return 0
