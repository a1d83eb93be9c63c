"""From a proved delivery to calls of the spec, by the mappings of its source or preset."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pipeline.ingest.webhook.signature import time_of
from pipeline.mapping import MISSING, compile_mapping, compile_query
from pipeline.model import ids, limits
from pipeline.model.workspace import Source
from pipeline.sources import SourcePreset

_BETWEEN: Final = re.compile(r"[\s._:/-]+")
_UNNAMED: Final = "Webhook Received"
_KEPT_BACK: Final = frozenset(("authorization", "cookie", "proxy-authorization"))

Resolve = Callable[[Any], Any]


class Call(NamedTuple):
    """A compiled mapping: its name, when it fires, and what it renders."""

    name: str
    matches: Callable[[Any], bool]
    render: Resolve


class Calls(NamedTuple):
    """How the deliveries of a source become calls.

    Attributes:
        message_id: Gives the id of a delivery.
        event_name: Gives the name of its event, as its sender writes it.
        mappings: All that match give a call.
        otherwise: What it becomes where none does.
    """

    message_id: Resolve
    event_name: Resolve
    mappings: tuple[Call, ...]
    otherwise: Resolve


def compile_calls(source: Source, preset: SourcePreset) -> Calls:
    """Compile what a source declares, and what it leaves to its preset.

    Args:
        source: The source.
        preset: Its preset.

    Returns:
        The compiled mappings.

    Raises:
        MappingError: A mapping is wrong.
        QueryError: A trigger is.
    """
    return Calls(
        compile_mapping(preset.message_id if source.message_id is None else source.message_id),
        compile_mapping(preset.event_name if source.event_name is None else source.event_name),
        tuple(Call(one.name, compile_query(one.trigger), compile_mapping(one.fields)) for one in source.mappings or preset.mappings),
        compile_mapping(preset.otherwise),
    )


def calls_of(calls: Calls, source: str, headers: Mapping[str, str], body: Any, raw: bytes, received_at: int) -> list[dict[str, Any]]:  # noqa: ANN401 (JSON; what a delivery is)
    """Make the calls of a delivery.

    The first bears the delivery's id as its message id, so that a sender's retry is one event; each further one has its mapping's name behind it.

    Args:
        calls: The compiled mappings.
        source: Id of the source.
        headers: Header values by lower-case name.
        body: The body as JSON.
        raw: The same as it came, which identifies a delivery that names no id.
        received_at: When it came, milliseconds since the epoch.

    Returns:
        At least one call, complete as far as the delivery says it.

    Raises:
        MappingError: A mapping fails on this delivery.
    """
    shown = {name: value for name, value in headers.items() if name not in _KEPT_BACK}
    delivery: dict[str, Any] = {"headers": shown, "body": body, "received_at": _iso(datetime.fromtimestamp(received_at / 1000, UTC))}
    delivery["id"] = ident = _id(calls.message_id(delivery), source, raw)
    delivery["event"] = readable(calls.event_name(delivery))
    matched = [(call.name, call.render) for call in calls.mappings if call.matches(delivery)] or [("", calls.otherwise)]
    return [
        _completed(render(delivery), delivery, ident if index == 0 else _short(f"{ident}/{name}", source))
        for index, (name, render) in enumerate(matched)
    ]


def readable(name: Any) -> str:  # noqa: ANN401 (any JSON value)
    """Write the name of an event as people do.

    Args:
        name: As its sender writes it: `invoice.payment_failed`.

    Returns:
        `Invoice Payment Failed`; a name with capitals stays as it is.
    """
    text = name.strip() if isinstance(name, str) else ""
    if text != text.lower():
        return text
    return " ".join(word[0].upper() + word[1:] for word in _BETWEEN.split(text) if word) or _UNNAMED


def _id(found: Any, source: str, raw: bytes) -> str:  # noqa: ANN401 (any JSON value)
    text = found if isinstance(found, str) else str(found) if found.__class__ is int else ""
    return _short(text, source) if text else ids.derived_message_id(source, "", 0, raw)


def _short(text: str, source: str) -> str:
    return text if len(text) <= limits.MESSAGE_ID_CHARACTERS else ids.derived_message_id(source, "", 0, text.encode("utf-8", "replace"))


def _completed(rendered: Any, delivery: dict[str, Any], message_id: str) -> dict[str, Any]:  # noqa: ANN401 (any JSON value)
    call: dict[str, Any] = {name: value for name, value in rendered.items() if value is not None} if isinstance(rendered, dict) else {}
    call.setdefault("type", "track")
    if call["type"] == "track" and not call.get("event"):
        call["event"] = delivery["event"]
    if call.get("userId") in (None, "", MISSING) and not call.get("anonymousId"):
        call.pop("userId", None)
        call["anonymousId"] = delivery["id"]  # it is about nobody: a person of its own, so that nobody is mixed with anybody
    if call["type"] in ("track", "page", "screen") and not isinstance(call.get("properties", {}), dict):
        call["properties"] = {"body": call["properties"]}
    if call.get("timestamp").__class__ in (str, int, float):
        at = time_of(call["timestamp"])
        call.pop("timestamp") if at is None else call.update(timestamp=_iso(at))
    call.setdefault("messageId", message_id)
    return call


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
