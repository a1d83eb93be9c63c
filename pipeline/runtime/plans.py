"""Builds the steps of a processor for each version of the configuration, once for each partition."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.model.outcomes import Step
from pipeline.model.topology import Processor
from pipeline.model.workspace import Workspace
from pipeline.runtime.configuration import Configuration
from pipeline.runtime.judgement import Plan

BuildSteps = Callable[[Workspace], tuple[tuple[str, Step], ...]]


class ConfiguredPlans:
    """The plan for the newest configuration; the worker swaps it between two slices.

    Args:
        processor: What the topology declares.
        configuration: What the workspace declares, followed.
        build: Builds the steps, bound to one partition's state.
    """

    def __init__(self, processor: Processor, configuration: Configuration, build: BuildSteps) -> None:
        self._processor = processor
        self._configuration = configuration
        self._build = build
        self._plan: Plan | None = None

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
        if self._plan is None or self._plan.version != workspace.version:
            self._plan = Plan(
                workspace.name, workspace.version, self._build(workspace), self._processor.lanes, trusted=self._processor.input != "raw"
            )
        return self._plan
