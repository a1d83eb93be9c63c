"""What is the same in every answer to a browser: who may read it, how long it may be kept, and when it need not be sent again."""

from __future__ import annotations

import gzip
import hashlib
from functools import lru_cache
from typing import Final

import orjson

from pipeline.app.collector.routes import Reply, RouteRequest
from pipeline.ingest import answers

JSON: Final = "application/json; charset=utf-8"
SCRIPT: Final = "text/javascript; charset=utf-8"
_PUBLIC: Final = (
    # Public documents that no cookie changes: every site may read them, and a cache needs but one copy.
    ("access-control-allow-origin", "*"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("x-content-type-options", "nosniff"),
)


def public(request: RouteRequest, body: bytes, content_type: str, cache: str, vary: str) -> Reply:
    """Answer with something that every site may read.

    Args:
        request: The request; what it has already is not sent again.
        body: What it asked for.
        content_type: Its type.
        cache: Value of the Cache-Control header.
        vary: Value of the Vary header.

    Returns:
        200, or 304 without a body; packed where the client takes that.
    """
    tag = _tag(body)
    headers = (*_PUBLIC, ("cache-control", cache), ("etag", tag), ("vary", vary))
    if tag in (request.headers.get("if-none-match") or ""):
        return Reply(304, b"", content_type, headers)
    if len(body) > _PACKED_FROM and takes_gzip(request):
        return Reply(200, _packed(body), content_type, (*headers, ("content-encoding", "gzip")))
    return Reply(200, body, content_type, headers)


_PACKED_FROM: Final = 1024


@lru_cache(maxsize=64)
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, 6, mtime=0)


@lru_cache(maxsize=64)
def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:20]}"'


def takes_gzip(request: RouteRequest) -> bool:
    """Say whether the client takes a packed answer."""
    return "gzip" in (request.headers.get("accept-encoding") or "")


def refused(status: int, code: str, message: str) -> Reply:
    """Refuse a request, so that a page can read why, and nothing keeps the refusal once it is no longer true.

    Args:
        status: HTTP status.
        code: Stable slug, for programs.
        message: A sentence for a person.

    Returns:
        JSON with `code` and `message`.
    """
    body = orjson.dumps({"success": False, "code": code, "message": message})
    return Reply(status, body, JSON, (*_PUBLIC, ("cache-control", "no-store")))


def refused_script(status: int, code: str, message: str) -> Reply:
    """Refuse a script, as a comment in one: a browser shows a page's developer nothing of another type that was asked for as a script.

    Args:
        status: HTTP status; the browser runs nothing of it.
        code: Stable slug, for programs.
        message: A sentence for a person.

    Returns:
        JavaScript without effect.
    """
    words = " ".join(message.split())
    return Reply(status, f"// {code}: {words}\n".encode(), SCRIPT, (*_PUBLIC, ("cache-control", "no-store")))


def preflight(request: RouteRequest) -> Reply:
    """Let a browser ask with the headers that it wants to send."""
    answer = answers.preflight(request.headers.get("origin"), request.headers.get("access-control-request-headers"))
    return Reply(answer.status, answer.body, headers=tuple(answer.headers))
