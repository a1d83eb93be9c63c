"""An event in a query string, as images and AMP pages send it (reference: tracking-api §5)."""

from __future__ import annotations

import binascii
from typing import Any, Final
from urllib.parse import parse_qsl

from pipeline.ingest import refusals
from pipeline.ingest.body import parsed
from pipeline.ingest.refusals import Refused
from pipeline.model import limits

IMAGE: Final = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
"""A transparent GIF of one pixel."""
_MOST_FIELDS: Final = 1000
_STANDARD: Final = bytes.maketrans(b"-_ ", b"+/+")
"""URL-safe base64 to the plain one; a `+` that nobody escaped arrives as a space."""
_UNNAMED_PAGE: Final = "Unknown Page"
"""What RudderStack's pixel calls a page without a name."""


def pixel_event(query: str, call: str, *, rudderstack: bool) -> tuple[Any, bool] | Refused:
    """Read the event of a pixel's query string.

    Args:
        query: The query string without its question mark.
        call: Call that the path names.
        rudderstack: Whether it is RudderStack's pixel, which differs in two fields.

    Returns:
        The JSON under `data` in base64; or, where there is no `data`, the event that the flat fields say, their dots nested and all values
        text. With it whether it is odd (`pipeline.model.json_text.decode_marked`). Or the refusal of a query that cannot be read.
    """
    try:
        fields = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        return refusals.NOT_A_QUERY
    if data := fields.get("data"):
        return _from_base64(data)
    if rudderstack:
        if "anonymousId" in fields:
            fields["anonymousId"] = fields["anonymousId"].strip('"')
        if call == "page":
            fields["name"] = fields.get("name") or _UNNAMED_PAGE
    event: dict[str, Any] = {}
    for name, value in sorted(fields.items(), key=lambda field: field[0].count(".")):  # what could stand in a nested value's way comes first
        _put(event, name, value)
    return event, False


def _from_base64(data: str) -> tuple[Any, bool] | Refused:
    text = data.encode("utf-8", "replace").translate(_STANDARD).rstrip(b"=")
    try:
        return parsed(binascii.a2b_base64(text + b"=" * (-len(text) % 4)))
    except binascii.Error:
        return refusals.NOT_A_QUERY


def _put(event: dict[str, Any], name: str, value: str) -> None:
    """Nest a dotted name; where a value stands in the way, the name stays whole, so that neither is lost."""
    *parents, last = name.split(".", limits.DEPTH)
    place = event
    for step in parents:
        below = place.setdefault(step, {})
        if below.__class__ is not dict:
            event[name] = value
            return
        place = below
    place[last] = value
