"""What holds for every body."""

import gzip
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest import ENDPOINTS, Accepted, Request, collect
from tests.unit.ingest.requests_of_sdks import KEYS, NOW, WEB, WORKSPACE, post

PATHS = st.sampled_from(sorted(path for path, endpoint in ENDPOINTS.items() if endpoint.takes != "nothing"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
FIELDS = ("type", "userId", "anonymousId", "messageId", "event", "context", "integrations", "sentAt", "writeKey", "properties", "batch")
EVENTS = st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from(["track", "page", "web-key", "u"]), max_size=8)


def written(value: Any) -> bytes:  # noqa: ANN401 (JSON)
    """Write JSON as clients do, integers of any size included."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return repr(value).replace("'", '"').replace("None", "null").replace("True", "true").replace("False", "false").encode("utf-8", "replace")


@given(path=PATHS, body=st.binary(max_size=200), encoding=st.sampled_from([None, "gzip", "br"]), headers=st.sampled_from([WEB, {}]))
def test_any_bytes_get_an_answer(path: str, body: bytes, encoding: str | None, headers: dict[str, str]) -> None:
    """No body raises, and each is taken or refused with 400, 401 or 413."""
    sent = headers if encoding is None else {**headers, "content-encoding": encoding}
    verdict = collect(Request(ENDPOINTS[path], sent, "", body, "", NOW, "n/1", None, sent.get("authorization")), KEYS, WORKSPACE)
    assert isinstance(verdict, Accepted) or verdict.status in {400, 401, 413}


@given(path=PATHS, body=EVENTS | JSON)
def test_any_json_gets_an_answer(path: str, body: Any) -> None:  # noqa: ANN401 (JSON)
    """No JSON raises, and each is taken or refused with 400 or 401."""
    verdict = post(path, written(body))
    assert isinstance(verdict, Accepted) or verdict.status in {400, 401}


@given(items=st.lists(EVENTS | JSON, max_size=6), envelope=EVENTS)
def test_every_item_ends_once(items: list[Any], envelope: dict[str, Any]) -> None:
    """A batch gives one record for each item, in raw or in dead letters, and never fails for one of them."""
    body = written({**envelope, "batch": items, "writeKey": "web-key"})
    verdict = post("/v1/batch", body)
    assert isinstance(verdict, Accepted) or verdict.code == "invalid_json"
    if isinstance(verdict, Accepted):
        assert len(items) == len(verdict.outputs)
        assert len(items) == sum(count for (_, outcome), count in verdict.counts.items())


@given(items=st.lists(EVENTS, max_size=4))
def test_packed_and_plain_are_the_same(items: list[dict[str, Any]]) -> None:
    """Gzip changes nothing."""
    body = written({"batch": items})
    assert post("/v1/batch", body) == post("/v1/batch", gzip.compress(body), {**WEB, "content-encoding": "gzip"})
