"""An HTTP client that reaches no network: answers come from a function. For drivers and tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from pipeline.ports.http import Answer, Request

BODY_BYTES: Final = 64 * 1024

Answering = Callable[[Request], Answer | Awaitable[Answer]]


def an_answer(status: int = 200, body: bytes = b"", headers: dict[str, str] | None = None, error: str = "", latency_ms: float = 1.0) -> Answer:
    """Make an answer.

    Args:
        status: HTTP status; 0 for a network error.
        body: Body.
        headers: Headers; names in any case.
        error: Name of the network error.
        latency_ms: How long it took.

    Returns:
        The answer as a client gives it: names of headers in lower case, body cut.
    """
    return Answer(status, {name.lower(): value for name, value in (headers or {}).items()}, body[:BODY_BYTES], error, latency_ms)


class MemoryHttpClient:
    """Notes each request and gives the answer that a function makes.

    Args:
        answering: Makes an answer; by default every request is answered with 200. It may be a coroutine function.

    Attributes:
        requests: What was sent, in order.
        most_at_once: Most requests that were under way at the same time.
    """

    def __init__(self, answering: Answering = lambda _request: an_answer()) -> None:
        self.answering = answering
        self.requests: list[Request] = []
        self.most_at_once = 0
        self._under_way = 0

    async def send(self, request: Request) -> Answer:
        """Note a request and answer it; see the port."""
        self.requests.append(request)
        if not request.url.startswith(("http://", "https://")):
            return an_answer(0, error="invalid_request")
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            answer = self.answering(request)
            return answer if isinstance(answer, Answer) else await answer
        finally:
            self._under_way -= 1

    async def close(self) -> None:
        """Do nothing: there is no connection."""
