"""The few things that the collector itself judges about one event: its shape, its ids and its size (design: limits)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from pipeline.ingest.endpoints import CALLS
from pipeline.model import json_text, limits
from pipeline.model.workspace import Source

_CALLS: Final = frozenset(CALLS)
_KEY_BYTES: Final = 5
"""The fewest bytes of compact JSON that a key takes, with quotes, colon, value and comma: `"":0,`."""


class Fault(NamedTuple):
    """What is wrong with an event.

    Attributes:
        reason: Name of a registered reason; also the code of the answer for a single event.
        message: A sentence for a person, naming places and not values.
    """

    reason: str
    message: str


NOT_AN_OBJECT: Final = Fault("not_an_object", "The event is not a JSON object.")
_UNKNOWN_TYPE: Final = Fault("unknown_type", "`type` is none of identify, track, page, screen, group, alias.")
_NO_ID: Final = Fault("no_user_anon_id", "The event has neither `userId` nor `anonymousId`.")
_NO_EVENT: Final = Fault("event_not_defined", "A track call needs `event`.")
_LONG_ID: Final = Fault("message_id_too_long", f"`messageId` has more than {limits.MESSAGE_ID_CHARACTERS} characters.")
_TOO_DEEP: Final = Fault("too_deep", f"The event is nested deeper than {limits.DEPTH} levels.")
_ABSENT: Final = (None, "")
_TOO_MANY_KEYS: Final = Fault("too_many_keys", f"The event has more than {limits.KEYS} keys.")


def fault_of(item: dict[str, Any], call: str) -> Fault | None:
    """Judge type, ids and event name of an event; values of a wrong type pass, for validate to judge.

    Args:
        item: The event as it was sent.
        call: Type of an event that names none, or empty.

    Returns:
        What is wrong, or None.
    """
    kind = item.get("type")
    if kind is None:
        kind = call
    if kind.__class__ is not str or kind not in _CALLS:
        return _UNKNOWN_TYPE
    if item.get("userId") in _ABSENT and item.get("anonymousId") in _ABSENT:
        return _NO_ID
    if kind == "track" and item.get("event") in _ABSENT:
        return _NO_EVENT
    message_id = item.get("messageId")
    if message_id.__class__ is str and len(message_id) > limits.MESSAGE_ID_CHARACTERS:
        return _LONG_ID
    return None


def excess_of(item: dict[str, Any], body: dict[str, Any], value: bytes, source: Source) -> Fault | None:
    """Judge size, depth and number of keys of an event.

    An event's size is that of what its client sent, as compact JSON: an SDK that fills an event up to the limit and says its library
    once for the whole batch is right. What a batch adds to it may make it twice as large, and no more.

    Args:
        item: The event as it was sent, without write key.
        body: The same with what the collector added.
        value: `body` as compact JSON.
        source: Its source, which says how large its events may be.

    Returns:
        What is wrong, or None.
    """
    size = len(value)
    most = bytes_most(source)
    if size > most and (size > limits.MERGED_TIMES * most or len(json_text.encode(item)) > most):
        return Fault("event_too_large", f"The event has more than {most} bytes as compact JSON.")
    return _nesting_fault(body) if may_be_nested(value) else None


def bytes_most(source: Source) -> int:
    """Say how large an event of a source may be, as compact JSON."""
    return min(source.event_bytes, limits.EVENT_BYTES_MOST)


def may_be_nested(value: bytes) -> bool:
    """Say whether an event may be nested too deeply, or have too many keys.

    Args:
        value: It as compact JSON.
    """
    size = len(value)
    # What is left without them tells how many brackets there are three times as fast as counting them does.
    return 2 * size - len(value.replace(b"{", b"")) - len(value.replace(b"[", b"")) > limits.DEPTH or size > _KEY_BYTES * limits.KEYS


def _nesting_fault(body: dict[str, Any]) -> Fault | None:
    keys = 0
    depth = 0
    level: list[Any] = [body]
    while level:
        depth += 1
        if depth > limits.DEPTH:
            return _TOO_DEEP
        below: list[Any] = []
        for value in level:
            if value.__class__ is dict:
                keys += len(value)
                value = value.values()  # noqa: PLW2901 (from here on only its members matter)
            below.extend(member for member in value if member.__class__ is dict or member.__class__ is list)
        if keys > limits.KEYS:
            return _TOO_MANY_KEYS
        level = below
    return None


def unwritable_fault() -> Fault:
    """Give the fault of an event that could be read but is nested too deeply to be written again."""
    return _TOO_DEEP
