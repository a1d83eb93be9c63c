"""What goes back to the client: status, headers and body of every answer (reference: tracking-api §3 and §4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from pipeline.ingest import refusals
from pipeline.ingest.credentials import query_field
from pipeline.ingest.judgement import Fault
from pipeline.ingest.pixel import IMAGE
from pipeline.ingest.refusals import Refused


class Result(NamedTuple):
    """What became of one event.

    Attributes:
        message_id: Its message id, or empty.
        fault: What is wrong with it, or None.
    """

    message_id: str
    fault: Fault | None


class Answer(NamedTuple):
    """An HTTP answer.

    Attributes:
        status: Status code.
        headers: Header names and values.
        body: Body.
    """

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


_JSON: Final = ("content-type", "application/json")
_EXPOSED: Final = ("access-control-expose-headers", "Retry-After, X-RateLimit-Reset")
_ALLOWED_HEADERS: Final = "authorization, content-type, anonymousid, sentat, x-retry-count"
_PREFLIGHT_SECONDS: Final = "3600"
_IMAGE: Final = (("content-type", "image/gif"), ("cache-control", "no-store"), ("access-control-allow-origin", "*"))
_ACKNOWLEDGE: Final = ("", "stored", "validated")
_RESULTS: Final = ("", "false", "true")
STORED: Final = Answer(200, (_JSON,), b'{"success":true}')


class Wanted(NamedTuple):
    """What a client asks of its answer.

    Attributes:
        results: Whether it says what became of each event.
        validated: Whether validate runs before it.
    """

    results: bool
    validated: bool


def asked_for(query: str) -> Wanted | Refused:
    """Read what a client asks of its answer.

    Args:
        query: The query string without question mark.

    Returns:
        `results=true`, and `acknowledge=validated`, which brings results too; the refusal of a value that means nothing, since whoever misspells
        one would take events for judged that are not.
    """
    acknowledge, results = query_field(query, "acknowledge"), query_field(query, "results")
    if acknowledge not in _ACKNOWLEDGE or results not in _RESULTS:
        return refusals.UNKNOWN_WISH
    validated = acknowledge == "validated"
    return Wanted(validated or results == "true", validated)


def stored(origin: str | None, results: Sequence[Result] | None = None) -> Answer:
    """Answer a request whose events are stored: exactly what every SDK takes for a success.

    Args:
        origin: Value of the Origin header.
        results: What became of each event, where the client asked for it.

    Returns:
        200 with `{"success":true}`, and with `results` in it where they are given.
    """
    if origin is None and results is None:
        return STORED
    headers = (_JSON,) if origin is None else (_JSON, *_cross_origin(origin))
    if results is None:
        return Answer(200, headers, STORED.body)
    return Answer(200, headers, orjson.dumps({"success": True, "results": [_result(index, one) for index, one in enumerate(results)]}))


def _result(index: int, result: Result) -> dict[str, Any]:
    said = {"index": index, "messageId": result.message_id, "status": "stored" if result.fault is None else "dead"}
    return said if result.fault is None else {**said, "code": result.fault.reason, "message": result.fault.message}


def image(refusal: Refused | None) -> Answer:
    """Answer a pixel: with the image, whatever became of its event, since what loads it knows nothing else.

    Args:
        refusal: Why its event was not taken, or None.

    Returns:
        The image, with 200; with the refusal's status only where the event may come again (design: never 2xx for an event that may be lost).
    """
    again = refusal is not None and refusal.retry_after > 0
    headers = [*_IMAGE, ("retry-after", str(refusal.retry_after))] if again and refusal is not None else _IMAGE
    return Answer(refusal.status if again and refusal is not None else 200, headers, IMAGE)


def refused(refusal: Refused, origin: str | None, *, allow: str = "") -> Answer:
    """Answer a request that is not taken; with the CORS headers too, or a browser sees a network error and sends it again.

    Args:
        refusal: Why.
        origin: Value of the Origin header.
        allow: Methods that the path takes, where the method was wrong.

    Returns:
        The refusal's status, with a JSON object that has `code` and `message`.
    """
    headers = [_JSON]
    if refusal.retry_after:
        seconds = str(refusal.retry_after)
        headers += [("retry-after", seconds), ("x-ratelimit-reset", seconds)]
    if allow:
        headers.append(("allow", allow))
    if origin is not None:
        headers += _cross_origin(origin)
    return Answer(refusal.status, headers, orjson.dumps({"success": False, "code": refusal.code, "message": refusal.message}))


def preflight(origin: str | None, requested_headers: str | None) -> Answer:
    """Answer a browser's OPTIONS request, whoever asks.

    Args:
        origin: Value of the Origin header.
        requested_headers: Value of the Access-Control-Request-Headers header.

    Returns:
        204 that allows what was asked for.
    """
    headers = [
        ("access-control-allow-methods", "GET, POST, OPTIONS"),
        ("access-control-allow-headers", requested_headers or _ALLOWED_HEADERS),
        ("access-control-max-age", _PREFLIGHT_SECONDS),
        *_cross_origin(origin or "*"),
    ]
    return Answer(204, headers, b"")


def _cross_origin(origin: str) -> list[tuple[str, str]]:
    return [
        ("access-control-allow-origin", origin),
        ("access-control-allow-credentials", "true"),
        ("vary", "Origin"),
        _EXPOSED,
    ]
