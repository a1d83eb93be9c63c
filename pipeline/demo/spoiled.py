"""Calls that no pipeline should take: each breaks one rule of the tracking protocol, as real clients do."""

from collections.abc import Callable

from pipeline.demo.shop import Call

#: Characters in the text that makes a call larger than the 32 KiB an event may have.
TOO_LARGE = 40_000


def _without(call: Call, *keys: str) -> Call:
    return {key: value for key, value in call.items() if key not in keys}


def _with(call: Call, **fields: object) -> Call:
    return {**call, **fields}


#: Ways to spoil a track call that has its id and times, by the rule that it then breaks.
SPOILERS: dict[str, Callable[[Call], Call]] = {
    "event_not_defined": lambda call: _without(call, "event"),
    "event_empty": lambda call: _with(call, event=""),
    "event_not_string": lambda call: _with(call, event={"name": call["event"]}),
    "properties_not_object": lambda call: _with(call, properties=[call["properties"]]),
    "no_user_anon_id": lambda call: _without(call, "userId", "anonymousId"),
    "id_not_string": lambda call: _with(call, userId={"id": 1}, anonymousId=None),
    "message_id_too_long": lambda call: _with(call, messageId="m" * 101),
    "unknown_type": lambda call: _with(call, type="click"),
    "traits_not_object": lambda call: _with(_without(call, "event", "properties"), type="identify", traits="premium"),
    "name_not_string": lambda call: _with(_without(call, "event"), type="page", name=404),
    "id_required": lambda call: _with(_without(call, "event", "properties"), type="group"),
    "too_large": lambda call: _with(call, properties={**call["properties"], "note": "é" * (TOO_LARGE // 2)}),
}
