"""A topology drawn for people: as text, and as a Mermaid graph."""

from __future__ import annotations

import re

from pipeline.declaration.topology import MAIN
from pipeline.model.topology import Processor, Topology


def describe(topology: Topology) -> str:
    """Write a topology as text, processor by processor, in the order of the file.

    Args:
        topology: The topology.

    Returns:
        Text that ends with a line break; equal topologies give equal text, so that a review sees a changed shape.
    """
    lines = [f"topology {topology.name}, {topology.partitions} partitions"]
    for processor in topology.processors.values():
        lines += ["", _title(processor)]
        lines += [f"  reads   {processor.input}{_also_reads(processor)}"]
        if processor.steps:
            lines.append(f"  runs    {_runs(processor)}")
        width = max((len(lane) for lane in processor.lanes), default=0)
        lines += [f"  writes  {lane:<{width}}  → {topic}" for lane, topic in _lanes(processor)]
        if processor.process != processor.name:
            lines.append(f"  process {processor.process}")
    return "\n".join(lines) + "\n"


def mermaid(topology: Topology) -> str:
    """Write a topology as a Mermaid graph: processors as boxes, topics as cylinders, dead-letter lanes dotted.

    Args:
        topology: The topology.

    Returns:
        Text of a Mermaid flowchart that ends with a line break.
    """
    topics: list[str] = []
    nodes: list[str] = []
    edges: list[str] = []
    for processor in topology.processors.values():
        box = f"p_{_id(processor.name)}"
        each = f"<br/>one for each {processor.for_each}" if processor.for_each else ""
        detail = f"<br/><i>{', '.join(processor.steps)}</i>" if processor.steps and processor.steps != (processor.name,) else ""
        nodes.append(f'  {box}["{processor.name}{detail}{each}"]')
        inputs = [processor.input, *(topic for topic, _ in _besides(processor))]
        edges += [f"  {_topic(topic, topics)} --> {box}" for topic in inputs]
        for lane, topic in _lanes(processor):
            arrow = "-->" if lane == MAIN else "-.->" if lane == "dead" else f"-->|{lane}|"
            edges.append(f"  {box} {arrow} {_topic(topic, topics)}")
    shapes = [f'  t_{_id(topic)}[("{topic}")]' for topic in topics]
    return "\n".join(["flowchart LR", *nodes, *shapes, *edges]) + "\n"


def _title(processor: Processor) -> str:
    each = f", one group for each {processor.for_each}" if processor.for_each else ""
    return f"{processor.name} ({processor.kind}{each})"


def _also_reads(processor: Processor) -> str:
    return "".join(f", {topic} {word}" for topic, word in _besides(processor))


def _besides(processor: Processor) -> list[tuple[str, str]]:
    """Give the inputs that the runtime adds to a processor of a kind, which have no line of their own in the file, and how they are read."""
    if processor.kind == "deliver":
        return [(f"{processor.input}.retry", "first"), (f"{processor.input}.replay", "last")]
    return [(f"{processor.input}.{{storage}}.replay", "too")] if processor.kind == "lake" else []


def _runs(processor: Processor) -> str:
    return " → ".join(
        f"enrich ({', '.join(processor.enrichments)})" if step == "enrich" and processor.enrichments else step for step in processor.steps
    )


def _lanes(processor: Processor) -> list[tuple[str, str]]:
    """Give the lanes, main first and dead last, and the others in the order of the file."""
    order = {MAIN: 0, "dead": 2}
    return sorted(processor.lanes.items(), key=lambda item: order.get(item[0], 1))


def _topic(topic: str, topics: list[str]) -> str:
    if topic not in topics:
        topics.append(topic)
    return f"t_{_id(topic)}"


def _id(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
