"""Which rule of the workspace, or of the event itself, kept an event from a destination: its place and its text.

The step has decided already (`pipeline.filter`); this names the rule in the order in which the step looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from pipeline.mapping import compile_query
from pipeline.model.workspace import Destination

Locate = Callable[[Sequence[str | int]], str]
"""Gives file and line of a place in the workspace (`destinations/crm/filters/0`), or an empty text."""


def withheld_rule(destination: Destination, body: dict[str, Any], reason: str, locate: Locate = lambda _path: "") -> str:
    """Name the rule that withheld an event from a destination.

    Args:
        destination: The destination, as the version that judged declared it.
        body: The event.
        reason: The reason that the filter gave.
        locate: Finds places in the workspace's files.

    Returns:
        `destinations.crm.filters[0]: if 'type = "page"' then drop (workspace.yaml:12)`, or empty where no rule is behind it.
    """
    name = destination.id
    if reason == "destination_disabled":
        return _rule(name, ("enabled",), "false", locate)
    if reason == "filtered_by_integrations_object":
        given = body.get("integrations")
        key = next((one for one in (name, destination.type, "All") if isinstance(given, dict) and given.get(one) is not None), "All")
        return f'the event\'s own integrations: {{"{key}": false}}'
    if reason in ("filtered_by_rules", "filter_failed"):
        return _own_rule(destination, body, locate)
    return ""


def _own_rule(destination: Destination, body: dict[str, Any], locate: Locate) -> str:
    event = body.get("event") if body.get("type") == "track" else None
    if isinstance(event, str):
        if destination.events and event not in destination.events:
            return _rule(destination.id, ("events",), _list(destination.events), locate)
        if event in destination.except_events:
            return _rule(destination.id, ("except_events",), _list(destination.except_events), locate)
    for index, one in enumerate(destination.filters):
        try:
            matched, fault = compile_query(one.query)(body), ""
        except Exception as error:  # noqa: BLE001 (the step holds whatever goes wrong in a filter for a reason to withhold)
            matched, fault = True, f" failed: {error}"
        if matched:
            return _rule(destination.id, ("filters", index), f"if '{one.query}' then {one.then}{fault}", locate)
    return ""


def ended_rule(step: str, reason: str, body: dict[str, Any], source: str) -> str:
    """Name the rule for which a step ended an event.

    Args:
        step: The step.
        reason: Its reason.
        body: The event.
        source: Its source.

    Returns:
        The rule, or empty where none is behind it.
    """
    if reason == "schema_violation":
        return f'sources.{source}.schemas["{body.get("event")}"]'
    if reason == "source_disabled":
        return f"sources.{source}.enabled: false"
    if step == "validate" and reason:
        return "the spec's rules for this call (schemas/calls)"
    return ""


def trigger_of(destination: Destination, mapping: int) -> str:
    """Give the place of a mapping's trigger in the workspace."""
    return f"destinations.{destination.id}.mappings[{mapping}].trigger"


def sources_rule(destination: str, kind: str, sources: Sequence[str], locate: Locate = lambda _path: "") -> str:
    """Say from which sources a destination or storage takes events."""
    file = locate((kind, destination, "sources"))
    return f"{kind}.{destination}.sources: {_list(sources)}{f' ({file})' if file else ''}"


def _rule(destination: str, path: Sequence[str | int], text: str, locate: Locate) -> str:
    file = locate(("destinations", destination, *path))
    where = "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)
    return f"destinations.{destination}{where}: {text}{f' ({file})' if file else ''}"


def _list(names: Sequence[str]) -> str:
    return orjson.dumps(list(names)).decode()
