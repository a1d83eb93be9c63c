"""An event whose record is its own text: the record is the same as if it had been made in full."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest import ENDPOINTS, Accepted, Refused, Request, WriteKeys, collect
from pipeline.ingest.records import Maker
from pipeline.model import json_text
from pipeline.model.workspace import Source, Workspace

KEYS = WriteKeys({"demo": "web", "quiet": "shy"})
SOURCES = {"web": Source("web", ("demo",), event_bytes=300), "shy": Source("shy", ("quiet",), anonymize_ip=True)}
WORKSPACE = Workspace("shop", version=1, sources=SOURCES)
PLACES = {"ip": st.just("192.0.2.77"), "direct": st.booleans(), "a": st.text("é\n", max_size=3)}
CONTEXTS = st.fixed_dictionaries({}, optional=PLACES) | st.just("no object")
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "context": CONTEXTS,
    "integrations": st.just({"All": True}),
    "sentAt": st.sampled_from([None, "", "2026-01-01T00:00:00.000Z"]),
}
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        **MEMBERS,
        "type": st.sampled_from(["track", "page", "odd", None, 1]),
        "event": st.sampled_from(["Bought", "", None]),
        "userId": st.sampled_from(["u", "", 7, 2**70]),
        "anonymousId": st.just("a"),
        "messageId": st.sampled_from(["m", "", None, 0, "x" * 101]),
        "writeKey": st.sampled_from(["demo", "quiet", "wrong"]),
        "properties": st.sampled_from([{}, {"text": "x" * 300}, {"text": "x" * 700}, {"deep": [[]] * 70}]),
    },
)
WHOLE = {"type": "track", "event": "Bought", "userId": "u", "messageId": "m"}


def _request(path: str, body: bytes, **more: Any) -> Request:  # noqa: ANN401 (attributes of the request)
    headers = {"user-agent": "test", **more.pop("headers", {})}
    return Request(ENDPOINTS[path], headers, more.pop("query", ""), body, "192.0.2.1", 1_700_000_000_000, "n/1", **more)


def _both(request: Request) -> tuple[Accepted | Refused, Accepted | Refused]:
    with patch.object(Maker, "ending", lambda _self: None):
        in_full = collect(request, KEYS, WORKSPACE)
    return collect(request, KEYS, WORKSPACE), in_full


@given(
    st.lists(EVENTS | st.just(WHOLE) | st.just(1), max_size=4),
    st.fixed_dictionaries({}, optional=MEMBERS),
    st.booleans(),
    st.sampled_from([None, "https://shop.example"]),
    st.booleans(),
    st.booleans(),
)
def test_a_batch_becomes_the_same_records(
    events: list[Any],
    envelope: dict[str, Any],
    keyed: bool,  # noqa: FBT001 (hypothesis)
    origin: str | None,
    results: bool,  # noqa: FBT001 (hypothesis)
    indented: bool,  # noqa: FBT001 (hypothesis)
) -> None:
    """Whatever its events and its envelope hold, and whoever sends it."""
    text = _written({**envelope, "batch": events}, indented=indented)
    authorization = "Basic ZGVtbzo=" if keyed else None
    found, in_full = _both(_request("/v1/batch", text, origin=origin, results=results, authorization=authorization))
    assert in_full == found


@given(EVENTS, st.sampled_from([None, "https://shop.example"]), st.sampled_from([{}, {"sentat": "2026-01-01T00:00:00.000Z"}]), st.booleans())
def test_a_single_event_becomes_the_same_record(event: dict[str, Any], origin: str | None, headers: dict[str, str], indented: bool) -> None:  # noqa: FBT001 (hypothesis)
    """Whatever it holds, and whoever sends it."""
    request = _request("/v1/track", _written(event, indented=indented), origin=origin, headers=headers, query="writeKey=demo")
    found, in_full = _both(request)
    assert in_full == found


def test_a_whole_event_is_its_own_record() -> None:
    """Its text is the record's value, with the time at which its batch was sent behind it."""
    body = _written({"batch": [WHOLE], "sentAt": "2026-01-01T00:00:00.000Z"}, indented=True)
    with patch.object(Maker, "record", side_effect=AssertionError("made in full")):
        found = collect(_request("/v1/batch", body, authorization="Basic ZGVtbzo="), KEYS, WORKSPACE)
    assert isinstance(found, Accepted)
    assert [
        b'{"type":"track","event":"Bought","userId":"u","messageId":"m","sentAt":"2026-01-01T00:00:00.000Z"}',
    ] == [output.value for output in found.outputs]


def test_a_doubled_key_is_not_its_own_text() -> None:
    """An event that is odd is settled, not taken as it was written."""
    body = b'{"batch":[{"type":"track","event":"A","event":"B","userId":"u","messageId":"m"}]}'
    found = collect(_request("/v1/batch", body, authorization="Basic ZGVtbzo="), KEYS, WORKSPACE)
    assert isinstance(found, Accepted)
    assert {("web", "duplicate_key"): 1} == found.replaced


def _written(value: Any, *, indented: bool) -> bytes:  # noqa: ANN401 (JSON)
    text = json_text.encode(value)
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2) if indented and b"1180591620717411303424" not in text else text
