"""One request after the other: let `pipeline.ingest` decide, give away what is to be stored, answer once it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Final, Protocol

from pipeline.app.collector.checking import Checking
from pipeline.app.collector.counts import Counts
from pipeline.app.collector.hooks import Hooks
from pipeline.app.collector.http import Head
from pipeline.app.collector.limits import Guesses, Limits, SourceRates
from pipeline.app.collector.outbox import Outbox
from pipeline.app.collector.routes import Reply, RouteRequest, Routes, Stream, find, methods
from pipeline.app.collector.tokens import Tokens
from pipeline.ingest import ENDPOINTS, Accepted, Endpoint, Refused, Request, WriteKeys, answers, collect_in_turns, crashed, refusals
from pipeline.ingest.answers import Answer, asked_for
from pipeline.ingest.collect import RequestHeaders, Turns
from pipeline.ingest.forwarded import client_address
from pipeline.ingest.oauth import NO_TOKEN
from pipeline.ingest.webhook import Hook
from pipeline.ingest.webhook.delivery import Delivery
from pipeline.model.addresses import Network
from pipeline.model.workspace import Workspace
from pipeline.ports.clock import Clock
from pipeline.sources import WEBHOOK_PATH

_log = logging.getLogger(__name__)

SMALL_BYTES: Final = 4 * 1024
"""A body up to this is decided about at once: as many as there are connections to bring them take some milliseconds."""
TURN_BYTES: Final = 256 * 1024
"""Bytes of larger bodies that are decided about in one turn of the loop, about 20 ms of work; what comes beyond waits for turns of its own."""


class Exchange(Protocol):
    """Where the answer to a request goes."""

    def respond(self, answer: Answer) -> None:
        """Answer."""

    def begin_stream(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Begin an answer in pieces."""

    async def send(self, piece: bytes) -> None:
        """Send a piece; a ConnectionError says that the client has gone."""

    def end_stream(self) -> None:
        """End an answer in pieces."""

    async def gone(self) -> None:
        """Wait until the client has gone."""


