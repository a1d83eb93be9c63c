"""Says in one look of most calls that they satisfy their schema. Who is not sure asks the schema, which alone decides (`schemas/calls`).

A schema validator walks every property of every event, four times as long as it takes to look at what a call's schema speaks of. The law that
nothing passes here which the schema refuses is a test (`tests/unit/validate/test_quick.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline.model import limits

_ANYTHING: Final[Mapping[str, Any]] = {}
_OBJECT: Final = {"type": "object"}
_TEXT: Final = {"type": "string"}
_NAME: Final = {"type": "string", "minLength": 1}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_OBJECT_OR_NULL: Final = {"type": ["object", "null"]}
_REQUIRED: Final = {"identify": (), "track": ("event",), "page": (), "screen": ()}
_PROPERTIES: Final[Mapping[str, Mapping[str, Any]]] = {
    "messageId": {"type": "string", "minLength": 1, "maxLength": limits.MESSAGE_ID_CHARACTERS},
    **dict.fromkeys(("anonymousId", "userId", "originalTimestamp", "sentAt"), _TEXT_OR_NULL),
    **dict.fromkeys(("timestamp", "receivedAt"), _TEXT),
    **dict.fromkeys(("context", "integrations"), _OBJECT),
    **dict.fromkeys(("channel", "version"), _ANYTHING),
}
_OWN_PROPERTIES: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "identify": {"traits": _OBJECT_OR_NULL},
    "track": {"event": _NAME, "properties": _OBJECT_OR_NULL},
    "page": {"name": _TEXT_OR_NULL, "category": _TEXT_OR_NULL, "properties": _OBJECT_OR_NULL},
    "screen": {"name": _TEXT_OR_NULL, "category": _TEXT_OR_NULL, "properties": _OBJECT_OR_NULL},
}
_ONE_ID: Final = [{"required": [name], "properties": {name: _NAME}} for name in ("userId", "anonymousId")]
_ANNOTATIONS: Final = frozenset({"$schema", "title", "description"})


def is_plain(schema: Mapping[str, Any], call: str) -> bool:
    """Say whether the look below asks for all that a call's schema asks for; one with a rule more is always asked itself.

    Args:
        schema: JSON Schema of the call.
        call: Which of the six it is.

    Returns:
        Whether `conforms_at_a_glance` may stand in for it.
    """
    if call not in _REQUIRED:
        return False
    asked = {name: rule for name, rule in schema.items() if name not in _ANNOTATIONS}
    asked["properties"] = {
        name: {key: rule for key, rule in rules.items() if key not in _ANNOTATIONS} for name, rules in asked.get("properties", {}).items()
    }
    return asked == {
        "type": "object",
        "required": ["type", "messageId", *_REQUIRED[call]],
        "properties": {"type": {"const": call}, **_PROPERTIES, **_OWN_PROPERTIES[call]},
        "anyOf": _ONE_ID,
    }


def conforms_at_a_glance(body: dict[str, Any], call: str) -> bool:
    """Say whether a normalised call is of the plain shape that its schema accepts.

    Args:
        body: The call, with its message id filled in and its times corrected: they are text, and `timestamp` and `receivedAt` are there.
        call: Which of those whose schema is plain.

    Returns:
        True only where the schema would say so too; False says nothing.
    """
    get = body.get
    message_id = get("messageId")
    if message_id.__class__ is not str or not 0 < len(message_id) <= limits.MESSAGE_ID_CHARACTERS:
        return False
    anonymous, user = get("anonymousId"), get("userId")
    if (anonymous is not None and anonymous.__class__ is not str) or (user is not None and user.__class__ is not str) or not (anonymous or user):
        return False
    if get("context", body).__class__ is not dict or get("integrations", body).__class__ is not dict:  # the body stands for absent
        return False
    if call == "track":
        event, properties = get("event"), get("properties")
        return event.__class__ is str and event != "" and (properties is None or properties.__class__ is dict)
    if call in {"page", "screen"}:
        name, category, properties = get("name"), get("category"), get("properties")
        texts = (name is None or name.__class__ is str) and (category is None or category.__class__ is str)
        return texts and (properties is None or properties.__class__ is dict)
    traits = get("traits")
    return traits is None or traits.__class__ is dict
