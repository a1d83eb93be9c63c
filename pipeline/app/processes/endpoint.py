"""Health, metrics and status of a process, on a port of its own, in a thread beside the event loop."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIEnvironment

import orjson

Page = Callable[[str], tuple[str, str, bytes]]
"""Gives status line, content type and body of a page, for a query string."""


class FirstSeen(NamedTuple):
    """Where and when dedup first saw a message.

    Attributes:
        partition: Partition of the input.
        offset: Offset in it, or -1 where it was noted by a release that kept none.
        at_ms: Broker time, milliseconds since the epoch.
    """

    partition: int
    offset: int
    at_ms: int


_DIGEST: Final = re.compile("[0-9a-fA-F]{32}")


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 (the signature of the standard library)
        """Say nothing: a scrape every few seconds is no news."""


class Endpoint:
    """Serves a few pages of a process.

    Args:
        host: Address to listen on.
        port: Port, or 0 for a free one.
        metrics: Gives Prometheus' text.
        live: What keeps the process from making progress, or empty.
        ready: What keeps it from taking records, or empty.
        status: What it works on.
        first_seen: Looks a message's digest up in the dedup state that the process keeps; None where it is not known.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        metrics: Callable[[], bytes],
        live: Callable[[], str],
        ready: Callable[[], str],
        status: Callable[[], Mapping[str, Any]],
        first_seen: Callable[[bytes], FirstSeen | None],
    ) -> None:
        self._pages: dict[str, Page] = {
            "/metrics": lambda _query: ("200 OK", "text/plain; version=0.0.4; charset=utf-8", metrics()),
            "/health/live": lambda _query: _health(live()),
            "/health/ready": lambda _query: _health(ready()),
            "/status.json": lambda _query: ("200 OK", "application/json", orjson.dumps(status())),
            "/dedup.json": lambda query: _first_seen(query, first_seen),
        }
        self._server = make_server(host, port, self._answer, server_class=_Server, handler_class=_Handler)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="endpoint", daemon=True)
        self._thread.start()

    def _answer(self, environment: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        page = self._pages.get(environment.get("PATH_INFO", ""))
        line, kind, body = page(environment.get("QUERY_STRING", "")) if page is not None else ("404 Not Found", "text/plain", b"not found\n")
        start_response(line, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [body]

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()


def _health(trouble: str) -> tuple[str, str, bytes]:
    if not trouble:
        return "200 OK", "text/plain", b"ok\n"
    return "503 Service Unavailable", "text/plain; charset=utf-8", f"{trouble}\n".encode()


def _first_seen(query: str, look_up: Callable[[bytes], FirstSeen | None]) -> tuple[str, str, bytes]:
    text = parse_qs(query).get("digest", [""])[-1]
    if _DIGEST.fullmatch(text) is None:
        return "400 Bad Request", "text/plain", b"digest must be 32 hexadecimal digits\n"
    try:
        found = look_up(bytes.fromhex(text))
    except TimeoutError:
        return "503 Service Unavailable", "text/plain", b"the process is busy; try again\n"
    if found is None:
        return "404 Not Found", "application/json", b'{"error":"not in the dedup state of this process"}'
    offset = None if found.offset < 0 else found.offset
    return "200 OK", "application/json", orjson.dumps({"partition": found.partition, "offset": offset, "first_seen": found.at_ms})
