"""Runs the steps of past and future configurations on single records, with the code that judges live traffic."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from pipeline.assembly.steps import Judges, build_steps
from pipeline.explain import Judged
from pipeline.explain.evidence import Verdict
from pipeline.model.record import Record
from pipeline.model.topology import Processor
from pipeline.model.workspace import Workspace
from pipeline.runtime.judgement import Judged as JudgedBatch
from pipeline.runtime.judgement import Plan, judge


class Version(NamedTuple):
    """A version of the configuration, and when it was written (milliseconds since the epoch)."""

    workspace: Workspace
    at_ms: int


class Rerun:
    """Runs single steps again.

    Args:
        judges: What steps need beside the workspace.
        versions: The versions of the configuration by number.
    """

    def __init__(self, judges: Judges, versions: Mapping[int, Version]) -> None:
        self._judges = judges
        self._versions = dict(sorted(versions.items()))
        self._plans: dict[tuple[str, int, str, tuple[str, ...] | None], Plan] = {}

    def versions(self) -> Sequence[int]:
        """Give the versions that are known, ascending."""
        return tuple(self._versions)

    def workspace(self, version: int) -> Workspace:
        """Give a version."""
        return self._versions[version].workspace

    def version_at(self, at_ms: int) -> int:
        """Give the version that was in force at a time; the first known one before that."""
        numbers = list(self._versions)
        place = bisect_right([one.at_ms for one in self._versions.values()], at_ms)
        return numbers[max(0, place - 1)] if numbers else 0

    def judge(self, step: str, record: Record, version: int, *, instance: str = "", enrichments: Sequence[str] | None = None) -> Judged:
        """Run one step on one record, as a processor of this version would."""
        names = None if enrichments is None else tuple(enrichments)
        plan = self._plans.get((step, version, instance, names))
        if plan is None:
            plan = self._plans[step, version, instance, names] = self._plan(step, version, instance, names)
        batch = JudgedBatch()
        judge((record,), plan, batch, at_ms=0)
        verdict: Verdict = "passed"
        reason = ""
        withheld = []
        for row in batch.tally.rows:
            if row.verdict == "withheld":
                withheld.append((row.destination, row.reason))
            else:
                verdict, reason = row.verdict, row.reason
        return Judged(verdict, reason, tuple(batch.outputs), tuple(withheld))

    def _plan(self, step: str, version: int, instance: str, enrichments: tuple[str, ...] | None) -> Plan:
        processor = self._processor(step)
        chosen = processor.enrichments if enrichments is None else enrichments
        workspace = self.workspace(version)
        alone = replace(processor, steps=(step,), enrichments=chosen)
        steps = build_steps(alone, instance, workspace, self._judges)
        lanes = {"main": f"{step}.main", **processor.lanes}
        return Plan(workspace.name, version, steps, lanes, trusted=step != "validate")

    def _processor(self, step: str) -> Processor:
        for processor in self._judges.topology.processors.values():
            if step in processor.steps:
                return processor
        reason = f"the topology {self._judges.topology.name} has no step {step}"
        raise ValueError(reason)
