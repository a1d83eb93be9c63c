"""Where a write key is looked for, and which one counts."""

from typing import Any

import pytest

from pipeline.ingest import credentials
from tests.unit.ingest.requests_of_sdks import basic, event, post, refusal, taken

PAGE: dict[str, Any] = {"type": "page", "userId": "u"}


@pytest.mark.parametrize(
    ("header", "key"),
    [
        (basic("web-key:"), "web-key"),
        (basic("web-key"), "web-key"),
        (basic("web-key:password"), "web-key"),
        (basic("web-key:").rstrip("="), "web-key"),
        (basic("web-key:").replace("Basic", "basic"), "web-key"),
        ("Bearer web-key", ""),
        ("Basic", ""),
        ("Basic !!!", ""),
        ("Basic \u00e9", ""),
        ("Basic gICA", ""),
        ("Basic " + "A" * 4096, ""),
        ("", ""),
    ],
)
def test_reads_basic_credentials(header: str, key: str) -> None:
    """The colon may be missing, and what is not Basic, not base64 or not UTF-8 is passed over."""
    assert key == credentials.basic_key(header)


@pytest.mark.parametrize(
    ("query", "key"),
    [("writeKey=k", "k"), ("a=1&writeKey=k%2B&b", "k+"), ("writeKey=", ""), ("", ""), ("&" * 100 + "writeKey=k", ""), ("writeKey=" + "k" * 5000, "")],
)
def test_reads_the_query(query: str, key: str) -> None:
    """A query with more than 64 parameters or 4,096 characters is not read."""
    assert key == credentials.query_field(query, "writeKey")


@pytest.mark.parametrize(
    ("headers", "body", "query", "source"),
    [
        ({"authorization": basic("web-key:")}, {}, "", b"web"),
        ({"authorization": basic("web-key:")}, {"writeKey": "app-key"}, "writeKey=app-key", b"web"),
        ({"authorization": basic("dead-session:")}, {"writeKey": "app-key"}, "writeKey=web-key", b"app"),
        ({"authorization": "Bearer token"}, {"writeKey": "app-key"}, "", b"app"),
        ({}, {"writeKey": "app-key"}, "writeKey=web-key", b"app"),
        ({}, {}, "writeKey=web-key", b"web"),
        ({"x-write-key": "web-key"}, {"writeKey": "app-key"}, "", b"web"),
        ({"authorization": basic("worn-key:")}, {"writeKey": "app-key"}, "", b"app"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/page", "/v1/batch"])
def test_header_then_body_then_query(path: str, headers: dict[str, str], body: dict[str, Any], query: str, source: bytes) -> None:
    """The first known key names the source."""
    whole = {**PAGE, **body} if path == "/v1/page" else {"batch": [PAGE], **body}
    (record,) = taken(post(path, whole, headers, query))
    assert record.headers == (("source", source), ("received_at", b"1700000000000"), ("config", b"7"))


def test_items_name_their_sources() -> None:
    """Where the request names none, each item's own key counts, before the query's."""
    items = [{**PAGE, "writeKey": "web-key"}, {**PAGE, "writeKey": "app-key"}, PAGE]
    records = taken(post("/v1/b", {"batch": items}, {}, "writeKey=app-key"))
    assert [record.headers[0] for record in records] == [("source", b"web"), ("source", b"app"), ("source", b"app")]


def test_an_item_of_nobody_dies_alone() -> None:
    """Among items with known keys, one with an unknown or disabled key is a dead letter."""
    items = [{**PAGE, "writeKey": "web-key"}, {**PAGE, "writeKey": "x"}, {**PAGE, "writeKey": "old-key"}, 5]
    records = taken(post("/v1/b", {"batch": items}, {}))
    assert [record.topic for record in records] == ["shop.raw", *["shop.dead.ingest"] * 3]
    reasons = [dict(record.headers)["dead_reason"] for record in records[1:]]
    assert reasons == [b"unknown_source", b"source_disabled", b"unknown_source"]


@pytest.mark.parametrize("path", ["/v1/page", "/v1/batch"])
@pytest.mark.parametrize(
    ("key", "answer"),
    [("nobody", (401, "invalid_write_key")), ("gone-key", (401, "invalid_write_key")), ("old-key", (403, "source_disabled"))],
)
def test_refuses_unknown_keys_and_disabled_sources(path: str, key: str, answer: tuple[int, str]) -> None:
    """401 for a key of no source of the workspace, 403 for a source that is switched off."""
    body = PAGE if path == "/v1/page" else {"batch": [PAGE]}
    assert answer == refusal(post(path, body, {"authorization": basic(key)}))
    assert answer == refusal(post(path, {"batch": [{**PAGE, "writeKey": key}]} if path == "/v1/batch" else {**PAGE, "writeKey": key}, {}))


def test_refuses_a_request_without_any_key() -> None:
    """No key anywhere is 401, also for an empty batch."""
    assert refusal(post("/v1/page", PAGE, {})) == (401, "invalid_write_key")
    assert refusal(post("/v1/batch", {"batch": [PAGE, 5]}, {})) == (401, "invalid_write_key")
    assert refusal(post("/v1/batch", {"batch": []}, {})) == (401, "invalid_write_key")


def test_write_keys_are_not_stored() -> None:
    """Neither events nor dead letters carry the write key."""
    assert "writeKey" not in event(post("/v1/page", {**PAGE, "writeKey": "web-key"}))
    good, bad = taken(post("/v1/b", {"writeKey": "web-key", "batch": [{**PAGE, "writeKey": "web-key"}, {"type": "x", "writeKey": "web-key"}]}))
    assert b"web-key" not in (good.value or b"") + (bad.value or b"")
