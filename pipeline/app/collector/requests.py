"""One request after the other: read its body within bounds, let `pipeline.ingest` decide, store, answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

from pipeline.app.collector.bodies import Bodies, Incoming
from pipeline.app.collector.checking import Checking
from pipeline.app.collector.counts import Counts
from pipeline.app.collector.hooks import Hooks
from pipeline.app.collector.limits import Guesses, Limits, SourceRates
from pipeline.app.collector.outbox import Outbox
from pipeline.app.collector.routes import Reply, RouteRequest, Routes, Stream, find, methods
from pipeline.app.collector.tokens import Tokens
from pipeline.ingest import ENDPOINTS, Accepted, Endpoint, Refused, Request, WriteKeys, answers, collect, crashed, refusals
from pipeline.ingest.answers import Answer, asked_for
from pipeline.ingest.collect import RequestHeaders
from pipeline.ingest.forwarded import client_address
from pipeline.ingest.oauth import NO_TOKEN
from pipeline.ingest.webhook import Hook
from pipeline.ingest.webhook.delivery import Delivery
from pipeline.model.addresses import Network
from pipeline.model.workspace import Workspace
from pipeline.ports.clock import Clock
from pipeline.sources import WEBHOOK_PATH

_log = logging.getLogger(__name__)


class SentHeaders(RequestHeaders, Protocol):
    """The headers of a request as granian gives them (RSGI 1.6)."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Give all names and values in their order, a repeated name more than once."""


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
    def headers(self) -> SentHeaders:
        """Header values by lower-case name."""


class Transport(Protocol):
    """The sending half of a streamed answer (RSGI 1.6)."""

    async def send_bytes(self, data: bytes) -> None:
        """Send a piece."""


