"""Builds the steps of a processor for each version of the configuration, once for each partition."""

from __future__ import annotations

import logging
from collections.abc import Callable

from pipeline.model.outcomes import Step
from pipeline.model.topology import Processor
from pipeline.model.workspace import Workspace
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.judgement import Plan

_log = logging.getLogger(__name__)

BuildSteps = Callable[[Workspace], tuple[tuple[str, Step], ...]]


class ConfiguredPlans:
    """The plan for the newest configuration; the worker swaps it between two slices, and keeps the last good one.

    Args:
        processor: What the topology declares.
        configuration: What the workspace declares, followed.
        build: Builds the steps, bound to one partition's state.
        destination: Id of the destination that the processor works for, where there is one for each; else empty.
    """

    def __init__(self, processor: Processor, configuration: Configuration, build: BuildSteps, destination: str = "") -> None:
        self._processor = processor
        self._destination = destination
        self._configuration = configuration
        self._build = build
        self._plan: Plan | None = None
        self._refused = 0

    def current(self) -> Plan:
        """Give the plan for the version in force.

        Raises:
            RuntimeError: There is no configuration yet; processors start after the first.
        """
        workspace = self._configuration.workspace
        if workspace is None:
            reason = "no configuration has been applied yet"
            raise RuntimeError(reason)
        return self._for(workspace)

    async def at_least(self, version: int) -> Plan:
        """Wait until a version is in force, and give its plan or a newer one's."""
        return self._for(await self._configuration.at_least(version))

    def _for(self, workspace: Workspace) -> Plan:
        plan = self._plan
        if plan is not None and workspace.version in (plan.version, self._refused):
            return plan
        try:
            steps = self._build(workspace)
        except Exception as error:
            if plan is None:
                raise
            # What stops a build may be this machine's alone (a missing file, an older release): the events must not stop with it.
            _log.error("Version %d cannot be put to work: %s; version %d stays in force.", workspace.version, error, plan.version)
            self._refused = workspace.version
            return plan
        trusted = self._processor.input != "raw"
        self._plan = Plan(workspace.name, workspace.version, steps, self._processor.lanes, trusted=trusted, destination=self._destination)
        return self._plan
