"""What is wrong with an event: alone it is refused, in a batch it dies alone."""

from typing import Any

import orjson
import pytest

from pipeline.model import limits
from pipeline.model.reasons import REASONS
from tests.unit.ingest.requests_of_sdks import WEB, basic, event, post, refusal, taken


def nested(depth: int) -> dict[str, Any]:
    """Make an event that is nested to a depth, itself included."""
    inner: Any = 1
    for _ in range(depth - 1):
        inner = [inner]
    return {"type": "page", "userId": "u", "messageId": "m", "x": inner}


def nested_text(depth: int) -> bytes:
    """Write an event that is nested to a depth that no JSON writer follows."""
    return b'{"type":"page","userId":"u","messageId":"m","x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def sized(size: int) -> dict[str, Any]:
    """Make an event of so many bytes of compact JSON."""
    event = {"type": "page", "userId": "u", "messageId": "m", "x": ""}
    event["x"] = "x" * (size - len(orjson.dumps(event)))
    return event


BAD: list[tuple[Any, str]] = [
    ({"type": "boo", "userId": "u"}, "unknown_type"),
    ({"type": 5, "userId": "u"}, "unknown_type"),
    ({"type": {}, "userId": "u"}, "unknown_type"),
    ({"type": "page"}, "no_user_anon_id"),
    ({"type": "page", "userId": "", "anonymousId": None}, "no_user_anon_id"),
    ({"type": "track", "userId": "u"}, "event_not_defined"),
    ({"type": "track", "userId": "u", "event": ""}, "event_not_defined"),
    ({"type": "page", "userId": "u", "messageId": "m" * 101}, "message_id_too_long"),
    (sized(32 * 1024 + 1), "event_too_large"),
    (nested(65), "too_deep"),
    (nested(200), "too_deep"),
]
GOOD: list[Any] = [
    {"type": "page", "userId": 5},
    {"type": "page", "anonymousId": 1.5},
    {"type": "page", "userId": {}},
    {"type": "track", "userId": "u", "event": 5},
    {"type": "group", "userId": "u"},
    {"type": "alias", "userId": "u"},
    {"type": "page", "userId": "u", "messageId": "m" * 100},
    {"type": "page", "userId": "u", "messageId": 7},
    {"type": "page", "userId": "u", "context": []},
    sized(32 * 1024),
    nested(64),
]


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_a_bad_event_alone_is_refused(bad: Any, reason: str) -> None:  # noqa: ANN401 (JSON)
    """Status 400 with the reason as its code."""
    assert (400, reason) == refusal(post("/v1/page", bad))
    assert reason in REASONS


@pytest.mark.parametrize(("bad", "reason"), [*BAD, (5, "not_an_object"), (None, "not_an_object"), ([], "not_an_object")])
def test_a_bad_item_dies_alone(bad: Any, reason: str) -> None:  # noqa: ANN401 (JSON)
    """The batch is taken, and the item becomes a dead letter with its bytes and the reason."""
    good = {"type": "page", "userId": "u", "messageId": "m"}
    records = taken(post("/v1/batch", {"batch": [good, bad, good]}))
    assert ["shop.raw", "shop.dead.ingest", "shop.raw"] == [record.topic for record in records]
    headers = dict(records[1].headers)
    assert reason.encode() == headers["dead_reason"]
    assert (b"ingest", b"web", b"1700000000000", b"7") == tuple(headers[name] for name in ("dead_stage", "source", "received_at", "dead_config"))
    assert bad == orjson.loads(records[1].value or b"")


@pytest.mark.parametrize("depth", [300, 1000])
def test_what_can_be_read_but_hardly_written(depth: int) -> None:
    """Between the depths that can be written and read, an item dies like any other; of the deepest only the outermost values are kept."""
    assert refusal(post("/v1/page", nested_text(depth))) == (400, "too_deep")
    (record,) = taken(post("/v1/batch", b'{"batch":[%s]}' % nested_text(depth)))
    assert dict(record.headers)["dead_reason"] == b"too_deep"
    assert orjson.loads(record.value or b"")["messageId"] == "m"


@pytest.mark.parametrize("good", GOOD)
def test_the_rest_is_for_validate(good: Any) -> None:  # noqa: ANN401 (JSON)
    """What the collector does not judge is stored as it is."""
    assert {"messageId": "", **good} | {"messageId": ""} == {**event(post("/v1/page", good)), "messageId": ""}


def test_a_single_event_that_is_no_object() -> None:
    """An array is JSON, but no event."""
    assert refusal(post("/v1/page", b"[]")) == (400, "not_an_object")


def test_too_many_keys() -> None:
    """10,000 keys are taken from a source that may send large events, one more is not."""
    headers = {**WEB, "authorization": basic("app-key:")}
    names = dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567", 0)
    large = {"type": "page", "userId": "u", "messageId": "m", "x": [names] * 166, "y": dict.fromkeys("abcdefghijklmnopqrstuvwxyzABCDEFGHI", 0)}
    assert len(names) * 166 + 35 + 5 == limits.KEYS
    assert event(post("/v1/page", large, headers)) == large
    assert refusal(post("/v1/page", {**large, "z": 0}, headers)) == (400, "too_many_keys")


def test_a_source_may_ask_for_larger_events() -> None:
    """Rudder's Node SDK sends legal identifies of up to 64 KB."""
    headers = {"authorization": basic("app-key:")}
    assert event(post("/v1/page", sized(64 * 1024), headers))["messageId"] == "m"
    assert refusal(post("/v1/page", sized(64 * 1024 + 1), headers)) == (400, "event_too_large")


def test_the_size_is_that_of_what_was_sent() -> None:
    """An event at the limit may come in a batch that says the library once for all, but not with an envelope as large as itself."""
    (record,) = taken(post("/v1/batch", {"batch": [sized(32 * 1024)], "context": {"library": {"name": "java"}}}))
    assert record.topic == "shop.raw"
    (record,) = taken(post("/v1/batch", {"batch": [sized(32 * 1024)], "context": {"x": "x" * 32 * 1024}}))
    assert record.topic == "shop.dead.ingest"


def test_the_size_is_that_of_compact_json() -> None:
    """Spaces and ASCII escapes of a client do not count."""
    spaced = b'{"userId":"u",' + b" " * 40_000 + b'"x":"' + b"\\u00e9" * 10_000 + b'"}'
    assert event(post("/v1/page", spaced))["x"] == "\u00e9" * 10_000


def test_a_dead_letter_fits_its_topic() -> None:
    """Of an item larger than a topic takes, the beginning is kept, and the detail says so."""
    (record,) = taken(post("/v1/batch", {"batch": [sized(3_000_000)]}))
    assert len(record.value or b"") + 16 * 1024 == limits.TOPIC_MESSAGE_BYTES
    assert b"3000000 bytes are kept" in dict(record.headers)["dead_detail"]


def test_a_dead_letter_keeps_its_key_unless_it_is_huge() -> None:
    """The key is the event's, so that it can be looked for; a key of megabytes is left out."""
    small, huge = taken(post("/v1/batch", {"batch": [{"type": "x", "userId": "u"}, {"type": "x", "userId": "u" * 9000}]}))
    assert (b"u", None) == (small.key, huge.key)
