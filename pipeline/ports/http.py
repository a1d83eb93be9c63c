"""Requests to the tools of our users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol


class Request(NamedTuple):
    """A request as it is sent, secrets filled in; never logged.

    Attributes:
        method: HTTP method.
        url: Absolute URL.
        headers: Header names and values.
        body: Body bytes.
        timeout_seconds: Deadline for the whole exchange.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_seconds: float = 10.0


class Answer(NamedTuple):
    """What came back.

    Attributes:
        status: HTTP status; 0 where there was none (network error, deadline).
        headers: Header names in lower case, and values.
        body: The first bytes of the body, at most 64 KiB.
        error: Name of the network error where status is 0 (`timeout`, `connection_refused`, …), else empty.
        latency_ms: From the first byte sent to the end of the answer, in milliseconds.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    error: str
    latency_ms: float


class HttpClient(Protocol):
    """Sends one request; never raises for what the other side does, never follows a redirect."""

    async def send(self, request: Request) -> Answer:
        """Send a request and wait for its answer, at most as long as its deadline.

        Args:
            request: The request.

        Returns:
            The answer; status 0 with an error's name where none came.
        """
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...
