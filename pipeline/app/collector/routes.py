"""Other pages on the collector's port: health, metrics, the live page. A handler gets a request and gives a reply or a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

from pipeline.ingest.collect import RequestHeaders


class RouteRequest(NamedTuple):
    """A request for a mounted route.

    Attributes:
        method: HTTP method.
        path: Path, with the route's prefix.
        query: Query string without question mark.
        headers: Header values by lower-case name.
        body: Body, at most 8 MiB.
    """

    method: str
    path: str
    query: str
    headers: RequestHeaders
    body: bytes


class Reply(NamedTuple):
    """A whole answer.

    Attributes:
        status: Status code.
        body: Body.
        content_type: Value of the Content-Type header.
        headers: Further headers.
    """

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class Stream(NamedTuple):
    """An answer that comes in pieces, such as server-sent events.

    Attributes:
        chunks: The pieces. The iterator is closed (`GeneratorExit` or `CancelledError` at its `yield` or `await`) when the client
            goes away or the collector stops.
        content_type: Value of the Content-Type header.
        headers: Further headers.
    """

    chunks: AsyncIterator[bytes]
    content_type: str = "text/event-stream"
    headers: tuple[tuple[str, str], ...] = (("cache-control", "no-store"),)


Handler = Callable[[RouteRequest], Awaitable[Reply | Stream]]
Routes = Mapping[tuple[str, str], Handler]
"""Handlers by method and path prefix. The longest prefix that fits wins; one that ends in `/` takes all paths below it, any other
one, and `/`, its own path only."""


def find(routes: Routes, method: str, path: str) -> Handler | None:
    """Find the handler of a request.

    Args:
        routes: The mounted routes.
        method: HTTP method; HEAD is the caller's to turn into GET.
        path: Path.

    Returns:
        The handler, or None.
    """
    best = ""
    found: Handler | None = None
    for (route_method, prefix), handler in routes.items():
        if route_method == method and _fits(prefix, path) and len(prefix) > len(best):
            best, found = prefix, handler
    return found


def methods(routes: Routes, path: str) -> Sequence[str]:
    """List the methods that a path takes.

    Args:
        routes: The mounted routes.
        path: Path.

    Returns:
        Its methods in order, HEAD among them where GET is; none for a path that nothing serves.
    """
    served = {method for method, prefix in routes if _fits(prefix, path)}
    return sorted(served | {"HEAD"} if "GET" in served else served)


def _fits(prefix: str, path: str) -> bool:
    return path == prefix or (prefix.endswith("/") and prefix != "/" and path.startswith(prefix))
