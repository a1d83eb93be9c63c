"""One connection: what comes over it becomes requests, one after the other, within bounds of size and time; llhttp says where each begins and ends.

llhttp is strict: where two readers could disagree about where a request ends, it refuses, and nothing behind it is read (RFC 9112 §11.2).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import httptools

from pipeline.app.collector import bodies, listener
from pipeline.app.collector.bodies import Arriving
from pipeline.app.collector.http import CONTINUE, LAST_CHUNK, Head, opening, rendered, target
from pipeline.ingest import Refused, answers, refusals
from pipeline.ingest.answers import Answer

if TYPE_CHECKING:
    from pipeline.app.collector.connections import Connections

_log = logging.getLogger(__name__)

HEADERS_MOST: Final = 100
"""Most headers of a request."""
PIPELINED_MOST: Final = 64
"""Most requests that wait behind one that has no answer yet."""
_FRAMING_BYTES: Final = 16 * 1024
_FRAMING_TIMES: Final = 8
"""What chunk sizes, their extensions and trailers may take: so much, and so many times the body; a chunk of one byte takes seven."""
_LINGER_SECONDS: Final = 2.0
"""How long is read and thrown away behind the answer to what is not read on, so that the client sees it and not a broken connection."""
_LINGER_BYTES: Final = 4 * 1024 * 1024


_COMMON_NAMES: Final = (
    *("accept", "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type"),
    *("host", "origin", "referer", "sentat", "user-agent"),
)
_HEADER_NAMES: Final = {spelling.encode(): name for name in _COMMON_NAMES for spelling in (name, name.title())}
"""Names of headers by how most clients write them."""


class _Unreadable(Exception):
    """What comes is not read on.

    Attributes:
        refusal: The answer.
    """

    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


class _Arrived(NamedTuple):
    head: Head
    body: Arriving
    last: bool


class Connection(asyncio.BufferedProtocol):
    """A connection.

    Args:
        connections: All of them, and what answers their requests.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._client = ""
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._arriving: tuple[Head, Arriving] | None = None
        self._body_bytes = 0
        self._piece_bytes = 0
        self._framing_bytes = 0
        self._waiting: deque[_Arrived] = deque()
        self._answering: _Arrived | None = None
        self._since = connections.now
        self._again = self._going_on = self._paused = self._deaf = self._lingering = False
        self._reads: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if peer else ""
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what was under way."""
        del exc
        self._transport = None
        self._forget()
        for future in (self._reads, self._gone):
            if future is not None and not future.done():
                future.set_result(None)
        self._connections.remove(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Give the buffer of all connections: what is read into it has been taken out of it before anything else is read."""
        del sizehint
        return self._connections.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take a piece."""
        if self._deaf:
            self._framing_bytes += nbytes
            if self._framing_bytes > _LINGER_BYTES:
                self.abort()
            return
        if self._answering is not None and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        elif self._arriving is None and self._framing_bytes <= 0:
            self._since = self._connections.now
        self._piece_bytes = nbytes
        try:
            self._feed(self._connections.buffer[:nbytes])
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, _Unreadable) else refusals.NOT_HTTP)
        else:
            self._framing_bytes += nbytes
            self._bound()

    def _feed(self, piece: memoryview) -> None:
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            if self._arriving is None:  # CONNECT, behind which there is nothing for us
                self._hear_no_more()
            else:
                self._read_without_upgrade(bytes(piece[upgrade.args[0] :]))

    def _read_without_upgrade(self, rest: bytes) -> None:
        """Read on behind a head that asks for another protocol: nobody here speaks it, and llhttp would not read the body (RFC 9110 §7.8)."""
        assert self._arriving is not None  # noqa: S101 (there was a head)
        head = self._arriving[0]
        framing = "".join([f"{name}: {head.headers[name]}\r\n" for name in ("content-length", "transfer-encoding") if name in head.headers])
        closing = "connection: close\r\n" if "close" in head.headers["connection"].lower() else ""
        version = self._parser.get_http_version()
        self._parser = httptools.HttpRequestParser(self)
        self._again = True
        self._feed(memoryview(f"{head.method} / HTTP/{version}\r\n{framing}{closing}\r\n".encode() + rest))

    def eof_received(self) -> bool:
        """Say whether the client, which sends no more, may still read."""
        return self._answering is not None and not self._lingering

    def pause_writing(self) -> None:
        """Answer nothing more: the client does not read."""
        self._reads = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Go on answering."""
        if self._reads is not None and not self._reads.done():
            self._reads.set_result(None)
        self._reads = None
        self._go_on()

    # What llhttp calls.

    def on_url(self, url: bytes) -> None:
        """Take the target."""
        self._url = url
        self._head_bytes = len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is read and thrown away."""
        if self._arriving is None or self._again:
            self._headers.append((name, value))
            self._head_bytes += len(name) + len(value) + 4
            if len(self._headers) > HEADERS_MOST or self._head_bytes > 2 * listener.HEAD_BYTES:
                raise _Unreadable(refusals.LARGE_HEAD)

    def on_headers_complete(self) -> None:
        """Judge how the body comes."""
        if self._again:
            self._again = False
            self._headers.clear()
            return
        version = self._parser.get_http_version()
        headers: dict[str, str] = {}
        for name, value in self._headers:
            try:
                key, text = _HEADER_NAMES.get(name) or name.decode("ascii").lower(), value.decode()
            except UnicodeDecodeError:
                continue
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        self._headers.clear()
        if version != "1.1" and (version != "1.0" or "transfer-encoding" in headers):
            raise _Unreadable(refusals.NOT_HTTP)
        path, query = target(self._url)
        head = Head(self._parser.get_method().decode("ascii"), path, query, self._client, headers)
        self._framing_bytes -= self._head_bytes
        self._body_bytes = 0
        self._since = self._connections.now
        self._arriving = head, self._connections.bodies.begin(headers)
        if "expect" in headers and headers["expect"].lower() == "100-continue" and self._transport is not None and self._answering is None:
            self._transport.write(CONTINUE)

    def on_body(self, piece: bytes) -> None:
        """Take a piece of the body."""
        assert self._arriving is not None  # noqa: S101 (llhttp gives the head first)
        self._framing_bytes -= len(piece)
        self._body_bytes += len(piece)
        if not self._arriving[1].take(piece):
            raise _Unreadable(refusals.TOO_LARGE)

    def on_message_complete(self) -> None:
        """Answer the request, or let it wait for its turn."""
        assert self._arriving is not None  # noqa: S101 (as above)
        if self._parser.should_upgrade() and self._arriving[0].method != "CONNECT":
            return
        if len(self._waiting) >= PIPELINED_MOST:
            raise _Unreadable(refusals.NOT_HTTP)
        head, body = self._arriving
        self._arriving = None
        self._framing_bytes = -self._piece_bytes
        self._waiting.append(_Arrived(head, body, not self._parser.should_keep_alive() or self._parser.get_http_version() != "1.1"))
        self._go_on()

    # What answers.

    def respond(self, answer: Answer) -> None:
        """Answer the request; nobody hears it where the client has gone."""
        transport, request = self._transport, self._answering
        if transport is None or request is None:
            return
        last = request.last or self._connections.stopping
        if answer is answers.STORED and not last:
            transport.write(self._connections.stored)
        else:
            transport.write(rendered(answer, self._connections.date, bodiless=request.head.method == "HEAD", last=last))
        self._answered(last=last)

    def begin_stream(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Begin an answer in pieces."""
        if self._transport is not None and self._answering is not None:
            self._transport.write(opening(status, headers, self._connections.date, chunked=not self._answering.last))

    async def send(self, piece: bytes) -> None:
        """Send a piece, once the client has read most of those before.

        Raises:
            ConnectionResetError: It has gone.
        """
        if self._reads is not None:
            await self._reads
        if self._transport is None or self._answering is None:
            raise ConnectionResetError
        if piece:
            self._transport.write(piece if self._answering.last else b"%x\r\n%s\r\n" % (len(piece), piece))

    def end_stream(self) -> None:
        """End an answer in pieces."""
        if self._transport is not None and self._answering is not None:
            last = self._answering.last
            if not last:
                self._transport.write(LAST_CHUNK)
            self._answered(last=last or self._connections.stopping)

    async def gone(self) -> None:
        """Wait until the client has gone."""
        if self._transport is not None:
            self._gone = self._gone or asyncio.get_running_loop().create_future()
            await self._gone

    # What looks after it.

    def look(self, now: float) -> None:
        """End what has taken too long: a head, a body, an idle connection, a client that does not hear that it is over."""
        waited = now - self._since
        if self._lingering:
            if waited >= _LINGER_SECONDS:
                self.abort()
        elif self._answering is not None or self._deaf:
            return
        elif self._arriving is not None:
            if waited >= bodies.BODY_SECONDS:
                self._refuse(refusals.TOO_SLOW)
        elif self._transport is not None and self._transport.get_write_buffer_size():
            self._since = now  # it still reads; if it does not, the system ends it (`listener.UNREAD_SECONDS`)
        elif waited >= listener.HEAD_SECONDS:
            self.abort()

    def end(self) -> None:
        """End the connection where no request is under way."""
        if self._answering is None and self._arriving is None and self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _go_on(self) -> None:
        """Answer what waits, one request at a time."""
        if self._going_on:
            return
        self._going_on = True
        try:
            while self._waiting and self._answering is None and self._reads is None:
                self._answering = self._waiting.popleft()
                try:
                    self._connections.handle(self._answering.head, self._answering.body.end(), self)
                except Exception:  # noqa: BLE001 (whatever it is, nobody else's request shall fail for it)
                    _log.exception("A request failed.")
                    self.respond(answers.refused(refusals.FAILED, None))
        finally:
            self._going_on = False
        if self._paused and self._answering is None and self._reads is None and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    def _answered(self, *, last: bool) -> None:
        self._answering = None
        self._since = self._connections.now
        if not last:
            self._go_on()
        elif self._deaf:
            self._linger()
        else:
            self._deaf = True
            self._forget()
            if self._transport is not None:
                self._transport.close()

    def _bound(self) -> None:
        """Hold what is not body against its bounds."""
        if self._arriving is not None:
            if self._framing_bytes > _FRAMING_BYTES + _FRAMING_TIMES * self._body_bytes:
                self._refuse(refusals.NOT_HTTP)
        elif self._framing_bytes > 2 * listener.HEAD_BYTES:
            self._refuse(refusals.LARGE_HEAD)

    def _refuse(self, refusal: Refused) -> None:
        """Refuse what is arriving and read no more; who asked for something before hears of that first."""
        if self._arriving is not None:
            head, body = self._arriving
            self._arriving = None
            body.refuse(refusal)
            self._waiting.append(_Arrived(head, body, last=True))
            self._deaf = True
            self._go_on()
        elif self._answering is not None:
            self._hear_no_more()
        elif self._transport is not None:
            self._deaf = True
            self._transport.write(rendered(answers.refused(refusal, None), self._connections.date, bodiless=False, last=True))
            self._linger()

    def _hear_no_more(self) -> None:
        """Let the answer to what was asked so far be the last one."""
        self._deaf = True
        if self._waiting:
            self._waiting.append(self._waiting.pop()._replace(last=True))
        elif self._answering is not None:
            self._answering = self._answering._replace(last=True)
        else:
            self._linger()

    def _linger(self) -> None:
        """End the connection once the client has seen the answer."""
        self._forget()
        self._lingering = True
        self._framing_bytes = 0
        if self._transport is not None:
            self._transport.write_eof()
            if self._paused:
                self._paused = False
                self._transport.resume_reading()

    def _forget(self) -> None:
        if self._arriving is not None:
            self._arriving[1].release()
            self._arriving = None
        for one in self._waiting:
            one.body.release()
        self._waiting.clear()
