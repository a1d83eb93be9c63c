"""One request after the other: read its body within bounds, let `pipeline.ingest` decide, store, answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final, Protocol

from pipeline.app.collector.counts import Counts
from pipeline.app.collector.outbox import Outbox
from pipeline.app.collector.routes import Reply, RouteRequest, Routes, Stream, find
from pipeline.ingest import ENDPOINTS, Accepted, Endpoint, Refused, Request, answers, collect, crashed, refusals
from pipeline.ingest.answers import Answer
from pipeline.ingest.collect import RequestHeaders
from pipeline.model import limits
from pipeline.model.workspace import DEMO_WRITE_KEY, Workspace
from pipeline.ports.clock import Clock

_log = logging.getLogger(__name__)

_DISCARD_BYTES: Final = 64 * 1024 * 1024
"""How much of a body that is too large is read and thrown away, so that the client sees the answer and not a broken connection."""
_BODY_SECONDS: Final = 60.0
"""How long a body of unknown or considerable size may take to arrive."""
_SMALL_BYTES: Final = 64 * 1024
"""Bodies of a declared size up to this are read in one go, whoever else is sending."""
_MEDIUM_BYTES: Final = 1024 * 1024
"""Bodies of a declared size up to this, as batches of SDKs are, are read in one go too, while `_ARRIVING_BYTES` are not used up."""
_ARRIVING_BYTES: Final = 64 * 1024 * 1024
"""Most bytes that medium bodies may take while they arrive; beyond it they are read piece by piece, held against the outbox's bound."""


class Scope(Protocol):
    """A request's head as granian gives it (RSGI 1.6)."""

    @property
    def method(self) -> str:
        """HTTP method."""

    @property
    def path(self) -> str:
        """Path."""

    @property
    def query_string(self) -> str:
        """Query string without question mark."""

    @property
    def client(self) -> str:
        """Address and port of the client."""

    @property
    def headers(self) -> RequestHeaders:
        """Header values by lower-case name."""


class Transport(Protocol):
    """The sending half of a streamed answer (RSGI 1.6)."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a piece."""


