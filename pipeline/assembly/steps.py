"""Builds the steps of a processor from the registry, for one version of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.enrich import create_enrich, open_geo_reader
from pipeline.filter import create_filter
from pipeline.mapping import QueryError, compile_mapping, compile_query, members_of
from pipeline.model.outcomes import NarrowStep, Outcome, Step
from pipeline.model.record import Message
from pipeline.model.topology import Processor, Topology
from pipeline.model.workspace import Source, Storage, Workspace
from pipeline.registry import DESTINATION_TYPES
from pipeline.translate import create_translate, create_translate_all
from pipeline.validate import create_validate

Resolve = Callable[[str], str]
"""Fills in the references to secrets in a text; raises ValueError for one that is not there."""


class Judges(NamedTuple):
    """What steps need beside the workspace.

    Attributes:
        topology: The topology.
        call_schemas: JSON Schemas of the six calls by type.
        resolve: Fills in references to secrets.
    """

    topology: Topology
    call_schemas: Mapping[str, Mapping[str, Any]]
    resolve: Resolve

    def folder_of(self, storage: Storage) -> Path:
        """Give the folder of a lake."""
        return Path(self.resolve(str(storage.settings["path"])))


def write_keys(workspace: Workspace, resolve: Resolve) -> dict[str, str]:
    """Resolve the write keys of a workspace.

    Args:
        workspace: What is declared.
        resolve: Fills in references to secrets.

    Returns:
        Source id by write key; keys that are disabled or whose secret is not there are left out.
    """
    disabled = disabled_keys(workspace, resolve)
    return {key: source for key, source in _resolved(workspace, resolve, lambda source: source.write_keys) if key not in disabled}


def disabled_keys(workspace: Workspace, resolve: Resolve) -> dict[str, str]:
    """Resolve the write keys of a workspace that open nothing any more.

    Args:
        workspace: What is declared.
        resolve: Fills in references to secrets.

    Returns:
        Source id by write key.
    """
    return dict(_resolved(workspace, resolve, lambda source: source.disabled_keys))


def _resolved(workspace: Workspace, resolve: Resolve, keys: Callable[[Source], Iterable[str]]) -> Iterator[tuple[str, str]]:
    for source in workspace.sources.values():
        for reference in keys(source):
            try:
                yield resolve(reference), source.id
            except ValueError:
                continue  # `headrace check` names it; one missing secret must not stop the other sources


def build_steps(
    processor: Processor,
    instance: str,
    workspace: Workspace,
    judges: Judges,
    left_out: Collection[str] = (),
) -> tuple[tuple[str, Step], ...]:
    """Build the steps of a processor for one version of the configuration.

    Args:
        processor: The processor.
        instance: Id of the destination where there is one group for each, else empty.
        workspace: What is declared.
        judges: What steps need beside it.
        left_out: Names of steps that are not built.

    Returns:
        Names and steps in order. Dedup is not among them: it is made for each partition, with its state.
    """
    steps: list[tuple[str, Step]] = []
    for name in processor.steps:
        if name == "dedup" or name in left_out:
            continue
        if name == "validate":
            keys = write_keys(workspace, judges.resolve)
            step = create_validate(workspace, keys, judges.call_schemas, partitions=judges.topology.partitions)
        elif name == "enrich":
            step = _enrich(processor, workspace)
        elif name == "filter":
            step = _filter(workspace)
        elif name == "translate":
            step = _translate(instance, workspace)
        else:
            reason = f"there is no step {name}"
            raise ValueError(reason)
        steps.append((name, step))
    return tuple(steps)


def _filter(workspace: Workspace) -> Step:
    queries = (rule.query for destination in workspace.destinations.values() for rule in destination.filters)
    step = create_filter(workspace, compile_query)
    try:
        named = frozenset[str]().union(*map(members_of, queries))
    except QueryError:  # `headrace check` names it; the filter holds back what it can't judge
        return step
    return NarrowStep(named | {"type", "event", "integrations"}, step)


def _enrich(processor: Processor, workspace: Workspace) -> Step:
    settings: dict[str, Mapping[str, Any]] = dict(workspace.enrichments)
    names = list(processor.enrichments)
    geo = settings.get("geo", {}).get("path")
    if geo is None:
        names = [name for name in names if name != "geo"]
    else:
        settings["geo"] = {"reader": open_geo_reader(Path(geo))}
    whole = create_enrich([name for name in names if name != "ip_anonymize"], settings)
    anonymized = create_enrich(names, settings)
    shortened = {source.id for source in workspace.sources.values() if source.anonymize_ip}

    def enrich(message: Message) -> Outcome | None:
        (anonymized if message.source in shortened else whole)(message.body)
        return None

    return enrich


def _translate(instance: str, workspace: Workspace) -> Step:
    if instance:
        destination = workspace.destinations[instance]
        return create_translate(destination, DESTINATION_TYPES[destination.type], compile_mapping, compile_query)
    return translate_all(workspace)


def translate_all(workspace: Workspace) -> Step:
    """Build the step that renders the requests of every destination that an event is routed to.

    Args:
        workspace: What is declared.

    Returns:
        The step.
    """
    pairs = [(one, DESTINATION_TYPES[one.type]) for one in workspace.destinations.values()]
    return create_translate_all(pairs, list(workspace.storage), compile_mapping, compile_query)
