"""Builds the steps of a processor for each version of the configuration, once for all partitions of a member."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from pipeline.model.outcomes import Step
from pipeline.model.topology import Processor
from pipeline.model.workspace import Workspace
from pipeline.ports.broker import Blocked
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.judgement import Plan

_log = logging.getLogger(__name__)

BuildSteps = Callable[[Workspace], tuple[tuple[str, Step], ...]]


class ConfiguredPlans:
    """The plan for the newest configuration; workers swap it between two slices, and keep the last good one.

    A large version is built in a thread, while events are judged by the plan before, unless they bear the new version.

    Args:
        processor: What the topology declares.
        configuration: What the workspace declares, followed.
        build: Builds the steps; called in a thread for a large version.
        destination: Id of the destination that the processor works for, where there is one for each; else empty.
    """

    def __init__(self, processor: Processor, configuration: Configuration, build: BuildSteps, destination: str = "") -> None:
        self._processor = processor
        self._destination = destination
        self._configuration = configuration
        self._build = build
        self._plan: Plan | None = None
        self._refused = 0
        self._building: asyncio.Task[Plan] | None = None

    def current(self) -> Plan:
        """Give the plan for the version in force, or the one before while a large one is being built.

        Raises:
            RuntimeError: There is no configuration yet; processors start after the first.
            Blocked: The first version cannot be put to work.
        """
        workspace = self._configuration.workspace
        if workspace is None:
            reason = "no configuration has been applied yet"
            raise RuntimeError(reason)
        plan = self._plan
        if plan is not None and workspace.version in (plan.version, self._refused):
            return plan
        if plan is not None and self._configuration.is_large:
            self._begin(workspace)
            return plan
        return self._take_over(workspace)

    async def at_least(self, version: int) -> Plan:
        """Wait until a version is in force, and give its plan or a newer one's.

        Raises:
            Blocked: The first version cannot be put to work.
        """
        workspace = await self._configuration.at_least(version)
        if not self._configuration.is_large:
            return self._take_over(workspace)
        while (plan := self._plan) is None or max(plan.version, self._refused) < workspace.version:
            await asyncio.shield(self._begin(workspace))
        return plan

    def _begin(self, workspace: Workspace) -> asyncio.Task[Plan]:
        if self._building is None or self._building.done():
            self._building = asyncio.create_task(self._build_beside(workspace), name=f"build {self._processor.name} {workspace.version}")
        return self._building

    async def _build_beside(self, workspace: Workspace) -> Plan:
        try:
            steps = await asyncio.to_thread(self._build, workspace)
        except Exception as error:  # noqa: BLE001 (see _refuse)
            return self._refuse(workspace, error)
        return self._accept(workspace, steps)

    def _take_over(self, workspace: Workspace) -> Plan:
        plan = self._plan
        if plan is not None and max(plan.version, self._refused) >= workspace.version:
            return plan
        try:
            steps = self._build(workspace)
        except Exception as error:  # noqa: BLE001 (see _refuse)
            return self._refuse(workspace, error)
        return self._accept(workspace, steps)

    def _accept(self, workspace: Workspace, steps: tuple[tuple[str, Step], ...]) -> Plan:
        plan = self._plan
        if plan is None or plan.version < workspace.version:  # else a newer, small one was built in place meanwhile
            trusted = self._processor.input != "raw"
            plan = Plan(workspace.name, workspace.version, steps, self._processor.lanes, trusted=trusted, destination=self._destination)
            self._plan = plan
        return plan

    def _refuse(self, workspace: Workspace, error: Exception) -> Plan:
        # What stops a build may be this machine's alone (a missing file, an older release): the events must not stop with it.
        if self._plan is None:
            raise Blocked(f"version {workspace.version} of the configuration cannot be put to work: {error}") from error
        _log.error("Version %d cannot be put to work: %s; version %d stays in force.", workspace.version, error, self._plan.version)
        self._refused = max(self._refused, workspace.version)
        return self._plan


class PartitionPlans:
    """The plans of a member with one step more that is bound to the state of a partition.

    Args:
        plans: The member's.
        order: Names of all steps in order.
        step: The name and function of the partition's own step.
    """

    def __init__(self, plans: ConfiguredPlans, order: Sequence[str], step: tuple[str, Step]) -> None:
        self._plans = plans
        self._order = order
        self._own = step
        self._shared: Plan | None = None
        self._plan: Plan | None = None

    def current(self) -> Plan:
        """Give the newest plan that is ready."""
        return self._bound(self._plans.current())

    async def at_least(self, version: int) -> Plan:
        """Wait until a version is in force, and give its plan or a newer one's."""
        return self._bound(await self._plans.at_least(version))

    def _bound(self, shared: Plan) -> Plan:
        if self._plan is None or shared is not self._shared:
            steps = dict([*shared.steps, self._own])
            self._shared, self._plan = shared, replace(shared, steps=tuple((name, steps[name]) for name in self._order))
        return self._plan
