"""One HTTP/1.1 connection to a tool: a request at a time, its answer bounded in bytes, whatever the other side does."""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import Final

import httptools

from pipeline.runtime.http.deadlines import Deadlines

BODY_BYTES: Final = 64 * 1024
"""How much of an answer's body is read; the rest is never asked for."""
HEAD_BYTES: Final = 64 * 1024
"""Longest head of an answer, everything before its body counted together."""
_KNOWN_NAME_BYTES: Final = 64
"""Longest name of a header that is remembered: names are the tool's, and their memory is bounded."""


class ConnectionFailed(Exception):
    """No answer; the message is the registered name of the error.

    Attributes:
        untouched: Whether the other side had sent nothing of an answer.
    """

    def __init__(self, name: str, *, untouched: bool = False) -> None:
        super().__init__(name)
        self.untouched = untouched


class Reply:
    """An answer as it comes in.

    Attributes:
        status: HTTP status.
        headers: Names in lower case, and values; of a repeated one the last.
        body: The first bytes of the body.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""


class Connection(asyncio.Protocol):
    """Writes a request, parses its answer and says whether it can be used again.

    Args:
        loop: Its loop.
        deadlines: Ends what takes too long.

    Attributes:
        reusable: Whether another request can be sent.
        idle_since: When it was put aside, monotonic seconds.
    """

    __slots__ = ("_body", "_deadlines", "_headers_done", "_loop", "_parser", "_received", "_reply", "_transport", "_waiter", "idle_since", "reusable")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self._loop = loop
        self._deadlines = deadlines
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Reply] | None = None
        self._reply = Reply()
        self._body = bytearray()
        self._received = 0
        self._headers_done = False
        self._parser = httptools.HttpResponseParser(self)
        self.reusable = True
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = transport  # type: ignore[assignment]  # a stream's transport can be written to

    def ask(self, data: bytes, seconds: float) -> asyncio.Future[Reply]:
        """Write a request.

        Args:
            data: The whole request.
            seconds: Longest time until the answer is complete.

        Returns:
            Its answer, or a ConnectionFailed.
        """
        self._body.clear()
        self._received = 0
        self._headers_done = False
        waiter: asyncio.Future[Reply] = self._loop.create_future()
        self._waiter = waiter
        self._deadlines.start(self, seconds)
        assert self._transport is not None  # noqa: S101 (made before it is used)
        self._transport.write(data)
        return waiter

    def expire(self) -> None:
        """Wait for the answer no longer."""
        self._fail("timeout")

    def close(self) -> None:
        """Close at once."""
        self.reusable = False
        self._deadlines.stop(self)
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse."""
        if self._waiter is None or self._waiter.done():
            self.close()  # an answer that nobody asked for
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("answer_not_http")
        except httptools.HttpParserError:
            # An error in a callback of ours comes out as one of the parser's, so none of them raises.
            self._fail("answer_not_http")
        if not self._headers_done and self._received > HEAD_BYTES:
            self._fail("answer_head_too_large")

    def on_status(self, _status: bytes) -> None:
        """Begin an answer; part of the parser's interface."""
        if self._waiter is None or self._waiter.done():
            self.reusable = False  # a second answer to one request: the next request must not take it for its own
        self._reply.status = self._parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; part of the parser's interface."""
        text = _known_name(name) if len(name) <= _KNOWN_NAME_BYTES else _name_text(name)
        self._reply.headers[text] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note that the body begins; part of the parser's interface."""
        self._headers_done = True
        self._reply.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Keep what may be kept of the body; part of the parser's interface."""
        if len(self._body) < BODY_BYTES:
            self._body += body[: BODY_BYTES - len(self._body)]
            if len(self._body) == BODY_BYTES:
                self.reusable = False
                self._complete()
                self.close()

    def on_message_complete(self) -> None:
        """End the answer; part of the parser's interface."""
        if 100 <= self._reply.status < 200:  # an interim answer: the real one follows
            self._reply = Reply()
            self._headers_done = False
            return
        if not self._parser.should_keep_alive():
            self.reusable = False
        self._complete()

    def eof_received(self) -> None:
        """Take an answer without length as complete."""
        headers = self._reply.headers
        if self._headers_done and "content-length" not in headers and "chunked" not in headers.get("transfer-encoding", ""):
            self.reusable = False
            self._complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Say how it ended."""
        self.reusable = False
        self._fail("connection_closed" if exc is None else _name(exc))

    def _complete(self) -> None:
        self._deadlines.stop(self)
        if self._waiter is not None and not self._waiter.done():
            self._reply.body = bytes(self._body)
            self._waiter.set_result(self._reply)
            self._reply = Reply()  # whatever else is parsed is no part of that answer

    def _fail(self, name: str) -> None:
        self.reusable = False
        self._deadlines.stop(self)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionFailed(name, untouched=not self._received and name != "timeout"))
        if self._transport is not None:
            self._transport.abort()


def _name_text(name: bytes) -> str:
    return name.decode("latin-1").lower()


_known_name = lru_cache(maxsize=1024)(_name_text)


def _name(error: Exception) -> str:
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return "connection_reset"
    return "tls" if "ssl" in type(error).__name__.lower() else "network_error"