class Exchange(Protocol):
    """The connection of one request as granian gives it (RSGI 1.6)."""

    async def __call__(self) -> bytes:
        """Read the whole body."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the body in pieces."""

    async def client_disconnect(self) -> None:
        """Wait until the client has gone."""

    def response_bytes(self, status: int, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Answer."""

    def response_stream(self, status: int, headers: Sequence[tuple[str, str]]) -> Transport:
        """Begin a streamed answer."""


class Application:
    """The RSGI application: every request of the collector's port.

    Args:
        outbox: Where records are stored.
        counts: Where requests and events are counted.
        workspace: Gives the workspace as it is now.
        keys: Gives the source ids by write key as they are now.
        clock: Clock.
        routes: Mounted routes.
        loopback: Whether only this machine can connect; elsewhere the demo write key is unknown.
        nonce: A text that no other process has.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        counts: Counts,
        workspace: Callable[[], Workspace],
        keys: Callable[[], Mapping[str, str]],
        clock: Clock,
        routes: Routes,
        loopback: bool,
        nonce: str,
    ) -> None:
        self._outbox = outbox
        self._counts = counts
        self._workspace = workspace
        self._keys = keys
        self._clock = clock
        self._routes = routes
        self._loopback = loopback
        self._nonce = nonce
        self._requests = 0
        self._arriving_bytes = 0
        self._streams: set[asyncio.Task[None]] = set()

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Handle one request; called by granian."""
        endpoint = ENDPOINTS.get(scope.path)
        if endpoint is None:
            await self._other(scope, exchange)
            return
        headers = scope.headers
        origin = headers.get("origin")
        if scope.method == "POST":
            answer = await self._post(endpoint, scope, headers, origin, exchange)
        elif scope.method == "OPTIONS":
            answer = answers.preflight(origin, headers.get("access-control-request-headers"))
        else:
            answer = answers.refused(refusals.METHOD_NOT_ALLOWED, origin)
        _respond(exchange, answer)

    async def _post(self, endpoint: Endpoint, scope: Scope, headers: RequestHeaders, origin: str | None, exchange: Exchange) -> Answer:
        body = await self._read(headers, exchange)
        began = self._clock.monotonic()
        refusal = body if isinstance(body, Refused) else await self._take(endpoint, scope, headers, body)
        answer = answers.stored(origin) if refusal is None else answers.refused(refusal, origin)
        if refusal is not None and refusal.source:
            self._counts.events({(refusal.source, "refused"): 1})
        self._counts.request(endpoint.name, answer.status, self._clock.monotonic() - began)
        return answer

    async def _take(self, endpoint: Endpoint, scope: Scope, headers: RequestHeaders, body: bytes) -> Refused | None:
        """Decide about a request and store what is to be stored; None once it is."""
        if endpoint.takes == "nothing":
            return None
        self._requests += 1
        unique = f"{self._nonce}/{self._requests}"
        request = Request(endpoint, headers, scope.query_string, body, _address(scope.client), self._clock.now_ms(), unique)
        verdict = self._decide(request)
        if isinstance(verdict, Refused):
            return verdict
        if verdict.outputs:
            if not self._outbox.has_room(verdict.size):
                return refusals.OVERLOADED
            if not await self._outbox.put(verdict.outputs, verdict.size):
                return refusals.UNAVAILABLE
        self._counts.events(verdict.counts)
        if headers.get("x-retry-count") is not None:
            for source, _ in verdict.counts:
                self._counts.retry(source)
                break
        return None

    def _decide(self, request: Request) -> Accepted | Refused:
        workspace = self._workspace()
        keys = self._keys()
        if not self._loopback and DEMO_WRITE_KEY in keys:
            keys = {key: source for key, source in keys.items() if key != DEMO_WRITE_KEY}
        try:
            return collect(request, keys, workspace)
        except Exception:  # noqa: BLE001 (whatever it is, a client that sends it again for hours is worse)
            _log.exception("A request could not be judged; its body is kept in dead letters as crashed.")
            return crashed(request, workspace)

    async def _read(self, headers: RequestHeaders, exchange: Exchange) -> bytes | Refused:
        """Read a body of at most 8 MiB; of a larger one, read and throw away what the client sends, and refuse it."""
        length = headers.get("content-length")
        declared = int(length) if length is not None else 0  # the server lets only digits through
        if length is not None and declared <= _SMALL_BYTES:
            return await exchange() if self._outbox.has_room(declared) else refusals.OVERLOADED
        if (
            length is not None
            and declared <= _MEDIUM_BYTES
            and self._arriving_bytes + declared <= _ARRIVING_BYTES
            and self._outbox.has_room(declared)
        ):
            return await self._read_at_once(declared, exchange)
        return await self._read_in_pieces(declared, exchange)

    async def _read_at_once(self, declared: int, exchange: Exchange) -> bytes | Refused:
        self._arriving_bytes += declared
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                return await exchange()
        except TimeoutError:
            return refusals.TOO_SLOW
        finally:
            self._arriving_bytes -= declared

    async def _read_in_pieces(self, declared: int, exchange: Exchange) -> bytes | Refused:
        reading = _Reading(self._outbox, declared)
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                async for chunk in exchange:
                    if not reading.take(chunk):
                        break
        except TimeoutError:
            return refusals.TOO_SLOW
        finally:
            reading.release()
        return reading.refusal or b"".join(reading.chunks)

    async def _other(self, scope: Scope, exchange: Exchange) -> None:
        handler = find(self._routes, scope.method, scope.path)
        if handler is None:
            _respond(exchange, answers.refused(refusals.NOT_FOUND, scope.headers.get("origin")))
            return
        body = await self._read(scope.headers, exchange)
        if isinstance(body, Refused):
            _respond(exchange, answers.refused(body, None))
            return
        try:
            reply = await handler(RouteRequest(scope.method, scope.path, scope.query_string, scope.headers, body))
        except Exception:  # noqa: BLE001 (a page that fails must not take the collector with it)
            _log.exception("The page %s failed.", scope.path)
            _respond(exchange, answers.refused(refusals.FAILED, None))
            return
        if isinstance(reply, Reply):
            _respond(exchange, Answer(reply.status, (("content-type", reply.content_type), *reply.headers), reply.body))
        else:
            await self._stream(reply, exchange)

    async def _stream(self, stream: Stream, exchange: Exchange) -> None:
        transport = exchange.response_stream(200, [("content-type", stream.content_type), *stream.headers])
        sending = asyncio.create_task(_pump(stream.chunks, transport))
        gone = asyncio.create_task(_departure(exchange))
        self._streams.add(sending)
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams.discard(sending)
            sending.cancel()
            gone.cancel()
            ended = await asyncio.gather(sending, gone, return_exceptions=True)
            if isinstance(ended[0], Exception) and not isinstance(ended[0], RuntimeError):  # RSGI's own errors mean that the client has gone
                _log.error("A stream failed.", exc_info=ended[0])

    def end_streams(self) -> None:
        """End what would never end by itself, so that the server can stop."""
        for sending in self._streams:
            sending.cancel()


class _Reading:
    """A body on its way in: what is kept of it is held against the outbox's bound."""

    def __init__(self, outbox: Outbox, declared: int) -> None:
        self._outbox = outbox
        self._size = 0
        self.chunks: list[bytes] = []
        self.refusal: Refused | None = None
        if declared > limits.REQUEST_BYTES:
            self.refusal = refusals.TOO_LARGE
        elif not outbox.has_room(declared):
            self.refusal = refusals.OVERLOADED

    def take(self, chunk: bytes) -> bool:
        """Keep a piece, or throw it away; False once the client has sent more than anyone will wait for."""
        if self.refusal is None and self._size + len(chunk) > limits.REQUEST_BYTES:
            self.release()
            self.refusal = refusals.TOO_LARGE
            self.chunks.clear()
        self._size += len(chunk)
        if self.refusal is not None:
            return self._size <= _DISCARD_BYTES
        self._outbox.held_bytes += len(chunk)
        self.chunks.append(chunk)
        return True

    def release(self) -> None:
        """Hold nothing any more; the pieces stay readable."""
        if self.refusal is None:
            self._outbox.held_bytes -= self._size


async def _departure(exchange: Exchange) -> None:
    await exchange.client_disconnect()  # in a task of its own: granian's future is not quite asyncio's


async def _pump(chunks: AsyncIterator[bytes], transport: Transport) -> None:
    try:
        async for chunk in chunks:
            await transport.send_bytes(chunk)
    finally:
        close = getattr(chunks, "aclose", None)
        if close is not None:
            await close()


def _respond(exchange: Exchange, answer: Answer) -> None:
    with contextlib.suppress(RuntimeError):  # RSGIProtocolClosed: the client has gone
        exchange.response_bytes(answer.status, answer.headers, answer.body)


def _address(client: str) -> str:
    return client.rpartition(":")[0].strip("[]")
