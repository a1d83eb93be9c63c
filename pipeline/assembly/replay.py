"""The steps of a replay job: those that live events meet between its input and the requests, without dedup, and only for its targets."""

from __future__ import annotations

from pipeline.assembly.steps import Judges, build_steps, translate_all
from pipeline.model.outcomes import Step
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Workspace
from pipeline.replay.jobs import Job
from pipeline.replay.routing import create_route, create_select, in_place
from pipeline.runtime.judgement import Plan

_LEFT_OUT = frozenset(("dedup", "filter", "translate"))


def build_replay_steps(job: Job, workspace: Workspace, judges: Judges) -> tuple[tuple[str, Step], ...]:
    """Build a job's steps for one version of the configuration.

    Args:
        job: The job.
        workspace: What is declared.
        judges: What steps need beside it.

    Returns:
        Names and steps in order.
    """
    topology = judges.topology
    steps: list[tuple[str, Step]] = []
    if job.input == "raw":
        for processor in _before_events(topology):
            steps += build_steps(processor, "", workspace, judges, left_out=_LEFT_OUT)
        steps = [(name, in_place(step, topology.partitions) if name == "validate" else step) for name, step in steps]
    filter_ = build_steps(Processor("filter", "", steps=("filter",)), "", workspace, judges)
    route = create_route(job, translate_all(workspace), workspace.version)
    return (*steps[:1], ("replay", create_select(job)), *steps[1:], *filter_, ("translate", route))


def _before_events(topology: Topology) -> list[Processor]:
    """Give the processors from `raw` on whose steps make an event of a message."""
    found: list[Processor] = []
    topic = "raw"
    while (one := next((each for each in topology.processors.values() if each.input == topic and "main" in each.lanes), None)) is not None:
        if one in found or not set(one.steps) - _LEFT_OUT:
            break
        found.append(one)
        topic = one.lanes["main"]
    return found


def replay_processor(job: Job, topology: Topology) -> Processor:
    """Give the processor that a job runs as: the topology's, over the job's own input."""
    declared = next(one for one in topology.processors.values() if one.kind == "replay")
    return Processor(declared.name, job.input, "replay", lanes=declared.lanes)


def replay_plan(job: Job, workspace: Workspace, judges: Judges) -> Plan:
    """Build what judges a job's events, for who only looks.

    Args:
        job: The job.
        workspace: What is declared.
        judges: What steps need beside it.

    Returns:
        The plan.
    """
    lanes = replay_processor(job, judges.topology).lanes
    return Plan(workspace.name, workspace.version, build_replay_steps(job, workspace, judges), lanes, trusted=job.input != "raw")
