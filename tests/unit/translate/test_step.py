"""The requests that a destination is sent for an event."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from pipeline.destinations.webhook import DESTINATION as WEBHOOK
from pipeline.mapping import MappingError, compile_mapping, compile_query
from pipeline.model.outcomes import Dead, Drop, Emits, Step
from pipeline.model.record import Message, Record
from pipeline.model.workspace import Destination, MappingDeclaration
from pipeline.translate import create_translate, create_translate_all, idempotency_id


def a_message(routes: bytes = b"crm,lake", **body: Any) -> Message:  # noqa: ANN401 (any JSON value)
    """Make a track call of source web, with overrides only."""
    event = {"type": "track", "event": "Signed Up", "messageId": "m-1", "userId": "u-1", "properties": {"plan": "pro"}, **body}
    headers = {"routes": routes, "source": b"web", "received_at": b"1000", "config": b"7", "traceparent": b"00-1-2-3"}
    return Message(event, b"u-1", headers, Record("shop.routed", 3, 41, 0, b"u-1", b"{}", ()), "web")


def a_destination(identifier: str = "crm", *mappings: MappingDeclaration) -> Destination:
    """Make a webhook with mappings only."""
    return Destination(identifier, "webhook", settings={"url": "https://tool.example/hook"}, mappings=mappings)


def a_step(*mappings: MappingDeclaration) -> Step:
    """Make the step of the destination crm."""
    return create_translate(a_destination("crm", *mappings), WEBHOOK, compile_mapping, compile_query)


def test_one_request_with_its_headers() -> None:
    """An event becomes one record: rendered request, key of the event, headers that say where it came from."""
    outcome = a_step()(a_message())
    assert isinstance(outcome, Emits)
    (record,) = outcome.records
    assert ("requests", "crm", b"u-1") == (record.lane, record.destination, record.key)
    assert {
        "id": idempotency_id("web", "m-1", "send"),
        "method": "POST",
        "url": "https://tool.example/hook",
        "headers": {"content-type": "application/json"},
        "body": {"type": "track", "event": "Signed Up", "messageId": "m-1", "userId": "u-1", "properties": {"plan": "pro"}},
    } == orjson.loads(record.value)
    assert {
        "destination": b"crm",
        "message_id": b"m-1",
        "mapping": b"send",
        "source": b"web",
        "type": b"track",
        "event": b"Signed Up",
        "event_origin": b"shop.routed/3/41",
        "received_at": b"1000",
        "config": b"7",
        "traceparent": b"00-1-2-3",
    } == dict(record.headers)


@pytest.mark.parametrize(("user", "key"), [("u-9", b"u-9"), ("", b"u-1"), (None, b"u-1")])
def test_order_by_user_keys_by_user(user: str | None, key: bytes) -> None:
    """A destination that keeps the order of users gets requests keyed by userId, or by the event's own key where nobody is known."""
    destination = replace(a_destination(), order="user")
    outcome = create_translate(destination, WEBHOOK, compile_mapping, compile_query)(a_message(userId=user))
    assert isinstance(outcome, Emits)
    assert [key] == [record.key for record in outcome.records]


def test_id_depends_on_source_message_and_mapping_only() -> None:
    """A replay of the same event gives the same id; another mapping gives another."""
    assert idempotency_id("web", "m-1", "a") == idempotency_id("web", "m-1", "a")
    assert 4 == len({idempotency_id(*names) for names in [("web", "m-1", "a"), ("app", "m-1", "a"), ("web", "m-2", "a"), ("web", "m-1", "b")]})


@pytest.mark.parametrize("routes", [b"", b"lake", b"crm2", b"xcrm"])
def test_other_destination(routes: bytes) -> None:
    """An event that is not routed here is dropped as such; ids are compared whole."""
    assert Drop("other_destination") == a_step()(a_message(routes))


def test_no_matching_mapping() -> None:
    """An event that no trigger matches is dropped."""
    assert Drop("no_matching_mapping") == a_step(MappingDeclaration("pages", 'type = "page"', {"a": 1}))(a_message())


def test_unsupported_type() -> None:
    """A call that the destination's type does not take is dropped."""
    assert Drop("unsupported_event_type") == a_step()(a_message(type="delete"))


def test_mapping_that_finds_nothing_is_dead() -> None:
    """A mapping that as a whole finds nothing has no request to give, and the event is kept."""
    outcome = a_step(MappingDeclaration("gone", 'type = "track"', {"@path": "$.properties.nothing"}))(a_message())
    assert Dead("mapping_failed", "crm/gone: the mapping finds nothing in this event", "crm") == outcome


