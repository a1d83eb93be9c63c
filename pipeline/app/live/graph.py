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
    translate = next((one for one in topology.processors.values() if one.kind == "steps" and "requests" in one.lanes), None)
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
        if one.kind == "replay":
            continue  # it has a group for each job, which ends
        for instance in _instances(one, workspace):
            topic = one.input.replace("{destination}", instance).replace("{storage}", instance)
            topics = [topic]
            if one.kind == "deliver":
                topics += [f"{topic}.retry", f"{topic}.replay"]
            elif one.kind == "lake":
                topics.append(f"{topic}.{instance}.replay")
            elif one.kind == "retry":
                topics = [topic.replace("{delay}", delay) for delay in RETRY_DELAYS]
            result[f"{one.name}.{instance}" if instance else one.name] = topics
    return result


def _instances(processor: Processor, workspace: Workspace) -> Iterable[str]:
    if processor.for_each == "destination":
        return workspace.destinations
    return workspace.storage if processor.for_each == "storage" else ("",)


def graph(topology: Topology, workspace: Workspace) -> dict[str, Any]:
    """Give the topology as nodes and edges, laid out in columns and rows.

    Args:
        topology: The topology.
        workspace: What is declared now.

    Returns:
        `nodes` (id, kind, label, detail, group, column, row), `edges` (from, to) and `reasons` (severity and sentence by name). Rows may be
        halves: what stands alone stands in the middle.
    """
    drawing = _Drawing(shape(topology), topology, workspace)
    drawing.sources()
    last = drawing.chain()
    drawing.destinations(last)
    drawing.storage(last)
    reasons = {reason.name: {"severity": reason.severity, "sentence": reason.sentence} for reason in REASONS.values()}
    return {
        "topology": topology.name,
        "workspace": workspace.name,
        "version": workspace.version,
        "nodes": drawing.nodes,
        "edges": drawing.edges,
        "reasons": reasons,
    }


class _Drawing:
    """Nodes and edges while they are laid out."""

    def __init__(self, way: Shape, topology: Topology, workspace: Workspace) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.edges: list[dict[str, str]] = []
        self._way = way
        self._topology = topology
        self._workspace = workspace
        self._fan = len(way.chain) + 2
        self._retry = next((one.name for one in topology.processors.values() if one.kind == "retry"), "") if workspace.destinations else ""
        targets = len(workspace.destinations) + max(len(workspace.storage) * len(way.stores), bool(self._retry))
        rows = max(1, len(workspace.sources), targets)
        self._middle = (rows - 1) / 2
        self._first_source = (rows - len(workspace.sources)) / 2
        self._first_target = (rows - targets) / 2

    def _node(self, ident: str, kind: str, label: str, detail: str, column: int, row: float, group: str = "") -> None:
        self.nodes.append({"id": ident, "kind": kind, "label": label, "detail": detail, "group": group, "column": column, "row": row})

    def _edge(self, start: str, end: str) -> None:
        self.edges.append({"from": start, "to": end})

    def sources(self) -> None:
        """Draw the sources and the collector."""
        for row, source in enumerate(self._workspace.sources.values()):
            self._node(f"source/{source.id}", "source", source.id, "source" if source.enabled else "disabled", 0, self._first_source + row)
            self._edge(f"source/{source.id}", "collector")
        self._node("collector", "collector", "collector", "HTTP", 1, self._middle, "collector")

    def chain(self) -> str:
        """Draw the stages that every event meets, and give the last."""
        last = "collector"
        for column, stage in enumerate(self._way.chain, start=2):
            steps = self._topology.processors[stage.name].steps
            detail = " → ".join(steps) if steps != (stage.name,) else ""
            self._node(stage.name, "stage", stage.name, detail, column, self._middle, stage.name)
            self._edge(last, stage.name)
            last = stage.name
        return last

    def destinations(self, last: str) -> None:
        """Draw translate and deliver for each destination, or one translate for all."""
        name, each = self._way.translate
        destinations = self._workspace.destinations.values()
        if not name or not destinations:
            return
        if not each:
            middle = self._first_target + (len(destinations) - 1) / 2
            self._node(name, "stage", name, "all destinations", self._fan, middle, name)
            self._edge(last, name)
        for place, destination in enumerate(destinations):
            row = self._first_target + place
            before = self._way.translator(destination.id)
            if each:
                self._node(before, "stage", name, destination.id, self._fan, row, before)
                self._edge(last, before)
            if self._way.deliver:
                group = f"{self._way.deliver}.{destination.id}"
                self._node(group, "stage", self._way.deliver, destination.id, self._fan + 1, row, group)
                self._edge(before, group)
                before = group
            self._node(f"target/{destination.id}", "destination", destination.id, destination.type, self._fan + 2, row, before)
            self._edge(before, f"target/{destination.id}")
            if self._retry and self._way.deliver:
                self._edge(before, self._retry)
        if self._retry and self._way.deliver:
            # It lies behind deliver, though what is due goes back there: an arrow back would cross everything.
            self._node(self._retry, "retry", self._retry, "back to deliver", self._fan + 2, self._first_target + len(destinations), self._retry)

    def storage(self, last: str) -> None:
        """Draw what stores events."""
        row = self._first_target + len(self._workspace.destinations)
        for storage in self._workspace.storage.values():
            for name in self._way.stores:
                group = f"{name}.{storage.id}"
                self._node(group, "stage", name, storage.id, self._fan, row, group)
                self._node(f"target/{storage.id}", "storage", storage.id, storage.type, self._fan + 1, row, group)
                self._edge(last, group)
                self._edge(group, f"target/{storage.id}")
                row += 1
