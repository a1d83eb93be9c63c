"""Events in query strings."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ingest import ENDPOINTS, Accepted, Refused, Request, answers, collect, refusals
from pipeline.ingest.pixel import IMAGE, pixel_event
from tests.unit.ingest.requests_of_sdks import KEYS, NOW, WORKSPACE, event, refusal, taken

READ: dict[str, Any] = {"writeKey": "web-key", "userId": "ü~?>", "messageId": "m", "event": "Email Opened", "properties": {"n": 1}}


def get(path: str, query: str) -> Accepted | Refused:
    """Ask for a pixel."""
    headers: dict[str, Any] = {"user-agent": "Mail"}
    return collect(Request(ENDPOINTS[path], headers, query, b"", "203.0.113.9", NOW, "n/1"), KEYS, WORKSPACE)


@pytest.mark.parametrize(
    "encode", [b64encode, urlsafe_b64encode, lambda text: b64encode(text).rstrip(b"="), lambda text: b64encode(text).replace(b"+", b" ")]
)
def test_base64_in_every_spelling(encode: Any) -> None:  # noqa: ANN401 (a function)
    """Plain, URL-safe, without padding, and with spaces where pluses were."""
    found = event(get("/v1/pixel/track", "data=" + quote(encode(orjson.dumps(READ)), safe="")))
    assert found == {**{name: value for name, value in READ.items() if name != "writeKey"}, "type": "track", "context": found["context"]}
    assert found["context"] == {"ip": "203.0.113.9", "userAgent": "Mail"}


def test_flat_fields_nest_at_their_dots() -> None:
    """Values stay text; a plus is a space."""
    found = event(get("/v1/pixel/track", "writeKey=web-key&userId=u&messageId=m&event=Email+Opened&properties.subject=Hi&properties.a.b=1"))
    assert found["event"] == "Email Opened"
    assert found["properties"] == {"subject": "Hi", "a": {"b": "1"}}


def test_names_that_stand_in_each_other_s_way_are_both_kept() -> None:
    """A value under a value keeps its whole name."""
    assert pixel_event("a=1&a.b=2&c.d=3&c=4", "track", rudderstack=False) == ({"a": "1", "a.b": "2", "c": "4", "c.d": "3"}, False)


def test_rudderstack_s_pixel() -> None:
    """Its anonymous id may be quoted, and a page without name gets one."""
    found = event(get("/pixel/v1/page", "writeKey=web-key&anonymousId=%22a1%22&name="))
    assert (found["anonymousId"], found["name"], found["type"]) == ("a1", "Unknown Page", "page")
    assert event(get("/pixel/v1/track", "writeKey=web-key&anonymousId=a&event=E"))["type"] == "track"


def test_a_bad_event_is_a_dead_letter() -> None:
    """Nobody sees the answer, so it is kept where someone looks."""
    (letter,) = taken(get("/v1/pixel/track", "writeKey=web-key&userId=u"))
    assert (letter.topic, dict(letter.headers)["dead_reason"]) == ("shop.dead.ingest", b"event_not_defined")


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("data=a", (400, "invalid_query")),
        ("data=abc", (400, "invalid_json")),
        ("data=e30", (401, "invalid_write_key")),
        ("userId=u", (401, "invalid_write_key")),
        ("&".join(f"a{number}=1" for number in range(2000)), (400, "invalid_query")),
        ("", (401, "invalid_write_key")),
    ],
)
def test_what_is_nobody_s_is_counted_only(query: str, answer: tuple[int, str]) -> None:
    """Without a known key there is no source whose dead letter it could be."""
    assert answer == refusal(get("/v1/pixel/track", query))


def test_the_answer_is_the_image_whatever_happens() -> None:
    """200 and never cached; only what was not stored, or shall wait, is told as such, with the image all the same."""
    for refused in (None, refusals.INVALID_WRITE_KEY, refusals.INVALID_JSON):
        status, headers, body = answers.image(refused)
        assert (status, body) == (200, IMAGE)
        assert dict(headers)["cache-control"] == "no-store"
        assert dict(headers)["content-type"] == "image/gif"
    status, headers, body = answers.image(refusals.UNAVAILABLE)
    assert (status, dict(headers)["retry-after"], body) == (503, "2", IMAGE)


def test_deep_names_die_and_do_not_crash() -> None:
    """A thousand dots are no thousand levels."""
    (letter,) = taken(get("/v1/pixel/page", "writeKey=web-key&userId=u&" + ".".join("a" * 1000) + "=1"))
    assert dict(letter.headers)["dead_reason"] == b"too_deep"


@given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=6), st.booleans())
def test_any_query_gets_an_answer(fields: dict[str, str], known: bool) -> None:  # noqa: FBT001 (hypothesis passes it by name)
    """No query raises."""
    verdict = get("/v1/pixel/page", urlencode({**fields, "writeKey": "web-key" if known else "x"}, errors="replace"))
    assert isinstance(verdict, Accepted) or verdict.status in {400, 401}
