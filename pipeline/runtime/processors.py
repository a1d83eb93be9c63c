"""Runs one processor of a topology: one group member, or one for each destination or storage, as the configuration has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from pipeline.model.topology import Processor
from pipeline.model.workspace import Storage, Workspace
from pipeline.runtime.breaker import BreakerError
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.partitions import PartitionHost
from pipeline.runtime.replay.jobs import Jobs

_log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 10.0
"""Wait before a member that could not be made is tried again."""
MakeHost = Callable[[Processor, str, Workspace], PartitionHost]
"""Makes a group member: for the processor, the id of a destination or storage (empty for a single one), and the workspace."""


@dataclass(slots=True)
class _Member:
    host: PartitionHost
    task: asyncio.Task[None]
    storage: Storage | None
    version: int
    stopped: str = ""


def instances(processor: Processor, workspace: Workspace) -> list[str]:
    """List what a processor has one consumer group for each of.

    Args:
        processor: The processor.
        workspace: What is declared now.

    Returns:
        Ids of destinations or storages; a single empty id for a processor that runs once.
    """
    if processor.for_each == "destination":
        return list(workspace.destinations)
    if processor.for_each == "storage":
        return list(workspace.storage)
    return [""]


def group_name(processor: Processor, instance: str) -> str:
    """Name the consumer group, without the workspace's prefix.

    Args:
        processor: The processor.
        instance: Id of the destination or storage, or empty.

    Returns:
        `filter`, or `translate.crm`.
    """
    return f"{processor.name}.{instance}" if instance else processor.name


class ProcessorRunner:
    """Keeps a processor's group members in step with the configuration.

    Args:
        processor: What the topology declares.
        configuration: What the workspace declares, followed.
        make_host: Makes a group member.
        jobs: Says which groups are held back; None where nobody holds any.
    """

    def __init__(self, processor: Processor, configuration: Configuration, make_host: MakeHost, jobs: Jobs | None = None) -> None:
        self.processor = processor
        self._configuration = configuration
        self._make_host = make_host
        self._jobs = jobs
        self._members: dict[str, _Member] = {}
        self._unmade: dict[str, str] = {}
        self._changed = asyncio.Event()
        self._stopping = False

    @property
    def ready(self) -> bool:
        """Whether every declared group member takes records."""
        workspace = self._configuration.workspace
        return (
            workspace is not None
            and not self._unmade
            and set(self._members) == set(self._wanted(workspace))
            and all(member.host.ready and not member.stopped for member in self._members.values())
        )

    @property
    def stopped(self) -> dict[str, str]:
        """Why the breaker has stopped a member, by group name without prefix; empty where all work."""
        return {group_name(self.processor, instance): member.stopped for instance, member in self._members.items() if member.stopped}

    @property
    def unmade(self) -> dict[str, str]:
        """Why a group has no member of the version in force, by group name without prefix; the last good one goes on where there was one."""
        return {group_name(self.processor, instance): why for instance, why in self._unmade.items()}

    @property
    def members(self) -> Iterable[tuple[str, PartitionHost]]:
        """Group name without prefix, and member."""
        return [(group_name(self.processor, instance), member.host) for instance, member in self._members.items()]

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            Exception: Whatever ended a member: a bug, or a topic that cannot be read. One that the breaker stopped ends nothing else: it
                keeps its lag, and begins again with the next configuration or process.
        """
        self._configuration.on_change(lambda _workspace: self._changed.set())
        if self._jobs is not None:
            self._jobs.on_change(self._changed.set)
        try:
            while not self._stopping:
                if self._changed.is_set():
                    self._changed.clear()
                    await self._follow_configuration()
                change = asyncio.create_task(self._changed.wait())
                working = [member for member in self._members.values() if not member.stopped]
                patience = RETRY_SECONDS if self._unmade else None
                done, _ = await asyncio.wait([change, *(member.task for member in working)], timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                change.cancel()
                if not done:
                    self._changed.set()
                for member in working:
                    if member.task.done():
                        self._ended(member)
        finally:
            await self._stop_members(list(self._members))

    def stop(self) -> None:
        """Ask `run` to finish what is in flight and return."""
        self._stopping = True
        self._changed.set()

    def _ended(self, member: _Member) -> None:
        error = member.task.exception()
        if not isinstance(error, BreakerError):
            member.task.result()
            return
        member.stopped = str(error)
        _log.error("STOPPED: %s. It begins again when another configuration is applied or the process is started anew.", error)

    async def _follow_configuration(self) -> None:
        workspace = self._configuration.workspace
        if workspace is None or self._stopping:
            return
        wanted = self._wanted(workspace)
        # A lake that lies elsewhere now is another lake; everything else follows a new version within its member.
        storage = workspace.storage if self.processor.for_each == "storage" else {}
        outdated = [
            name
            for name, member in self._members.items()
            if name not in wanted or member.storage != storage.get(name) or (member.stopped and member.version != workspace.version)
        ]
        unmade = self._unmade
        self._unmade = {}
        made: dict[str, PartitionHost] = {}
        for instance in wanted:
            if instance not in self._members or instance in outdated:
                try:
                    made[instance] = self._make_host(self.processor, instance, workspace)
                except Exception as error:  # noqa: BLE001 (a secret or file that this machine lacks, say: nobody else has to stop for that)
                    self._unmade[instance] = str(error)
                    if unmade.get(instance) != str(error):
                        _log.error("Group %s cannot work with version %d: %s", group_name(self.processor, instance), workspace.version, error)
        await self._stop_members([instance for instance in outdated if instance not in self._unmade])
        for instance, host in made.items():
            if instance not in self._members:
                task = asyncio.create_task(host.run(), name=host.group)
                self._members[instance] = _Member(host, task, storage.get(instance), workspace.version)
                _log.info("Group %s reads %s.", host.group, ", ".join(host.topics))

    def _wanted(self, workspace: Workspace) -> list[str]:
        held = self._jobs.held if self._jobs is not None else frozenset()
        return [instance for instance in instances(self.processor, workspace) if group_name(self.processor, instance) not in held]

    async def _stop_members(self, which: list[str]) -> None:
        members = [self._members.pop(instance) for instance in which]
        for member in members:
            member.host.stop()
        if members:
            await asyncio.gather(*(member.task for member in members), return_exceptions=True)
