"""Check what a webhook source declares beyond its shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pipeline.declaration.problems import did_you_mean
from pipeline.declaration.rules import WorkspaceRules
from pipeline.declaration.shape import Fault

_NOT_FOR_WEBHOOKS: Final = ("write_keys", "disabled_keys", "origins", "oauth")
"""What says who may use the tracking API; a delivery is let in by its signature."""
_WEBHOOK_ONLY: Final = ("preset", "secrets", "signature", "message_id", "event_name", "mappings")


def webhook_faults(source: Mapping[str, Any], rules: WorkspaceRules) -> Iterator[Fault]:
    """Find what is wrong with a source as far as webhooks go.

    Args:
        source: The source as declared; its shape is right.
        rules: What exists.

    Yields:
        Faults with paths from the source.
    """
    if source.get("type") != "webhook":
        for name in _WEBHOOK_ONLY:
            if name in source:
                yield Fault((name,), f"{name} is for sources of type webhook only", "add type: webhook, or take it out", key=True)
        return
    for name in _NOT_FOR_WEBHOOKS:
        if name in source:
            yield Fault((name,), f"{name} does nothing for a source of type webhook: its secrets let deliveries in", "take it out", key=True)
    preset = source.get("preset")
    if preset is not None and preset not in rules.presets:
        yield Fault(("preset",), f"unknown preset {preset}", did_you_mean(preset, rules.presets))
    if "secrets" not in source:
        variable = f"{source['id'].upper().replace('-', '_')}_WEBHOOK_SECRET"
        yield Fault((), "secrets is missing: without one anybody could send to a webhook source", f'write secrets: ["${{env:{variable}}}"]')
    for name in ("message_id", "event_name"):
        if name in source:
            yield from (fault._replace(path=(name, *fault.path)) for fault in rules.mapping_faults(source[name]))
    yield from _mapping_faults(source.get("mappings", []), rules)


def _mapping_faults(mappings: list[dict[str, Any]], rules: WorkspaceRules) -> Iterator[Fault]:
    names: set[str] = set()
    for index, mapping in enumerate(mappings):
        path = ("mappings", index)
        if mapping["name"] in names:
            yield Fault((*path, "name"), f"a second mapping has the name {mapping['name']}", "a mapping's name is unique in its source")
        names.add(mapping["name"])
        if "action" in mapping:
            yield Fault((*path, "action"), "action is for mappings of destinations only", "take it out", key=True)
        yield from (fault._replace(path=(*path, "trigger")) for fault in rules.query_faults(mapping["trigger"]))
        yield from (fault._replace(path=(*path, "fields", *fault.path)) for fault in rules.mapping_faults(mapping["fields"]))