class Application:
    """Answers every request of the collector's port.

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
        self._tasks: set[asyncio.Task[None]] = set()
        self._deciding = asyncio.Lock()
        self._turn_bytes = 0
        self._streams: set[asyncio.Task[None]] = set()
        self._hooks = Hooks(hook=hook, workspace=workspace, outbox=outbox, counts=counts, rates=self._rates, guesses=self._guesses)

    def handle(self, head: Head, body: bytes | Refused, exchange: Exchange) -> None:
        """Answer one request, now or later.

        Args:
            head: Its head.
            body: Its body, or why there is none.
            exchange: Where the answer goes.
        """
        endpoint = ENDPOINTS.get(head.path)
        if endpoint is None:
            self._spawn(self._other(head, body, exchange), exchange)
        elif head.method == endpoint.method:
            self._take(_Taking(self._counts, self._clock, endpoint, head, exchange), body)
        elif head.method == "OPTIONS":
            exchange.respond(answers.preflight(head.headers.get("origin"), head.headers.get("access-control-request-headers")))
        else:
            origin = head.headers.get("origin")
            exchange.respond(answers.refused(refusals.METHOD_NOT_ALLOWED, origin, allow=f"{endpoint.method}, OPTIONS"))

    def _spawn(self, work: Coroutine[None, None, None], exchange: Exchange) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, exchange))

    def _ended(self, exchange: Exchange, task: asyncio.Task[None]) -> None:
        """Answer a request whose work has failed: the answer is the last thing that such work does, so that there was none yet."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("A request failed.", exc_info=error)
            exchange.respond(answers.refused(refusals.FAILED, None))

    def _issue(self, headers: RequestHeaders, body: bytes) -> Answer:
        if self._tokens is None:
            return answers.refused(refusals.NOT_FOUND, None)
        return self._tokens.issue(body, headers.get("host") or "", self._clock.now_ms() // 1000)

    def _take(self, taking: _Taking, body: bytes | Refused) -> None:
        """Decide about a request, and give away what is to be stored."""
        endpoint = taking.endpoint
        if isinstance(body, Refused):
            taking.refuse(body)
        elif endpoint.takes == "token":
            taking.answer(self._issue(taking.head.headers, body))
        elif endpoint.takes == "nothing":
            taking.answer(answers.stored(taking.origin))
        else:
            self._requests += 1
            workspace = self._workspace()
            request = self._request(taking, body, workspace)
            if isinstance(request, Refused):
                taking.refuse(request)
                return
            turns = collect_in_turns(request, self._keys(), workspace)
            verdict = self._turn(turns, request, workspace) if self._is_in_turn(len(body)) else None
            if verdict is None:
                self._spawn(self._go_on(taking, turns, request, workspace), taking.exchange)
            else:
                self._store(taking, verdict, request.ip, workspace)

    def _is_in_turn(self, size: int) -> bool:
        """Say whether a body may still be decided about in this turn of the loop, in which others came before it."""
        if size <= SMALL_BYTES:
            return True
        if self._turn_bytes == 0:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._turn_bytes += size
        return self._turn_bytes <= TURN_BYTES

    def _next_turn(self) -> None:
        self._turn_bytes = 0

    async def _go_on(self, taking: _Taking, turns: Turns, request: Request, workspace: Workspace) -> None:
        """Decide about a large body, or one of many that came at once, one at a time, while others have their turns."""
        size = len(request.body)
        if not self._outbox.has_room(size):
            taking.refuse(refusals.OVERLOADED)
            return
        self._outbox.held_bytes += size
        try:
            async with self._deciding:
                await asyncio.sleep(0)  # who finds the lock free would go on in the turn of the one before
                while (verdict := self._turn(turns, request, workspace)) is None:  # noqa: ASYNC110 (it is the work, not a wait)
                    await asyncio.sleep(0)
        finally:
            self._outbox.held_bytes -= size
        self._store(taking, verdict, request.ip, workspace)

    def _store(self, taking: _Taking, verdict: Accepted | Refused, ip: str, workspace: Workspace) -> None:
        if isinstance(verdict, Refused):
            taking.refuse((self._guesses.wait(ip, taking.began) or verdict) if verdict.status == 401 else verdict)
        elif limited := self._rates.wait(verdict.counts, workspace, taking.began):
            taking.refuse(limited)
        elif not self._outbox.has_room(verdict.size):
            taking.refuse(refusals.OVERLOADED)
        else:
            taking.accept(verdict)
            if verdict.outputs:
                self._outbox.give(verdict.outputs, verdict.size, taking.stored)
            else:
                taking.stored(stored=True)

    def _request(self, taking: _Taking, body: bytes, workspace: Workspace) -> Request | Refused:
        head = taking.head
        headers, query = head.headers, head.query
        now_ms = self._clock.now_ms()
        ip = self._client(head)
        authorization = headers.get("authorization")
        token = NO_TOKEN if self._tokens is None else self._tokens.of_header(authorization, now_ms // 1000)
        results, check = False, None
        if query and ("acknowledge" in query or "results" in query) and taking.endpoint.takes != "pixel":  # whose query is its event
            wanted = asked_for(query)
            if isinstance(wanted, Refused):
                return wanted
            results = wanted.results
            if wanted.validated and self._checking is not None:
                check = self._checking.check(workspace, now_ms)
        unique = f"{self._nonce}/{self._requests}"
        return Request(taking.endpoint, headers, query, body, ip, now_ms, unique, taking.origin, authorization, token, results, check)

    def _client(self, head: Head) -> str:
        """Give the address of the client, behind the proxies that are trusted."""
        if not self._trusted_proxies:
            return head.client
        forwarded = head.headers.get("x-forwarded-for")
        return client_address(head.client, [] if forwarded is None else [forwarded], self._trusted_proxies)

    def _turn(self, turns: Turns, request: Request, workspace: Workspace) -> Accepted | Refused | None:
        """Go on deciding, for one turn; None while there is no verdict."""
        try:
            next(turns)
        except StopIteration as decided:
            verdict: Accepted | Refused = decided.value
            return verdict
        except Exception:  # noqa: BLE001 (whatever it is, a client that sends it again for hours is worse)
            _log.exception("A request could not be judged; its body is kept in dead letters as crashed.")
            return crashed(request, workspace)
        return None

    async def _delivery(self, head: Head, body: bytes | Refused) -> Answer:
        """Answer a delivery of a webhook source."""
        if head.method != "POST":
            return answers.refused(refusals.METHOD_NOT_ALLOWED, None, allow="POST")
        began = self._clock.monotonic()
        if isinstance(body, Refused):
            refusal: Refused | None = body
        else:
            source = head.path.removeprefix(WEBHOOK_PATH).removesuffix("/")
            delivery = Delivery(head.headers, body, self._clock.now_ms())
            refusal = await self._hooks.take(source, delivery, self._client(head), began)
        if refusal is not None:
            self._counts.refusal("webhook", refusal)
        answer = answers.stored(None) if refusal is None else answers.refused(refusal, None)
        self._counts.request("webhook", answer.status, self._clock.monotonic() - began)
        return answer

    async def _other(self, head: Head, body: bytes | Refused, exchange: Exchange) -> None:
        if head.path.startswith(WEBHOOK_PATH):
            exchange.respond(await self._delivery(head, body))
            return
        # HEAD is GET without the body (RFC 9110 §9.3.2), which the connection leaves out.
        handler = find(self._routes, "GET" if head.method == "HEAD" else head.method, head.path)
        if handler is None:
            exchange.respond(self._unserved(head))
            return
        if isinstance(body, Refused):
            exchange.respond(answers.refused(body, None))
            return
        try:
            reply = await handler(RouteRequest(head.method, head.path, head.query, head.headers, body))
        except Exception:  # noqa: BLE001 (a page that fails must not take the collector with it)
            _log.exception("The page %s failed.", head.path)
            exchange.respond(answers.refused(refusals.FAILED, None))
            return
        if isinstance(reply, Reply):
            exchange.respond(Answer(reply.status, (("content-type", reply.content_type), *reply.headers), reply.body))
        elif head.method == "HEAD":
            await _closed(reply.chunks)
            exchange.respond(Answer(200, (("content-type", reply.content_type), *reply.headers), b""))
        else:
            await self._stream(reply, exchange)

    def _unserved(self, head: Head) -> Answer:
        """Answer for a path and method that no route serves: 405 where another method is served, else 404."""
        origin = head.headers.get("origin")
        served = methods(self._routes, head.path)
        if not served:
            return answers.refused(refusals.NOT_FOUND, origin)
        return answers.refused(refusals.METHOD_NOT_ALLOWED, origin, allow=", ".join(served))

    async def _stream(self, stream: Stream, exchange: Exchange) -> None:
        exchange.begin_stream(200, [("content-type", stream.content_type), *stream.headers])
        sending = asyncio.create_task(_pump(stream.chunks, exchange))
        gone = asyncio.create_task(exchange.gone())
        self._streams.add(sending)
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._streams.discard(sending)
            sending.cancel()
            gone.cancel()
            ended = await asyncio.gather(sending, gone, return_exceptions=True)
            if isinstance(ended[0], Exception) and not isinstance(ended[0], ConnectionError):
                _log.error("A stream failed.", exc_info=ended[0])
            exchange.end_stream()

    def end_streams(self) -> None:
        """End what would never end by itself, so that the server can stop."""
        for sending in self._streams:
            sending.cancel()


async def _pump(chunks: AsyncIterator[bytes], exchange: Exchange) -> None:
    try:
        async for chunk in chunks:
            await exchange.send(chunk)
    finally:
        await _closed(chunks)


async def _closed(chunks: AsyncIterator[bytes]) -> None:
    close = getattr(chunks, "aclose", None)
    if close is not None:
        await close()


class _Taking:
    """A request at one of the endpoints, from its last byte to its answer."""

    __slots__ = ("_clock", "_counts", "_verdict", "began", "endpoint", "exchange", "head", "origin")

    def __init__(self, counts: Counts, clock: Clock, endpoint: Endpoint, head: Head, exchange: Exchange) -> None:
        self._counts = counts
        self._clock = clock
        self.exchange = exchange
        self._verdict: Accepted | None = None
        self.endpoint = endpoint
        self.head = head
        self.origin = head.headers.get("origin")
        self.began = clock.monotonic()

    def answer(self, answer: Answer) -> None:
        """Answer, and count it."""
        self._counts.request(self.endpoint.name, answer.status, self._clock.monotonic() - self.began)
        self.exchange.respond(answer)

    def refuse(self, refusal: Refused) -> None:
        """Answer that nothing was taken; a pixel is an image all the same."""
        self._counts.refusal(self.endpoint.name, refusal)
        self.answer(answers.image(refusal) if self.endpoint.takes == "pixel" else answers.refused(refusal, self.origin))

    def accept(self, verdict: Accepted) -> None:
        """Keep what is counted and answered once it is stored; its records are the outbox's alone."""
        self._verdict = Accepted([], verdict.size, verdict.counts, verdict.replaced, verdict.key, verdict.results)

    def stored(self, stored: bool) -> None:  # noqa: FBT001 (as the outbox tells it)
        """Answer as the broker has: it has stored the records, or it may not have."""
        if not stored or self._verdict is None:
            self.refuse(refusals.UNAVAILABLE)
            return
        self._counts.accepted(self._verdict)
        headers = self.head.headers
        attempt = headers.get("x-retry-count")
        if attempt is None and self.origin is not None:
            attempt = headers.get("rsa-retry-attempt")
        if attempt is not None:
            self._counts.retry(self._verdict, attempt)
        self.answer(answers.image(None) if self.endpoint.takes == "pixel" else answers.stored(self.origin, self._verdict.results))
