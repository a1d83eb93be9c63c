"""Keeps a group member for each job that is to be worked on, and says when one has come to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final

from pipeline.model.times import time_text
from pipeline.model.topics import topic_name
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Broker, BrokerError
from pipeline.ports.clock import Clock
from pipeline.replay.board import done_record, group_of
from pipeline.replay.jobs import Job
from pipeline.replay.stores import path_to_store
from pipeline.runtime.breaker import BreakerError
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.replay.barrier import Barrier
from pipeline.runtime.replay.jobs import Jobs

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""Time between two looks at how far the jobs have come."""

SHOWN_MOST: Final = 20
"""Most jobs that a status shows; `headrace replay list` has all of them."""

MakeJobHost = Callable[[Processor, Job, Workspace], PartitionHost]
"""Makes a job's group member."""


class JobsRunner:
    """Runs the processor of kind `replay`; it has the shape of a `ProcessorRunner`.

    Args:
        processor: What the topology declares.
        topology: The whole of it.
        configuration: What the workspace declares, followed.
        jobs: The jobs, followed.
        make_host: Makes a job's group member.
        broker: Where positions are.
        clock: Time.
    """

    def __init__(
        self,
        processor: Processor,
        topology: Topology,
        configuration: Configuration,
        jobs: Jobs,
        make_host: MakeJobHost,
        broker: Broker,
        clock: Clock,
    ) -> None:
        self.processor = processor
        self._topology = topology
        self._configuration = configuration
        self._jobs = jobs
        self._make_host = make_host
        self._broker = broker
        self._clock = clock
        self._members: dict[str, tuple[PartitionHost, asyncio.Task[None]]] = {}
        self._barriers: dict[str, Barrier] = {}
        self._left: dict[str, int] = {}
        self._broken: dict[str, tuple[int, str]] = {}
        self._changed = asyncio.Event()
        self._stopping = False

    @property
    def ready(self) -> bool:
        """Whether jobs would be taken up."""
        return self._configuration.workspace is not None

    @property
    def members(self) -> Iterable[tuple[str, PartitionHost]]:
        """Group name without prefix, and member, of each job at work."""
        return [(group_of(job), host) for job, (host, _) in self._members.items()]

    @property
    def stopped(self) -> dict[str, str]:
        """Why the breaker has stopped jobs, by group name without prefix; they go on with the next configuration or process."""
        return {group_of(job): why for job, (_, why) in self._broken.items()}

    def summary(self) -> list[dict[str, Any]]:
        """Give the newest jobs as plain data: what they are for, their state, and how far they have come."""
        board = self._jobs.board
        newest = list(board.jobs.values())[-SHOWN_MOST:]
        return [
            {
                "id": job.id,
                "state": self._state(job),
                "input": job.input,
                "from": time_text(job.start_ms),
                "to": time_text(job.end_ms),
                "targets": [*job.destinations, *job.storages],
                "rate": job.rate,
                "offsets": job.offsets,
                "left": 0 if board.state(job.id) == "done" else self._left.get(job.id, job.offsets),
            }
            for job in reversed(newest)
        ]

    def _state(self, job: Job) -> str:
        state = self._jobs.board.state(job.id)
        if state == "running" and job.id in self._broken:
            return "stopped"
        return "waiting" if state == "running" and job.id not in self._members else state

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            Exception: Whatever ended a member: a bug, or a topic that cannot be read.
        """
        leave = [self._configuration.on_change(lambda _workspace: self._changed.set()), self._jobs.on_change(self._changed.set)]
        try:
            while not self._stopping:
                self._changed.clear()
                try:
                    await self._follow()
                except BrokerError as error:
                    _log.warning("Jobs wait: %s.", error)
                await self._wait()
        finally:
            for each in leave:
                each()
            await self._stop(list(self._members))

    def stop(self) -> None:
        """Ask `run` to finish what is in flight and return."""
        self._stopping = True
        self._changed.set()

    async def _wait(self) -> None:
        change = asyncio.create_task(self._changed.wait())
        tasks = [task for _, task in self._members.values()]
        idle = not self._jobs.board.running()
        done, _ = await asyncio.wait([change, *tasks], timeout=None if idle else LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        change.cancel()
        for job, (_, task) in list(self._members.items()):
            if task in done:
                self._ended(job, task)

    def _ended(self, job: str, task: asyncio.Task[None]) -> None:
        error = task.exception()
        if not isinstance(error, BreakerError):
            task.result()
            return
        del self._members[job]
        workspace = self._configuration.workspace
        self._broken[job] = workspace.version if workspace is not None else 0, str(error)
        _log.error("STOPPED: %s. The job goes on when another configuration is applied or the process is started anew.", error)

    async def _follow(self) -> None:
        workspace = self._configuration.workspace
        if workspace is None or self._stopping:
            return
        self._broken = {job: found for job, found in self._broken.items() if found[0] == workspace.version}
        wanted = {job.id: job for job in self._jobs.board.running() if job.id not in self._broken}
        await self._stop([job for job in self._members if job not in wanted])
        for ident, job in wanted.items():
            if await self._is_done(workspace, job):
                await self._stop([ident] if ident in self._members else [])
                await self._jobs.write(*done_record(ident, self._clock.now_ms()))
                _log.info("Job %s has come to its end.", ident)
            elif ident not in self._members and await self._may_begin(workspace, job):
                host = self._make_host(self.processor, job, workspace)
                self._members[ident] = host, asyncio.create_task(host.run(), name=host.group)
                _log.info("Job %s reads %s.", ident, job.input)

    async def _is_done(self, workspace: Workspace, job: Job) -> bool:
        if not job.offsets:
            return True
        positions = await self._broker.admin().positions(topic_name(workspace.name, group_of(job.id)))
        self._left[job.id] = job.left({partition.partition: position.offset for partition, position in positions.items()})
        return not self._left[job.id]

    async def _may_begin(self, workspace: Workspace, job: Job) -> bool:
        """Say whether what is live has passed the job's range, where the job writes to a store: then a row that is not there is really missing."""
        if not job.storages:
            return True
        barrier = self._barriers.get(job.id)
        if barrier is None:
            path = path_to_store(self._topology, job.input, job.storages)
            barrier = self._barriers[job.id] = Barrier(self._broker, workspace.name, path, job.spans)
        return await barrier.passed()

    async def _stop(self, which: list[str]) -> None:
        members = [self._members.pop(job) for job in which]
        for host, _ in members:
            host.stop()
        if members:
            await asyncio.gather(*(task for _, task in members), return_exceptions=True)
