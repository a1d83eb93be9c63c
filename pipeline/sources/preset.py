"""What a preset says about the webhooks of one product."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from pipeline.model.workspace import MappingDeclaration, Signature

FOLDER: Final = Path(__file__).parent
WEBHOOK_PATH: Final = "/v1/webhook/"
"""Path of the collector's address for a webhook source, up to the source's id."""


@dataclass(frozen=True, slots=True)
class SourcePreset:
    """The webhooks of one product.

    Attributes:
        slug: Name in workspace files, stable for ever.
        name: Name for a person.
        sentence: What it is, for a person.
        paste: Where in the product the address of the collector belongs, for a person.
        issuer: Who makes the secret: the `sender`, which shows it, or `us`, who tell it to the sender.
        docs: Where the product says how it signs.
        signature: How a delivery is signed.
        message_id: Mapping that gives the id of a delivery, the same at every try.
        event_name: Mapping that gives the name of its event as the product writes it.
        otherwise: Mapping of a delivery that no other mapping is for.
        mappings: What its deliveries become; all that match give a call.
        form_field: Field that holds the JSON where a delivery is a form; empty where the product sends none.
    """

    slug: str
    name: str
    sentence: str
    paste: str
    issuer: Literal["sender", "us"]
    docs: str
    signature: Signature
    message_id: Any
    event_name: Any
    otherwise: Mapping[str, Any]
    mappings: tuple[MappingDeclaration, ...] = ()
    form_field: str = ""


@cache
def read_preset(slug: str) -> SourcePreset:
    """Read a preset that comes with the product.

    Args:
        slug: Its name, which is that of its folder.

    Returns:
        The preset.
    """
    data = yaml.safe_load((FOLDER / slug / "preset.yaml").read_text(encoding="utf-8"))
    data["signature"] = Signature(**data["signature"])
    data["mappings"] = tuple(MappingDeclaration(**mapping) for mapping in data.get("mappings", ()))
    return SourcePreset(slug=slug, **data)
