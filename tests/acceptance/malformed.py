"""Malformed input of each kind, with the answer or the reason that is documented for it."""

from __future__ import annotations

import base64
import gzip
from collections import Counter
from typing import Any, Final, NamedTuple

import orjson

GOOD: Final = {"userId": "malformed", "event": "Good"}
_TRACK: Final = {"type": "track", **GOOD}


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"d": value}
    return value


class Refusal(NamedTuple):
    """A request that is refused as a whole.

    Attributes:
        name: Name of the case.
        path: Path.
        body: Body.
        status: Status of the answer.
        code: Its code.
        key: Write key, or empty for none.
        encoding: Content-Encoding, or empty.
        method: HTTP method.
    """

    name: str
    path: str
    body: bytes
    status: int
    code: str
    key: str = "demo"
    encoding: str = ""
    method: str = "POST"

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the request."""
        made = {"content-type": "application/json"}
        if self.key:
            made["authorization"] = "Basic " + base64.b64encode(f"{self.key}:".encode()).decode()
        if self.encoding:
            made["content-encoding"] = self.encoding
        return made


def _single(name: str, code: str, **fields: Any) -> Refusal:  # noqa: ANN401 (any JSON value)
    return Refusal(name, "/v1/track", orjson.dumps({**GOOD, **fields}), 400, code)


_WIDE: Final = {f"k{number}": 0 for number in range(2500)}

REFUSED: Final = (
    Refusal("not JSON", "/v1/track", b'{"userId":', 400, "invalid_json"),
    Refusal("no body", "/v1/track", b"", 400, "invalid_json"),
    Refusal("not UTF-8", "/v1/track", b'{"userId":"\xff"}', 400, "invalid_json"),
    Refusal("nested 100,000 levels", "/v1/track", b"[" * 100_000, 400, "invalid_json"),
    Refusal("not gzip", "/v1/batch", b"plain", 400, "invalid_json", encoding="gzip"),
    Refusal("gzip cut off", "/v1/batch", gzip.compress(b'{"batch":[]}' * 100)[:-9], 400, "invalid_json", encoding="gzip"),
    Refusal("unknown encoding", "/v1/batch", b"{}", 400, "invalid_json", encoding="br"),
    Refusal("gzip that unpacks to 100 MB", "/v1/batch", gzip.compress(bytes(100_000_000), 9), 413, "payload_too_large", encoding="gzip"),
    Refusal("body above 8 MiB", "/v1/batch", b" " * (8 * 1024 * 1024 + 1), 413, "payload_too_large"),
    Refusal("wrong key", "/v1/track", orjson.dumps(GOOD), 401, "invalid_write_key", key="wrong"),
    Refusal("no key", "/v1/track", orjson.dumps(GOOD), 401, "invalid_write_key", key=""),
    Refusal("single event is a list", "/v1/track", b"[1]", 400, "not_an_object"),
    Refusal("batch is no array", "/v1/batch", b'{"batch":{}}', 400, "invalid_json"),
    Refusal("batch is missing", "/v1/import/", b"{}", 400, "invalid_json"),
    Refusal("2,501 events", "/v1/b", orjson.dumps({"batch": [_TRACK] * 2501}), 400, "batch_too_long"),
    _single("no ids", "no_user_anon_id", userId=None),
    _single("empty id", "no_user_anon_id", userId=""),
    _single("no event name", "event_not_defined", event=None),
    _single("unknown type", "unknown_type", type="purchase"),
    _single("type is a number", "unknown_type", type=1),
    _single("long message id", "message_id_too_long", messageId="m" * 101),
    _single("too large", "event_too_large", properties={"x": "x" * 32_768}),
    _single("too deep", "too_deep", properties=_deep(64)),
    Refusal("too many keys", "/v1/track", orjson.dumps({**GOOD, "properties": {"list": [_WIDE] * 5}}), 400, "event_too_large"),
    Refusal("unknown path", "/v1/purchase", b"{}", 404, "not_found"),
    Refusal("wrong method", "/v1/track", b"", 405, "method_not_allowed", method="GET"),
)


class BadItem(NamedTuple):
    """An item of a batch, or a single event, that is taken and then ends as a dead letter.

    Attributes:
        reason: Registered reason.
        item: The item.
    """

    reason: str
    item: Any


BAD_ITEMS: Final = (
    BadItem("not_an_object", None),
    BadItem("not_an_object", [_TRACK]),
    BadItem("no_user_anon_id", {"type": "track", "event": "x"}),
    BadItem("event_not_defined", {"type": "track", "userId": "malformed"}),
    BadItem("unknown_type", {**_TRACK, "type": "wrong"}),
    BadItem("unknown_type", {**GOOD}),
    BadItem("message_id_too_long", {**_TRACK, "messageId": "m" * 101}),
    BadItem("event_too_large", {**_TRACK, "properties": {"x": "x" * 40_000}}),
    BadItem("too_deep", {**_TRACK, "properties": _deep(64)}),
)
"""Dead letters of the collector: bad items of one batch, whose good items go on."""

BAD_VALUES: Final = (
    BadItem("properties_not_object", {**_TRACK, "properties": [1, 2]}),
    BadItem("traits_not_object", {"type": "identify", "userId": "malformed", "traits": "a text"}),
    BadItem("context_not_object", {**_TRACK, "context": [1]}),
    BadItem("integrations_not_object", {**_TRACK, "integrations": True}),
    BadItem("event_not_string", {**_TRACK, "event": 7}),
    BadItem("name_not_string", {"type": "page", "userId": "malformed", "name": ["a"]}),
    BadItem("category_not_string", {"type": "screen", "userId": "malformed", "category": 1}),
    BadItem("id_not_string", {**_TRACK, "userId": {"a": 1}}),
    BadItem("id_not_string", {**_TRACK, "messageId": ["a"]}),
    BadItem("id_required", {"type": "group", "userId": "malformed"}),
    BadItem("id_required", {"type": "alias", "userId": "malformed"}),
    BadItem("timestamp_not_string", {**_TRACK, "timestamp": 1_700_000_000}),
)
"""Dead letters of validate: events whose values have a wrong type."""

BAD_RECORDS: Final = (
    BadItem("invalid_json", b"this is not JSON"),
    BadItem("not_an_object", b"[1,2,3]"),
    BadItem("unknown_source", b'{"type":"track","userId":"malformed","event":"Whose"}'),
    BadItem("unknown_source", b'{"type":"track","userId":"malformed","event":"Whose","writeKey":"wrong"}'),
)
"""Dead letters of validate: records that another Kafka client wrote to `raw`."""

ODD: Final = (
    b'{"userId":"malformed","event":"Odd","messageId":"odd-nan","properties":{"nan":NaN,"infinity":-Infinity,"large":1e400}}',
    b'{"userId":"malformed","event":"Odd","messageId":"odd-surrogate","properties":{"cut":"a\\ud83d"}}',
    b'{"userId":"malformed","event":"Odd","messageId":"odd-nul","properties":{"nul":"a\\u0000b"}}',
    b'{"userId":"malformed","event":"Odd","messageId":"odd-integer","properties":{"integer":1000000000000000000000000000001}}',
    b'{"userId":12345,"event":"Odd","messageId":"odd-number-id","timestamp":"not a time","context":null,"properties":{}}',
)
"""Odd, and taken: what JSON cannot carry is replaced after one declared table, all else is kept."""

ODD_STORED: Final[dict[str, dict[str, Any]]] = {
    "odd-nan": {"properties": {"nan": None, "infinity": None, "large": None}},
    "odd-surrogate": {"properties": {"cut": "a\ufffd"}},
    "odd-nul": {"properties": {"nul": "a\u0000b"}},
    "odd-integer": {"properties": {"integer": 10**30 + 1}},
    "odd-number-id": {"userId": "12345", "properties": {}},
}
"""What is stored of them."""


def expected_reasons() -> Counter[tuple[str, str]]:
    """Count the dead letters that all cases together make.

    Returns:
        Counts by stage and reason.
    """
    reasons: Counter[tuple[str, str]] = Counter(("ingest", bad.reason) for bad in BAD_ITEMS)
    reasons.update(("validate", bad.reason) for bad in (*BAD_VALUES, *BAD_RECORDS))
    return reasons
