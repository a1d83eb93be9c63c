"""The topology as the page draws it, and as it tells the way of an event: a chain of stages, then what fans out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from pipeline.model.reasons import REASONS
from pipeline.model.topics import RETRY_DELAYS
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Workspace


class Stage(NamedTuple):
    """A processor that every event meets.

    Attributes:
        name: Its name.
        input: Topic that it reads, without prefix.
        output: Topic that its main lane leads to.
    """

    name: str
    input: str
    output: str


class Shape(NamedTuple):
    """What of a topology the way of an event needs.

    Attributes:
        chain: The stages from `raw` on, in order.
        translate: Name of the processor that makes requests, or empty, and whether there is a group for each destination.
        deliver: Name of the processor that delivers them, or empty.
        stores: Names of the processors that store events; there is a group for each storage.
    """

    chain: tuple[Stage, ...]
    translate: tuple[str, bool]
    deliver: str
    stores: tuple[str, ...]

    @property
    def last(self) -> str:
        """The topic at the end of the chain."""
        return self.chain[-1].output if self.chain else "raw"

    @property
    def event_topics(self) -> tuple[str, ...]:
        """The topics that hold events, in the order in which an event meets them."""
        return ("raw", *(stage.output for stage in self.chain))

    def translator(self, destination: str) -> str:
        """Name the group that makes a destination's requests."""
        name, each = self.translate
        return f"{name}.{destination}" if each else name


def shape(topology: Topology) -> Shape:
    """Read the shape of a topology.

    Args:
        topology: The topology.

    Returns:
        Its chain and what follows it.
    """
    chain: list[Stage] = []
    topic = "raw"
    while (following := _following(topology, topic)) is not None and all(stage.name != following.name for stage in chain):
        chain.append(following)
        topic = following.output
    translate = next((one for one in topology.processors.values() if "requests" in one.lanes), None)
    deliver = next((one.name for one in topology.processors.values() if one.kind == "deliver"), "")
    return Shape(
        tuple(chain),
        (translate.name, translate.for_each == "destination") if translate is not None else ("", False),
        deliver,
        tuple(one.name for one in topology.processors.values() if one.for_each == "storage"),
    )


def _following(topology: Topology, topic: str) -> Stage | None:
    for one in topology.processors.values():
        if one.input == topic and not one.for_each and "main" in one.lanes:
            return Stage(one.name, one.input, one.lanes["main"])
    return None


def groups(topology: Topology, workspace: Workspace) -> dict[str, list[str]]:
    """List the consumer groups and the topics that each reads.

    Args:
        topology: The topology.
        workspace: What is declared now.

    Returns:
        Topics by group, both without prefix.
    """
    result: dict[str, list[str]] = {}
    for one in topology.processors.values():
        for instance in _instances(one, workspace):
            topic = one.input.replace("{destination}", instance).replace("{storage}", instance)
            topics = [topic]
            if one.kind == "deliver":
                topics.append(f"{topic}.retry")
            elif one.kind == "retry":
                topics = [topic.replace("{delay}", delay) for delay in RETRY_DELAYS]
            result[f"{one.name}.{instance}" if instance else one.name] = topics
    return result


def _instances(processor: Processor, workspace: Workspace) -> Iterable[str]:
    if processor.for_each == "destination":
        return workspace.destinations
    return workspace.storage if processor.for_each == "storage" else ("",)


def graph(topology: Topology, workspace: Workspace) -> dict[str, Any]:
    """Give the topology as nodes and edges, laid out in columns.

    Args:
        topology: The topology.
        workspace: What is declared now.

    Returns:
        `nodes` (id, kind, label, detail, group, column, row), `edges` (from, to, label) and `reasons` (severity and sentence by name).
    """
    way = shape(topology)
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, str]] = []

    def node(ident: str, kind: str, label: str, column: int, row: int, **more: str) -> None:
        nodes.append({"id": ident, "kind": kind, "label": label, "column": column, "row": row, **more})

    for row, source in enumerate(workspace.sources.values()):
        node(f"source/{source.id}", "source", source.id, 0, row, detail="source" if source.enabled else "disabled")
        edges.append({"from": f"source/{source.id}", "to": "collector", "label": ""})
    node("collector", "collector", "collector", 1, 0, detail="HTTP")
    last = "collector"
    for column, stage in enumerate(way.chain, start=2):
        steps = topology.processors[stage.name].steps
        node(stage.name, "stage", stage.name, column, 0, detail=" → ".join(steps) if steps != (stage.name,) else "", group=stage.name)
        edges.append({"from": last, "to": stage.name, "label": stage.input})
        last = stage.name
    column = len(way.chain) + 2
    _destinations(way, workspace, last, column, node, edges)
    row = len(workspace.destinations)
    for storage in workspace.storage.values():
        for name in way.stores:
            group = f"{name}.{storage.id}"
            node(group, "stage", name, column, row, detail=storage.id, group=group)
            node(f"target/{storage.id}", "storage", storage.id, column + 2, row, detail=storage.type, group=group)
            edges.append({"from": last, "to": group, "label": way.last})
            edges.append({"from": group, "to": f"target/{storage.id}", "label": ""})
            row += 1
    reasons = {reason.name: {"severity": reason.severity, "sentence": reason.sentence} for reason in REASONS.values()}
    return {"topology": topology.name, "workspace": workspace.name, "version": workspace.version, "nodes": nodes, "edges": edges, "reasons": reasons}


def _destinations(way: Shape, workspace: Workspace, last: str, column: int, node: Any, edges: list[dict[str, str]]) -> None:  # noqa: ANN401 (the function above)
    name, each = way.translate
    if not name or not workspace.destinations:
        return
    if not each:
        node(name, "stage", name, column, 0, detail="all destinations", group=name)
        edges.append({"from": last, "to": name, "label": way.last})
    for row, destination in enumerate(workspace.destinations.values()):
        translator = way.translator(destination.id)
        if each:
            node(translator, "stage", name, column, row, detail=destination.id, group=translator)
            edges.append({"from": last, "to": translator, "label": way.last})
        before = translator
        if way.deliver:
            before = f"{way.deliver}.{destination.id}"
            node(before, "stage", way.deliver, column + 1, row, detail=destination.id, group=before)
            edges.append({"from": translator, "to": before, "label": f"requests.{destination.id}"})
        node(f"target/{destination.id}", "destination", destination.id, column + 2, row, detail=destination.type, group=before)
        edges.append({"from": before, "to": f"target/{destination.id}", "label": ""})
