"""What an SDK was given against what came out, by message id and by value."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from tests.acceptance.sent import compare
from tests.sdks.clients import Client
from tests.sdks.script import Call

_OF_THE_PAGE: Final = frozenset(
    {"path", "referrer", "search", "title", "url", "hash", "keywords", "tab_url", "initial_referrer", "initial_referring_domain", "referring_domain"}
)
"""Properties that browser SDKs fill in for a page, where the caller gave none."""


class Result(NamedTuple):
    """How a run of an SDK ended.

    Attributes:
        sent: Calls that it was given and has.
        stored: Message ids of them that came out.
        ids: The SDK's message ids of what came out.
        doubled: Calls that came out more than once.
        missing: Calls that did not come out, and that it did not give up.
        gave_up: Calls that it said it gave up, and that did not come out.
        unknown: Message ids under its prefix that are none of its calls.
        different: Each difference: the call and the place.
    """

    sent: int
    stored: int
    ids: frozenset[str]
    doubled: list[str]
    missing: list[str]
    gave_up: list[str]
    unknown: list[str]
    different: list[str]

    @property
    def equal(self) -> int:
        """How many came out with equal values."""
        return self.stored - len({place.partition("/")[0] for place in self.different})

    @property
    def clean(self) -> bool:
        """Whether all came out once and equal."""
        return not (self.doubled or self.missing or self.unknown or self.different)


def call_id(client: Client, message: Mapping[str, Any]) -> str:
    """Give the id of the call that a message comes from, or an empty text."""
    found = message["messageId"] if client.places_id else (message.get("context") or {}).get("callId")
    return found if isinstance(found, str) else ""


def reconcile(client: Client, given: Iterable[Call], stored: Iterable[Mapping[str, Any]], gave_up: Collection[str], prefix: str) -> Result:
    """Compare.

    Args:
        client: The SDK.
        given: The calls that its program read.
        stored: Messages that came out, of whatever SDK.
        gave_up: Message ids of calls that the SDK said it could not send.
        prefix: Before the ids of its calls.

    Returns:
        The differences.
    """
    expected = {call["messageId"]: comparable(kept) for call in given if (kept := client.kept(call)) is not None}
    own = [message for message in stored if call_id(client, message).startswith(f"{prefix}-")]
    ids = frozenset(message["messageId"] for message in own)
    found_messages = [comparable(_found(client, message, expected)) for message in own]
    found = compare(expected, found_messages)
    missing = [one for one in found.missing if one not in gave_up]
    given_up = [one for one in found.missing if one in gave_up]
    return Result(len(expected), len(expected) - len(found.missing), ids, found.doubled, missing, given_up, found.unknown, found.different)


def _found(client: Client, message: Mapping[str, Any], expected: Mapping[str, Call]) -> dict[str, Any]:
    identifier = call_id(client, message)
    found = {**message, "messageId": identifier}
    wanted = expected.get(identifier, {})
    if "timestamp" in wanted and _instant(message.get("timestamp")) == wanted["timestamp"]:
        found.pop("originalTimestamp", None)  # Rudder's SDKs put the time of the call there, beside the one that the caller gave
    if client.kind == "browser" and "integrations" in message:  # with options of its own, Segment.io names itself too
        found["integrations"] = {name: value for name, value in message["integrations"].items() if name != "Segment.io"}
    if client.kind == "browser" and message.get("type") == "page":
        own = wanted.get("properties", {})
        found["properties"] = {name: value for name, value in message["properties"].items() if name in own or name not in _OF_THE_PAGE}
    return found


def comparable(message: Mapping[str, Any]) -> dict[str, Any]:
    """Make times, which each language writes in its way, numbers; `timestamp` the time that the caller gave, which the pipeline keeps apart."""
    changed = {**message}
    given = message.get("originalTimestamp", message.get("timestamp"))
    changed.pop("originalTimestamp", None)
    if given is not None:
        changed["timestamp"] = _instant(given)
    for name in ("properties", "traits", "context"):
        if isinstance(values := message.get(name), Mapping):
            changed[name] = _timed(values)
    return changed


def _timed(values: Mapping[str, Any]) -> dict[str, Any]:
    changed = {**values}
    if "at" in values:
        changed["at"] = _instant(values["at"])
    if isinstance(traits := values.get("traits"), Mapping):
        changed["traits"] = _timed(traits)
    return changed


def _instant(text: Any) -> Any:  # noqa: ANN401 (what came out may be anything)
    try:
        return round(datetime.fromisoformat(text).timestamp() * 1000)
    except (TypeError, ValueError):
        return text
