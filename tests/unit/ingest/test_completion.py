"""What the collector adds to an event, and what it leaves alone."""

from typing import Any

import pytest

from pipeline.ingest.completion import Sender, place
from tests.unit.ingest.requests_of_sdks import WEB, event, events, post

BROWSER = {**WEB, "origin": "https://shop.example", "user-agent": "Mozilla/5.0"}


def batch(item: dict[str, Any], **envelope: Any) -> dict[str, Any]:  # noqa: ANN401 (JSON)
    """Send one page call in a batch and give what is stored of it."""
    return event(post("/v1/batch", {"batch": [{"type": "page", "userId": "u", "messageId": "m", **item}], **envelope}))


@pytest.mark.parametrize(
    ("own", "shared", "merged"),
    [
        ({}, {"library": {"name": "go"}}, {"library": {"name": "go"}}),
        ({"context": None}, {"a": 1}, {"a": 1}),
        ({"context": {"b": 2}}, {"a": 1}, {"a": 1, "b": 2}),
        ({"context": {"a": {"x": 2}}}, {"a": {"x": 1, "y": 1}}, {"a": {"x": 2}}),
        ({"context": "text"}, {"a": 1}, "text"),
        ({"context": {"b": 2}}, None, {"b": 2}),
        ({"context": {"b": 2}}, "text", {"b": 2}),
    ],
)
def test_merges_the_envelope(own: dict[str, Any], shared: Any, merged: Any) -> None:  # noqa: ANN401 (JSON)
    """Members of the envelope's context go into each item, and the item's own win."""
    assert merged == batch(own, context=shared)["context"]


def test_merges_integrations() -> None:
    """Integrations merge as context does."""
    assert batch({"integrations": {"Slack": True}}, integrations={"All": False, "Slack": False})["integrations"] == {"All": False, "Slack": True}


def test_items_do_not_see_each_other() -> None:
    """The envelope's context is filled in per item, with nothing of the item before."""
    items = [{"type": "page", "userId": "u", "context": context} for context in ({"a": 1}, {"b": 2}, None)]
    merged = [stored["context"] for stored in events(post("/v1/batch", {"batch": items, "context": {"c": 3}}))]
    assert merged == [{"c": 3, "a": 1}, {"c": 3, "b": 2}, {"c": 3}]


@pytest.mark.parametrize(
    ("item", "envelope", "header", "sent_at"),
    [
        ({"sentAt": "1"}, {"sentAt": "2"}, "3", "1"),
        ({}, {"sentAt": "2"}, "3", "2"),
        ({"sentAt": None}, {}, "3", "3"),
        ({}, {}, None, None),
    ],
)
def test_sent_at(item: dict[str, Any], envelope: dict[str, Any], header: str | None, sent_at: str | None) -> None:
    """The item's own sentAt wins, then the envelope's, then the header's."""
    headers = WEB if header is None else {**WEB, "sentat": header}
    body = {"batch": [{"type": "page", "userId": "u", **item}], **envelope}
    assert sent_at == event(post("/v1/batch", body, headers)).get("sentAt")


def test_sent_at_of_a_single_event() -> None:
    """Rudder's browser SDK says it in a header."""
    assert event(post("/v1/page", {"userId": "u"}, {**WEB, "sentat": "3"}))["sentAt"] == "3"


@pytest.mark.parametrize(
    ("headers", "context", "expected"),
    [
        (BROWSER, None, {"ip": "203.0.113.9", "userAgent": "Mozilla/5.0"}),
        (BROWSER, {"ip": "192.0.2.1", "userAgent": "Other"}, {"ip": "192.0.2.1", "userAgent": "Other"}),
        (BROWSER, {"ip": "192.0.2.1"}, {"ip": "192.0.2.1", "userAgent": "Mozilla/5.0"}),
        ({**WEB, "user-agent": "python"}, {}, {}),
        ({**WEB, "user-agent": "python"}, None, None),
        ({**WEB, "user-agent": "python"}, {"direct": True}, {"direct": True, "ip": "203.0.113.9"}),
        ({**WEB, "user-agent": "python"}, {"direct": True, "ip": "192.0.2.1"}, {"direct": True, "ip": "192.0.2.1"}),
        (BROWSER, [], []),
    ],
)
def test_where_it_came_from(headers: dict[str, str], context: Any, expected: Any) -> None:  # noqa: ANN401 (JSON)
    """Address and user agent are filled in for web pages, the address also where a server asks for it; nothing is overwritten."""
    body = {"userId": "u"} if context is None else {"userId": "u", "context": context}
    assert expected == event(post("/v1/page", body, headers)).get("context")


def test_a_shared_context_is_not_written_to() -> None:
    """Filling in an address makes a new context."""
    shared: dict[str, Any] = {}
    place({"context": shared}, Sender(browser=True, ip="192.0.2.1"))
    assert shared == {}


def test_message_ids_of_a_retry_are_the_same() -> None:
    """An event without id gets the same one when its SDK sends it again, from another address too; its neighbour gets another."""
    body = {"sentAt": "2026-01-01T00:00:00Z", "batch": [{"type": "page", "userId": "u"}, {"type": "page", "userId": "u", "messageId": ""}]}
    first = [stored["messageId"] for stored in events(post("/v1/batch", body, BROWSER))]
    again = [stored["messageId"] for stored in events(post("/v1/batch", body, BROWSER, ip="192.0.2.7"))]
    assert first == again
    assert len(set(first)) == 2


def test_message_ids_without_any_time_depend_on_the_request() -> None:
    """Two equal events without id and sentAt are two events: the request's unique text keeps them apart."""
    first = event(post("/v1/page", {"userId": "u"}))["messageId"]
    assert first != event(post("/v1/page", {"userId": "u", "sentAt": "1"}))["messageId"]
    assert len(first) == 36


def test_message_ids_are_kept() -> None:
    """A client's own id stands."""
    assert batch({"messageId": "mine"})["messageId"] == "mine"