def test_too_deep_for_json_is_dead() -> None:
    """What cannot be written is kept whole under mapping_failed."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    outcome = a_step()(a_message(properties=deep))
    assert isinstance(outcome, Dead)
    assert "mapping_failed" == outcome.reason


def test_wrong_mapping_is_refused_when_it_is_compiled() -> None:
    """A mapping with an unknown directive is an error of the workspace, not of an event."""
    with pytest.raises(MappingError):
        a_step(MappingDeclaration("bad", 'type = "track"', {"a": {"@nothing": 1}}))


def test_unknown_action_is_refused() -> None:
    """A mapping that names an action which the type does not have is refused."""
    with pytest.raises(KeyError):
        a_step(MappingDeclaration("bad", 'type = "track"', {}, action="dance"))


def test_all_gives_the_same_records_as_each() -> None:
    """One step for all destinations writes what their own steps write, in the order of the routes."""
    mail = MappingDeclaration("mail", 'type = "track"', {"to": {"@path": "$.userId"}})
    destinations = [a_destination("mail", mail), a_destination("crm")]
    together = create_translate_all([(one, WEBHOOK) for one in destinations], ["lake"], compile_mapping, compile_query)
    apart = [create_translate(one, WEBHOOK, compile_mapping, compile_query) for one in reversed(destinations)]
    routes = b"crm,lake,mail"
    outcome = together(a_message(routes))
    assert isinstance(outcome, Emits)
    each = [one for step in apart for one in getattr(step(a_message(routes)), "records", ())]
    assert each == list(outcome.records)


def test_all_notes_who_gets_nothing() -> None:
    """A destination without a match is noted beside the others' requests; alone, it decides how the event ends."""
    pages = a_destination("pages", MappingDeclaration("pages", 'type = "page"', {"a": 1}))
    bad = a_destination("bad", MappingDeclaration("bad", 'type = "track"', {"@path": "$.nothing"}))
    step = create_translate_all([(one, WEBHOOK) for one in (a_destination("crm"), pages, bad)], ["lake"], compile_mapping, compile_query)
    message = a_message(b"bad,crm,pages")
    outcome = step(message)
    assert isinstance(outcome, Emits)
    assert [one.reason for one in outcome.dead] == ["mapping_failed"]
    assert [("bad", "mapping_failed"), ("pages", "no_matching_mapping")] == message.withheld
    assert Drop("no_matching_mapping") == step(a_message(b"lake,pages"))
    failed = step(a_message(b"bad,pages"))
    assert isinstance(failed, Emits)
    assert (failed.records, [one.reason for one in failed.dead]) == ((), ["mapping_failed"])
    assert Drop("other_destination") == step(a_message(b"lake"))


def test_all_notes_who_is_gone() -> None:
    """A destination that was removed after the event was routed is noted like one that gets nothing; a storage is none."""
    step = create_translate_all([(a_destination("crm"), WEBHOOK)], ["lake"], compile_mapping, compile_query)
    message = a_message(b"crm,lake,removed")
    assert isinstance(step(message), Emits)
    assert [("removed", "destination_disabled")] == message.withheld
    assert Drop("destination_disabled") == step(a_message(b"lake,removed"))
    assert Drop("other_destination") == step(a_message(b""))


@pytest.mark.parametrize(
    ("metadata", "sent"),
    [
        ({"bundled": ["Segment.io", "crm"]}, True),
        ({"bundled": ["Segment.io"], "unbundled": ["crm"]}, False),
        ({"bundled": ["crm"], "failedInitializations": ["crm"]}, False),
        ({"bundled": "crm"}, False),
        ({"bundled": {"crm": True}}, False),
        ("crm", False),
        (None, False),
    ],
)
def test_device_mode(metadata: Any, sent: bool) -> None:  # noqa: ANN401, FBT001 (any JSON value; a table)
    """What the client has sent itself is not sent again, and counted; what it has not is sent."""
    step = create_translate(replace(a_destination(), mode="device"), WEBHOOK, compile_mapping, compile_query)
    outcome = step(a_message(_metadata=metadata))
    assert (outcome == Drop("message_sent_client_side")) is sent
    assert isinstance(outcome, Emits) is not sent


def test_cloud_mode_takes_no_client_at_its_word() -> None:
    """The marks of an event keep nothing from a destination that no browser sends to."""
    assert isinstance(a_step()(a_message(_metadata={"bundled": ["crm"]})), Emits)


def test_device_mode_in_one_processor_for_all() -> None:
    """What was left to the browser is noted for its destination alone; the others are sent the event."""
    destinations = [replace(a_destination("crm"), mode="device"), a_destination("other")]
    step = create_translate_all([(one, WEBHOOK) for one in destinations], ["lake"], compile_mapping, compile_query)
    message = a_message(b"crm,lake,other", _metadata={"bundled": ["Segment.io", "crm"]})
    outcome = step(message)
    assert isinstance(outcome, Emits)
    assert ["other"] == [record.destination for record in outcome.records]
    assert [("crm", "message_sent_client_side")] == message.withheld
