"""What exists: one line for each step, destination, source preset, storage and enrichment. Nothing registers itself; imports have no effects."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pipeline.destinations.declaration import DestinationType
from pipeline.destinations.webhook import DESTINATION as WEBHOOK
from pipeline.enrich import ENRICHMENTS

__all__ = ["DESTINATION_TYPES", "ENRICHMENTS", "SOURCE_PRESETS", "STEPS", "STORAGE_TYPES", "StepKind"]


class StepKind(NamedTuple):
    """A line of the table of steps.

    Attributes:
        lanes: The lanes that it writes to; `main` among them where messages can go on from it.
        sentence: What it decides.
    """

    lanes: tuple[str, ...]
    sentence: str


STEPS: Final[Mapping[str, StepKind]] = MappingProxyType(
    {
        "validate": StepKind(("main", "raw", "dead"), "Names the source, normalises the message, holds it to the spec and to its source's schemas."),
        "dedup": StepKind(("main", "dead"), "Drops a message whose id was seen from the same source within the window."),
        "enrich": StepKind(("main", "dead"), "Adds what can be derived: device, bot, campaign, place."),
        "filter": StepKind(("main", "dead"), "Decides which destinations and storages an event is for."),
        "translate": StepKind(("requests", "dead"), "Renders the requests that a destination understands."),
    }
)
"""Every step by name."""

DESTINATION_TYPES: Final[Mapping[str, DestinationType]] = MappingProxyType({one.slug: one for one in (WEBHOOK,)})
"""Every type of destination by slug."""

SOURCE_PRESETS: Final = ("generic", "stripe", "github", "zendesk")
"""Slugs of the presets of webhook sources, which `pipeline.sources.read_preset` reads; the first is that of a source which names none."""

STORAGE_TYPES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "parquet": {
            "type": "object",
            "properties": {"path": {"type": "string", "minLength": 1, "description": "Folder of the lake; it counts from where `headrace up` runs."}},
            "required": ["path"],
            "additionalProperties": False,
        }
    }
)
"""JSON Schema of the settings of every type of storage, by slug."""