class Exchange(Incoming, Protocol):
    """The connection of one request as granian gives it (RSGI 1.6)."""

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
        keys: Gives the write keys as they are now.
        clock: Clock.
        routes: Mounted routes.
        nonce: A text that no other process has.
        tokens: Issues and reads access tokens, where there is one.
        checking: Runs validate for clients that ask for it, where it is at hand.
        trusted_proxies: Networks of the proxies whose X-Forwarded-For is believed.
        hook: Gives the webhook source with an id as it is now, or None.
        limits: The bounds of who sends how much; this process's own unless given.

    Attributes:
        bodies: Reads bodies; the caller has it end those that are late.
    """

    def __init__(  # noqa: PLR0913 (what it works on, passed one by one)
        self,
        *,
        outbox: Outbox,
        counts: Counts,
        workspace: Callable[[], Workspace],
        keys: Callable[[], WriteKeys],
        clock: Clock,
        routes: Routes,
        nonce: str,
        tokens: Tokens | None = None,
        checking: Checking | None = None,
        trusted_proxies: Sequence[Network] = (),
        hook: Callable[[str], Hook | None] = lambda _source: None,
        limits: Limits | None = None,
    ) -> None:
        self._outbox = outbox
        self._counts = counts
        self._workspace = workspace
        self._keys = keys
        self._clock = clock
        self._routes = routes
        self._nonce = nonce
        self._tokens = tokens
        self._checking = checking
        self._trusted_proxies = tuple(trusted_proxies)
        self._requests = 0
        self._rates, self._guesses = Limits(SourceRates(), Guesses()) if limits is None else limits
        self._streams: set[asyncio.Task[None]] = set()
        self._hooks = Hooks(hook=hook, workspace=workspace, outbox=outbox, counts=counts, rates=self._rates, guesses=self._guesses)
        self.bodies = Bodies(outbox, clock)

    async def __rsgi__(self, scope: Scope, exchange: Exchange) -> None:
        """Handle one request; called by granian."""
        endpoint = ENDPOINTS.get(scope.path)
        if endpoint is None:
            await self._other(scope, exchange)
            return
        headers = scope.headers
        origin = headers.get("origin")
        if scope.method == endpoint.method:
            answer = await self._answer(endpoint, scope, headers, origin, exchange)
        elif scope.method == "OPTIONS":
            answer = answers.preflight(origin, headers.get("access-control-request-headers"))
        else:
            answer = answers.refused(refusals.METHOD_NOT_ALLOWED, origin, allow=f"{endpoint.method}, OPTIONS")
        _respond(exchange, answer)

    async def _answer(self, endpoint: Endpoint, scope: Scope, headers: SentHeaders, origin: str | None, exchange: Exchange) -> Answer:
        body = await self.bodies.read(headers, exchange)
        began = self._clock.monotonic()
        if endpoint.takes == "token" and not isinstance(body, Refused):
            answer = self._issue(headers, body)
        else:
            taken = body if isinstance(body, Refused) else await self._take(endpoint, scope, headers, origin, body, began)
            refusal = taken if isinstance(taken, Refused) else None
            if refusal is not None:
                self._counts.refusal(endpoint.name, refusal)
            if endpoint.takes == "pixel":
                answer = answers.image(refusal)
            elif refusal is not None:
                answer = answers.refused(refusal, origin)
            else:
                answer = answers.stored(origin, None if taken is None or isinstance(taken, Refused) else taken.results)
        self._counts.request(endpoint.name, answer.status, self._clock.monotonic() - began)
        return answer

    def _issue(self, headers: RequestHeaders, body: bytes) -> Answer:
        if self._tokens is None:
            return answers.refused(refusals.NOT_FOUND, None)
        return self._tokens.issue(body, headers.get("host") or "", self._clock.now_ms() // 1000)

    async def _take(
        self, endpoint: Endpoint, scope: Scope, headers: SentHeaders, origin: str | None, body: bytes, now: float
    ) -> Accepted | Refused | None:
        """Decide about a request and store what is to be stored; what was accepted once it is."""
        if endpoint.takes == "nothing":
            return None
        self._requests += 1
        workspace = self._workspace()
        request = self._request(endpoint, scope, headers, origin, body, workspace)
        if isinstance(request, Refused):
            return request
        verdict = self._decide(request, workspace)
        if isinstance(verdict, Refused):
            return (self._guesses.wait(request.ip, now) or verdict) if verdict.status == 401 else verdict
        if limited := self._rates.wait(verdict.counts, workspace, now):
            return limited
        if verdict.outputs and (unstored := await self._outbox.store(verdict.outputs, verdict.size)):
            return unstored
        self._counts.accepted(verdict)
        attempt = headers.get("x-retry-count")
        if attempt is None and request.origin is not None:
            attempt = headers.get("rsa-retry-attempt")
        if attempt is not None:
            self._counts.retry(verdict, attempt)
        return verdict

    def _request(
        self, endpoint: Endpoint, scope: Scope, headers: SentHeaders, origin: str | None, body: bytes, workspace: Workspace
    ) -> Request | Refused:
        now_ms = self._clock.now_ms()
        ip = self._client(scope, headers)
        authorization = headers.get("authorization")
        token = NO_TOKEN if self._tokens is None else self._tokens.of_header(authorization, now_ms // 1000)
        results, check = False, None
        query = scope.query_string
        if query and ("acknowledge" in query or "results" in query) and endpoint.takes != "pixel":  # whose query is its event
            wanted = asked_for(query)
            if isinstance(wanted, Refused):
                return wanted
            results = wanted.results
            if wanted.validated and self._checking is not None:
                check = self._checking.check(workspace, now_ms)
        unique = f"{self._nonce}/{self._requests}"
        return Request(endpoint, headers, query, body, ip, now_ms, unique, origin, authorization, token, results, check)

    def _client(self, scope: Scope, headers: SentHeaders) -> str:
        """Give the address of the client, behind the proxies that are trusted."""
        ip = _address(scope.client)
        if not self._trusted_proxies:
            return ip
        return client_address(ip, [value for name, value in headers.items() if name == "x-forwarded-for"], self._trusted_proxies)

    def _decide(self, request: Request, workspace: Workspace) -> Accepted | Refused:
        try:
            return collect(request, self._keys(), workspace)
        except Exception:  # noqa: BLE001 (whatever it is, a client that sends it again for hours is worse)
            _log.exception("A request could not be judged; its body is kept in dead letters as crashed.")
            return crashed(request, workspace)

    async def _delivery(self, scope: Scope, exchange: Exchange) -> Answer:
        """Answer a delivery of a webhook source."""
        if scope.method != "POST":
            return answers.refused(refusals.METHOD_NOT_ALLOWED, None, allow="POST")
        headers = scope.headers
        body = await self.bodies.read(headers, exchange)
        began = self._clock.monotonic()
        if isinstance(body, Refused):
            refusal: Refused | None = body
        else:
            source = scope.path.removeprefix(WEBHOOK_PATH).removesuffix("/")
            delivery = Delivery(dict(headers.items()), body, self._clock.now_ms())
            refusal = await self._hooks.take(source, delivery, self._client(scope, headers), began)
        if refusal is not None:
            self._counts.refusal("webhook", refusal)
        answer = answers.stored(None) if refusal is None else answers.refused(refusal, None)
        self._counts.request("webhook", answer.status, self._clock.monotonic() - began)
        return answer

    async def _other(self, scope: Scope, exchange: Exchange) -> None:
        if scope.path.startswith(WEBHOOK_PATH):
            _respond(exchange, await self._delivery(scope, exchange))
            return
        # HEAD is GET without the body (RFC 9110 §9.3.2), which the server leaves out.
        handler = find(self._routes, "GET" if scope.method == "HEAD" else scope.method, scope.path)
        if handler is None:
            _respond(exchange, self._unserved(scope))
            return
        body = await self.bodies.read(scope.headers, exchange)
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
        elif scope.method == "HEAD":
            await _closed(reply.chunks)
            _respond(exchange, Answer(200, (("content-type", reply.content_type), *reply.headers), b""))
        else:
            await self._stream(reply, exchange)

    def _unserved(self, scope: Scope) -> Answer:
        """Answer for a path and method that no route serves: 405 where another method is served, else 404."""
        origin = scope.headers.get("origin")
        served = methods(self._routes, scope.path)
        if not served:
            return answers.refused(refusals.NOT_FOUND, origin)
        return answers.refused(refusals.METHOD_NOT_ALLOWED, origin, allow=", ".join(served))

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


async def _departure(exchange: Exchange) -> None:
    await exchange.client_disconnect()  # in a task of its own: granian's future is not quite asyncio's


async def _pump(chunks: AsyncIterator[bytes], transport: Transport) -> None:
    try:
        async for chunk in chunks:
            await transport.send_bytes(chunk)
    finally:
        await _closed(chunks)


async def _closed(chunks: AsyncIterator[bytes]) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()


def _respond(exchange: Exchange, answer: Answer) -> None:
    try:  # noqa: SIM105 (a context manager costs half a microsecond for each request)
        exchange.response_bytes(answer.status, answer.headers, answer.body)
    except RuntimeError:  # RSGIProtocolClosed: the client has gone
        pass


def _address(client: str) -> str:
    return client.rpartition(":")[0].strip("[]")
