"""What clients see: status, body, and what lets a browser see it too."""

import orjson
import pytest

from pipeline.ingest import answers, refusals
from pipeline.ingest.answers import Result
from pipeline.ingest.judgement import Fault
from pipeline.ingest.refusals import Refused

REFUSALS = [value for value in vars(refusals).values() if isinstance(value, Refused)]
ORIGIN = "https://shop.example"


def test_success_is_what_every_sdk_accepts() -> None:
    """200, application/json and a JSON object: Java, Ruby and rudder-python repeat anything else."""
    assert answers.stored(None) == (200, (("content-type", "application/json"),), b'{"success":true}')


@pytest.mark.parametrize("refusal", REFUSALS)
def test_errors_have_code_and_message(refusal: Refused) -> None:
    """rudder-python sends a refused batch again unless its body is a JSON object with both."""
    status, headers, body = answers.refused(refusal, None)
    assert orjson.loads(body) == {"success": False, "code": refusal.code, "message": refusal.message}
    assert refusal.status == status
    assert dict(headers)["content-type"] == "application/json"


def test_an_unknown_key_is_told_in_the_words_of_rudderstack() -> None:
    """Its SDKs for Android and iOS look for them in the body, and go on sending without them."""
    assert b"invalid write key" in answers.refused(refusals.INVALID_WRITE_KEY, None).body.lower()


@pytest.mark.parametrize("refusal", REFUSALS)
def test_only_what_may_help_says_when_to_come_back(refusal: Refused) -> None:
    """Retry-After and X-RateLimit-Reset are small whole seconds, on 429 and 503 alone."""
    headers = dict(answers.refused(refusal, None).headers)
    assert (refusal.status in {429, 503}) == ("retry-after" in headers) == ("x-ratelimit-reset" in headers)
    if refusal.status in {429, 503}:
        assert 1 <= int(headers["retry-after"]) <= 60


def test_no_refusal_redirects_or_loses() -> None:
    """Statuses are those that SDKs take as meant: none of 3xx, 410, 460."""
    assert {400, 401, 403, 404, 405, 408, 413, 429, 431, 500, 503, 511} == {refusal.status for refusal in REFUSALS}


@pytest.mark.parametrize("answer", [answers.stored(ORIGIN), *[answers.refused(refusal, ORIGIN) for refusal in REFUSALS]])
def test_pages_may_read_every_answer(answer: answers.Answer) -> None:
    """The origin is echoed, with credentials, and Retry-After is exposed, on errors too."""
    headers = dict(answer.headers)
    assert headers["access-control-allow-origin"] == ORIGIN
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["vary"] == "Origin"
    assert headers["access-control-expose-headers"] == "Retry-After, X-RateLimit-Reset"


def test_preflight_echoes_what_is_asked_for() -> None:
    """Names are echoed, since `*` does not cover Authorization."""
    status, headers, body = answers.preflight(ORIGIN, "anonymousid,authorization,content-type,sentat")
    named = dict(headers)
    assert (status, body) == (204, b"")
    assert named["access-control-allow-headers"] == "anonymousid,authorization,content-type,sentat"
    assert named["access-control-allow-methods"] == "GET, POST, OPTIONS"
    assert int(named["access-control-max-age"]) >= 600
    assert named["access-control-allow-origin"] == ORIGIN


def test_preflight_without_names_allows_authorization() -> None:
    """A client that names nothing may still send what SDKs send."""
    assert "authorization" in dict(answers.preflight(None, None).headers)["access-control-allow-headers"]


def test_the_wrong_method_names_the_right_one() -> None:
    """405 comes with Allow (RFC 9110 §15.5.6)."""
    assert dict(answers.refused(refusals.METHOD_NOT_ALLOWED, None, allow="POST, OPTIONS").headers)["allow"] == "POST, OPTIONS"


def test_results_say_what_became_of_each_event() -> None:
    """For a client that asked: its place, its id, and the reason where it died."""
    results = [Result("m1", None), Result("", Fault("unknown_type", "No type."))]
    assert orjson.loads(answers.stored(None, results).body) == {
        "success": True,
        "results": [
            {"index": 0, "messageId": "m1", "status": "stored"},
            {"index": 1, "messageId": "", "status": "dead", "code": "unknown_type", "message": "No type."},
        ],
    }


@pytest.mark.parametrize(
    ("query", "results", "validated"),
    [
        ("", False, False),
        ("results=true", True, False),
        ("writeKey=k&acknowledge=validated", True, True),
        ("acknowledge=stored", False, False),
        ("results=false&acknowledge=", False, False),
    ],
)
def test_what_a_client_asks_for(query: str, results: bool, validated: bool) -> None:  # noqa: FBT001 (pytest passes parameters by position)
    """Nothing unless it says so; validated brings results too."""
    assert answers.asked_for(query) == (results, validated)


@pytest.mark.parametrize("query", ["acknowledge=banana", "acknowledge=Validated", "results=yes", "results=true&acknowledge=later"])
def test_what_no_answer_is_is_refused(query: str) -> None:
    """Whoever misspells a value would otherwise take his events for judged."""
    assert answers.asked_for(query) == refusals.UNKNOWN_WISH
