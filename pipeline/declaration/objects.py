"""Sources, destinations and storages, between the plain data of a file or a config record and the values of `pipeline.model.workspace`.

The data must have the shape of `schemas/workspace.json` already (`pipeline.declaration.shape`); what it leaves out keeps the model's default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from pipeline.model.workspace import Destination, Filter, MappingDeclaration, OAuth, Signature, Source, Storage, Workspace

Data = dict[str, Any]


def source_of(data: Mapping[str, Any]) -> Source:
    """Make a source of its declaration, with its schemas inlined."""
    values = dict(data)
    for name in ("write_keys", "disabled_keys", "origins", "secrets"):
        values[name] = tuple(values.get(name, ()))
    if "oauth" in values:
        values["oauth"] = OAuth(**values["oauth"])
    if "signature" in values:
        values["signature"] = Signature(**values["signature"])
    values["mappings"] = tuple(MappingDeclaration(**mapping) for mapping in values.get("mappings", ()))
    return Source(**values)


def destination_of(data: Mapping[str, Any]) -> Destination:
    """Make a destination of its declaration."""
    values = dict(data)
    for name in ("sources", "events", "except_events"):
        values[name] = tuple(values.get(name, ()))
    values["mappings"] = tuple(MappingDeclaration(**mapping) for mapping in values.get("mappings", ()))
    values["filters"] = tuple(Filter(query=rule["if"], then=rule["then"]) for rule in values.get("filters", ()))
    return Destination(**values)


def storage_of(data: Mapping[str, Any]) -> Storage:
    """Make a storage of its declaration."""
    return Storage(**{**data, "sources": tuple(data.get("sources", ()))})


def workspace_of(data: Mapping[str, Any], version: int = 0) -> Workspace:
    """Make a workspace of its declaration.

    Args:
        data: All of it, with the schemas of events inlined.
        version: Version of the configuration.

    Returns:
        The workspace.
    """
    return Workspace(
        name=data["workspace"],
        version=version,
        sources={item["id"]: source_of(item) for item in data.get("sources", ())},
        destinations={item["id"]: destination_of(item) for item in data.get("destinations", ())},
        storage={item["id"]: storage_of(item) for item in data.get("storage", ())},
        default_source=data.get("default_source", ""),
        enrichments=dict(data.get("enrichments", {})),
    )


def object_data(value: Source | OAuth | Signature | Destination | Storage | MappingDeclaration) -> Data:
    """Write an object as it would be declared, without what is left at its default.

    Args:
        value: The object.

    Returns:
        Plain data; `source_of` and the like give an equal object.
    """
    data: Data = {}
    for field in fields(value):
        item = getattr(value, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        # A declaration of a destination or storage must name its sources, even if there are none.
        if field.name != "sources" and item == default:
            continue
        data[field.name] = _plain(item)
    return data


def _plain(item: Any) -> Any:  # noqa: ANN401 (any value of the model)
    if isinstance(item, Filter):
        return {"if": item.query, "then": item.then}
    if isinstance(item, MappingDeclaration | OAuth | Signature):
        return object_data(item)
    if isinstance(item, tuple):
        return [_plain(one) for one in item]
    if isinstance(item, Mapping):
        return dict(item)
    return item
