"""The mistakes that self-hosted ingests usually make (reference: tracking-api §10), as far as they are the collector's to make.

Number 11 is about the settings of browser SDKs, which the collector does not serve yet; 2, 10 and 13 are also tested over HTTP.
"""

import gzip
from typing import Any

import orjson
import pytest

from pipeline.ingest import ENDPOINTS, answers, refusals
from tests.unit.ingest.requests_of_sdks import WEB, basic, event, events, post, taken

TRACK: dict[str, Any] = {"type": "track", "event": "E", "userId": "u", "messageId": "m"}


def test_01_success_is_200_with_a_json_object() -> None:
    """202, 204 or the text OK make Java, Ruby and rudder-python send everything several times."""
    assert (200, {"success": True}) == (answers.stored(None).status, orjson.loads(answers.stored(None).body))


def test_02_both_spellings_of_every_path() -> None:
    """Each path has its twin with a slash, so nothing is redirected."""
    assert all(path + "/" in ENDPOINTS or path.endswith("/") for path in ENDPOINTS)


def test_03_no_authorization_needed() -> None:
    """Java and all mobile SDKs carry the key in the body alone."""
    assert event(post("/v1/import/", {"batch": [TRACK], "writeKey": "web-key"}, {})) == TRACK


def test_04_content_type_is_not_trusted() -> None:
    """rudder-node calls its gzip a form."""
    headers = {**WEB, "content-type": "application/x-www-form-urlencoded", "content-encoding": "gzip"}
    assert event(post("/v1/batch", gzip.compress(orjson.dumps({"batch": [TRACK]})), headers)) == TRACK


def test_05_batches_beyond_a_megabyte() -> None:
    """A batch of 4 MB of legal events is taken whole."""
    item = {**TRACK, "properties": {"x": "x" * 30_000}}
    assert len(events(post("/v1/batch", {"batch": [item] * 140}))) == 140


def test_06_identifies_of_62_kb() -> None:
    """A source that serves Rudder SDKs takes what they may send."""
    traits = {"x": "x" * 31_000}
    identify = {"type": "identify", "userId": "u", "traits": traits, "context": {"traits": traits}}
    assert event(post("/v1/identify", identify, {"authorization": basic("app-key:")}))["traits"] == traits


def test_07_one_bad_item_fails_nothing_else() -> None:
    """The good ones are stored."""
    assert [record.topic for record in taken(post("/v1/batch", {"batch": [TRACK, {}, TRACK]}))] == ["shop.raw", "shop.dead.ingest", "shop.raw"]


def test_08_the_envelope_is_merged() -> None:
    """Go and Java say their library there."""
    assert event(post("/v1/batch", {"batch": [TRACK], "context": {"library": {"name": "go"}}}))["context"]["library"] == {"name": "go"}


def test_09_traits_stay_where_they_are() -> None:
    """Rudder users' traits in context.traits reach validate."""
    assert event(post("/v1/identify", {"userId": "u", "context": {"traits": {"a": 1}}}))["context"] == {"traits": {"a": 1}}


def test_10_errors_carry_cors() -> None:
    """Else a browser sees a network error and repeats what it should drop."""
    headers = dict(answers.refused(refusals.INVALID_WRITE_KEY, "https://x").headers)
    assert headers["access-control-allow-origin"] == "https://x"
    assert "Retry-After" in headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (b"123456789012345678901234567890", b"123456789012345678901234567890"),
        (b"9007199254740993", b"9007199254740993"),
        (b"NaN", b"null"),
        (b"-Infinity", b"null"),
        (b'"\\ud83d"', '"\ufffd"'.encode()),
        (b'"a\\u0000b"', b'"a\\u0000b"'),
    ],
)
def test_12_odd_values_cost_nothing_else(sent: bytes, stored: bytes) -> None:
    """Integers stay exact, what JSON cannot carry is replaced, and its neighbours are stored."""
    body = b'{"batch":[{"type":"page","userId":"u","messageId":"m","x":%s},%s]}' % (sent, orjson.dumps(TRACK))
    first, second = taken(post("/v1/batch", body))
    assert (first.value or b"").startswith(b'{"type":"page","userId":"u","messageId":"m","x":%s' % stored)
    assert orjson.loads(second.value or b"") == TRACK


def test_13_poison_is_no_5xx() -> None:
    """A payload alone never causes a status that is sent again; that 200 waits for the broker is tested over HTTP."""
    assert [record.topic for record in taken(post("/v1/batch", {"batch": [{"type": "page", "userId": "u", "x": [[[[]]]] * 9}, {"type": {}}]}))]


def test_14_the_client_s_times_are_kept() -> None:
    """The time of arrival goes into a header; timestamp, originalTimestamp and sentAt stay as sent."""
    times = {"timestamp": "2020-01-01T00:00:00Z", "originalTimestamp": "2019-01-01T00:00:00Z", "sentAt": "bad", "receivedAt": "x"}
    assert event(post("/v1/track", {**TRACK, **times})) == {**TRACK, **times}
