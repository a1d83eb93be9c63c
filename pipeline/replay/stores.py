"""The way of live events from a topic to the stores."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.model.topology import Topology


def path_to_store(topology: Topology, topic: str, storages: Iterable[str]) -> list[tuple[str, str]]:
    """List the groups that an event passes from a topic until it is stored.

    Args:
        topology: The topology.
        topic: Topic without prefix.
        storages: Ids of the storages.

    Returns:
        Group and the topic that it reads, both without prefix, in the order of the way; the stores' own groups last.
    """
    path: list[tuple[str, str]] = []
    stores = [one for one in topology.processors.values() if one.kind == "lake"]
    while stores and topic not in {one.input for one in stores}:
        stage = next((one for one in topology.processors.values() if one.input == topic and "main" in one.lanes and not one.for_each), None)
        if stage is None:
            return path
        path.append((stage.name, topic))
        topic = stage.lanes["main"]
    return path + [(f"{store.name}.{storage}", topic) for store in stores if store.input == topic for storage in storages]


def event_topic(topology: Topology) -> str:
    """Give the topic in which a job finds events whatever their routes: the input of the processor of kind `replay`; empty where there is none."""
    return next((one.input for one in topology.processors.values() if one.kind == "replay"), "")
