"""Batches as a whole."""

from typing import Any

import pytest

from pipeline.ingest import ENDPOINTS, Accepted, Request, crashed
from pipeline.model import limits
from tests.unit.ingest.requests_of_sdks import NOW, WEB, WORKSPACE, event, events, post, refusal, taken


def test_order_and_keys() -> None:
    """Records stand in the order of the items, under the anonymous id, else the user id."""
    items = [
        {"type": "page", "userId": "u"},
        {"type": "page", "userId": "u", "anonymousId": "a"},
        {"type": "page", "userId": 7},
    ]
    records = taken(post("/v1/batch", {"batch": items}))
    assert [b"u", b"a", b"7"] == [record.key for record in records]


@pytest.mark.parametrize("body", [{}, [], 5, None, {"batch": None}, {"batch": {}}, {"batch": "x"}])
def test_what_is_no_batch(body: Any) -> None:  # noqa: ANN401 (JSON)
    """Without an array under `batch` the request is refused."""
    assert refusal(post("/v1/batch", body)) == (400, "invalid_json")


def test_an_empty_batch_is_a_success() -> None:
    """There is nothing to store, and nothing wrong."""
    assert taken(post("/v1/batch", {"batch": []})) == []


def test_the_longest_batch() -> None:
    """2,500 items are taken; one more is refused, for the SDK would drop them all anyway."""
    item = {"type": "page", "userId": "u"}
    assert len(events(post("/v1/batch", {"batch": [item] * limits.BATCH_EVENTS}))) == limits.BATCH_EVENTS
    assert refusal(post("/v1/batch", {"batch": [item] * (limits.BATCH_EVENTS + 1)})) == (400, "batch_too_long")


def test_counts_by_source_and_outcome() -> None:
    """Accepted and dead events and replaced values are counted, and the bytes are summed."""
    body = b'{"batch":[{"type":"page","userId":"u","messageId":"m","x":NaN},{"type":"x"},{"type":"page","userId":"u","y":Infinity}]}'
    verdict = post("/v1/batch", body)
    assert isinstance(verdict, Accepted)
    assert {("web", "accepted"): 2, ("web", "dead"): 1} == verdict.counts
    assert {("web", "not_a_number"): 2} == verdict.replaced
    assert sum(len(output.key or b"") + len(output.value or b"") for output in verdict.outputs) == verdict.size


def test_a_body_that_we_fail_on_is_kept() -> None:
    """A bug of ours is a dead letter, not a 5xx that clients repeat for hours."""
    verdict = crashed(Request(ENDPOINTS["/v1/page"], WEB, "", b"body", "", NOW, "n/1"), WORKSPACE)
    (letter,) = verdict.outputs
    assert (letter.topic, letter.value, dict(letter.headers)["dead_reason"]) == ("shop.dead.ingest", b"body", b"crashed")


def test_replaced_values_of_a_single_event_are_counted() -> None:
    """A replacement is never silent: it is counted by its name and told in the event."""
    verdict = post("/v1/page", b'{"userId":"u","x":NaN}')
    assert isinstance(verdict, Accepted)
    assert ({("web", "accepted"): 1}, {("web", "not_a_number"): 1}) == (verdict.counts, verdict.replaced)
    assert event(verdict)["context"] == {"replaced": [{"path": "/x", "what": "not_a_number"}]}


@pytest.mark.parametrize("depth", [983, 984, 985, 986, 990, 1000, 1020])
def test_an_event_that_is_nested_too_deeply_changes_no_other(depth: int) -> None:
    """What only a reader without large integers can read, or no writer can write, is read by itself; the others are as exact as ever."""
    whole = b'"type":"page","userId":"u","messageId":"m"'
    body = b'{"batch":[{%s,"n":18446744073709551617,"q":1,"q":2},{%s,"properties":%s}]}' % (whole, whole, b"[" * depth + b"]" * depth)
    exact, deep = taken(post("/v1/batch", body))
    replaced = b'"context":{"replaced":[{"path":"/q","what":"duplicate_key"}]}'
    assert b'{%s,"n":18446744073709551617,"q":2,%s}' % (whole, replaced) == exact.value
    assert dict(deep.headers)["dead_reason"] == b"too_deep"


def test_an_envelope_that_is_nested_too_deeply() -> None:
    """It would be read, but perhaps not as it was sent."""
    body = b'{"batch":[],"context":{"n":18446744073709551617},"x":%s}' % (b"[" * 1000 + b"]" * 1000)
    assert refusal(post("/v1/batch", body)) == (400, "invalid_json")
