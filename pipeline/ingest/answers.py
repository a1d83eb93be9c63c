"""What goes back to the client: status, headers and body of every answer (reference: tracking-api §3 and §4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import orjson

from pipeline.ingest.refusals import Refused


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
_STORED: Final = Answer(200, (_JSON,), b'{"success":true}')


def stored(origin: str | None) -> Answer:
    """Answer a request whose events are stored: exactly what every SDK takes for a success.

    Args:
        origin: Value of the Origin header.

    Returns:
        200 with `{"success":true}`.
    """
    if origin is None:
        return _STORED
    return _STORED._replace(headers=(_JSON, *_cross_origin(origin)))


def refused(refusal: Refused, origin: str | None) -> Answer:
    """Answer a request that is not taken; with the CORS headers too, or a browser sees a network error and sends it again.

    Args:
        refusal: Why.
        origin: Value of the Origin header.

    Returns:
        The refusal's status, with a JSON object that has `code` and `message`.
    """
    headers = [_JSON]
    if refusal.retry_after:
        seconds = str(refusal.retry_after)
        headers += [("retry-after", seconds), ("x-ratelimit-reset", seconds)]
    if refusal.status == 405:
        headers.append(("allow", "POST, OPTIONS"))
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
