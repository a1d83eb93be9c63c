"""The HTTP client of deliver, on pyreqwest (Rust's reqwest): bounded in time and in bytes, whatever the other side does."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Final

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, PyreqwestError, RequestTimeoutError

from pipeline.ports.http import Answer, Request

BODY_BYTES: Final = 64 * 1024
"""How much of an answer's body is read; the rest is never asked for."""
IDLE_SECONDS: Final = 60
USER_AGENT: Final = "Headrace"

_CAUSES: Final = (
    ("connection refused", "connection_refused"),
    ("connection reset", "connection_reset"),
    ("connection closed", "connection_closed"),
    ("broken pipe", "connection_reset"),
    ("dns error", "dns"),
    ("certificate", "tls"),
    ("tls", "tls"),
    ("ssl", "tls"),
    ("unreachable", "unreachable"),
    ("message head is too large", "answer_head_too_large"),
    ("parsed", "answer_not_http"),
)
"""What the causes of an error say, and the name that it gets; the first that is found counts."""


class PyreqwestClient:
    """Sends requests over pooled connections.

    It follows no redirect, sends and keeps no cookie, uses no proxy of the environment, asks for no compression and
    decompresses nothing, so that a small answer cannot become a large one.

    Args:
        connections_per_host: Most idle connections that are kept for a host.
    """

    def __init__(self, connections_per_host: int = 64) -> None:
        self._connections_per_host = connections_per_host
        self._built: Client | None = None

    def _client(self) -> Client:
        """Build the client at its first request: its thread and certificates take 4 MB, and most processes send nothing."""
        if self._built is None:
            self._built = (
                ClientBuilder()
                .follow_redirects(enable=False)
                .referer(enable=False)
                .no_proxy()
                .gzip(enable=False)
                .brotli(enable=False)
                .zstd(enable=False)
                .deflate(enable=False)
                .user_agent(USER_AGENT)
                .default_headers({"accept-encoding": "identity"})
                .pool_max_idle_per_host(self._connections_per_host)
                .pool_idle_timeout(timedelta(seconds=IDLE_SECONDS))
                .build()
            )
        return self._built

    async def send(self, request: Request) -> Answer:
        """Send a request and wait for its answer; see the port."""
        client = self._client()
        started = time.perf_counter()
        try:
            sending = (
                client.request(request.method, request.url)
                .headers(request.headers)
                .body_bytes(request.body)
                .timeout(timedelta(seconds=request.timeout_seconds))
                .streamed_read_buffer_limit(BODY_BYTES)
                .build_streamed()
            )
            async with sending as answer:
                body = await answer.body_reader.read(BODY_BYTES)
                status = answer.status
                headers = {name.lower(): value for name, value in answer.headers.items()}
        except (PyreqwestError, ValueError) as error:
            return Answer(0, {}, b"", _name(error), _milliseconds(started))
        return Answer(status, headers, bytes(body) if body is not None else b"", "", _milliseconds(started))

    async def close(self) -> None:
        """Close all connections."""
        if self._built is not None:
            await self._built.close()


def _milliseconds(started: float) -> float:
    return (time.perf_counter() - started) * 1000


def _name(error: PyreqwestError | ValueError) -> str:
    if isinstance(error, RequestTimeoutError):
        return "timeout"
    if isinstance(error, ValueError | BuilderError):
        return "invalid_request"
    details = getattr(error, "details", None) or {}
    causes = " ".join(cause["message"] for cause in details.get("causes") or ()).lower()
    return next((name for words, name in _CAUSES if words in causes), "network_error")
