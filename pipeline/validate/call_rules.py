"""Which registered reason a broken call has. The schemas in `schemas/calls` judge; this only names what they refused."""

from __future__ import annotations

from typing import Any, Final

from pipeline.model import limits
from pipeline.model.outcomes import Dead

_KINDS: Final = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number", type(None): "null"}
_IDS: Final = ("userId", "anonymousId", "groupId", "previousId")
_CALL_IDS: Final = {"group": ("groupId",), "alias": ("previousId", "userId")}
_TIMES: Final = ("timestamp", "originalTimestamp", "sentAt")
_TEXTS: Final = {"page": ("name", "category"), "screen": ("name", "category")}
_OBJECTS: Final = {
    "identify": ("traits",),
    "group": ("traits",),
    "track": ("properties",),
    "page": ("properties",),
    "screen": ("properties",),
    "alias": (),
}


def name_fault(body: dict[str, Any], call: str) -> Dead | None:
    """Name the first fault of a call that its schema refused.

    Args:
        body: The normalised event.
        call: One of the six calls.

    Returns:
        The reason with the place of the fault, never a value; None where no rule of this table is broken.
    """
    return _message_id_fault(body) or _id_fault(body, call) or _event_fault(body, call) or _shape_fault(body, call)


def _message_id_fault(body: dict[str, Any]) -> Dead | None:
    message_id = body.get("messageId")
    if message_id.__class__ is not str:
        return _not("id_not_string", "messageId", message_id, "a string")
    if len(message_id) > limits.MESSAGE_ID_CHARACTERS:
        return Dead("message_id_too_long", f"/messageId has more than {limits.MESSAGE_ID_CHARACTERS} characters")
    return None


def _id_fault(body: dict[str, Any], call: str) -> Dead | None:
    for name in _IDS:
        value = body.get(name)
        if value is not None and value.__class__ is not str and (name in {"userId", "anonymousId"} or name in _CALL_IDS.get(call, ())):
            return _not("id_not_string", name, value, "a string")
    if not body.get("userId") and not body.get("anonymousId"):
        return Dead("no_user_anon_id", "neither /userId nor /anonymousId is a string with a character in it")
    for name in _CALL_IDS.get(call, ()):
        if not body.get(name):
            return Dead("id_required", f"{call} needs /{name}")
    return None


def _event_fault(body: dict[str, Any], call: str) -> Dead | None:
    if call != "track":
        return None
    event = body.get("event")
    if event is None or event == "":
        return Dead("event_not_defined", "track needs /event")
    return None if event.__class__ is str else _not("event_not_string", "event", event, "a string")


def _shape_fault(body: dict[str, Any], call: str) -> Dead | None:
    for name in _TEXTS.get(call, ()):
        value = body.get(name)
        if value is not None and value.__class__ is not str:
            return _not(f"{name}_not_string", name, value, "a string")
    for name in (*_OBJECTS[call], "context", "integrations"):
        value = body.get(name)
        if value is not None and value.__class__ is not dict:
            return _not(f"{name}_not_object", name, value, "an object")
    for name in _TIMES:
        value = body.get(name)
        if value is not None and value.__class__ is not str:
            return _not("timestamp_not_string", name, value, "a string")
    return None


def _not(reason: str, name: str, value: Any, wanted: str) -> Dead:  # noqa: ANN401 (any JSON value)
    return Dead(reason, f"/{name} is {_KINDS[value.__class__]}, not {wanted}")
