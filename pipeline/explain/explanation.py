"""Puts an explanation together: the stages that every event meets, what each destination and storage got, and where copies lie."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.explain.evidence import Evidence, Recomputation
from pipeline.explain.findings import Explanation, Place, Target, place_of
from pipeline.explain.rules import Locate
from pipeline.explain.stages import Way
from pipeline.explain.targets import targets
from pipeline.model.topology import Processor, Topology


def chain_of(topology: Topology) -> tuple[Processor, ...]:
    """Give the processors that every event meets, in order.

    Args:
        topology: The topology.

    Returns:
        Those of kind `steps` from `raw` on that write to a main lane.
    """
    chain: list[Processor] = []
    topic = "raw"
    while following := [one for one in topology.processors.values() if one.input == topic and not one.for_each and "main" in one.lanes]:
        if following[0] in chain:
            break
        chain.append(following[0])
        topic = following[0].lanes["main"]
    return tuple(chain)


def explain(evidence: Evidence, topology: Topology, again: Recomputation, prefix: str, locate: Locate = lambda _path: "") -> Explanation:
    """Say what happened to one event, stage by stage.

    Args:
        evidence: What was found of it.
        topology: The topology that is run.
        again: Runs its steps again.
        prefix: The workspace's name.
        locate: Finds places in the workspace's files.

    Returns:
        The explanation.
    """
    way = Way(evidence, again, prefix)
    stages = list(way.stages(chain_of(topology)))
    found_targets: list[Target] = []
    if way.routed is not None:
        found_targets = list(targets(evidence, topology, again, prefix, way.routed, way.body, locate))
    held = [one.compared for one in stages]
    for target in found_targets:
        held += [one.compared for one in target.findings] + [one.compared for one in target.mappings]
    event = way.body.get("event") if way.body.get("type") == "track" else ""
    return Explanation(
        message_id=str(way.body.get("messageId") or evidence.message_id),
        source=evidence.source or way.source,
        type=_text(way.body.get("type")),
        event=_text(event),
        found=evidence.found,
        stages=tuple(stages),
        targets=tuple(found_targets),
        copies=tuple(_copies(evidence, prefix)),
        same="differs" not in held,
        searched=tuple(evidence.searched),
        given_up=tuple(evidence.given_up),
    )


def _copies(evidence: Evidence, prefix: str) -> Iterator[Place]:
    records = (
        *evidence.raw,
        *evidence.records.values(),
        *evidence.requests,
        *evidence.replays,
        *evidence.retries,
        *evidence.attempts,
        *evidence.dead,
    )
    return iter(dict.fromkeys(place_of(record, prefix) for record in records))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
