"""A connection and the application behind it, without a network: bounds and order."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterable, Sequence

import orjson
import pytest

from pipeline.app.collector import bodies, requests
from pipeline.app.collector.bodies import Bodies
from pipeline.app.collector.connection import Connection
from pipeline.app.collector.connections import PIECE_BYTES, Connections
from pipeline.app.collector.counts import Counts
from pipeline.app.collector.http import Head
from pipeline.app.collector.outbox import Outbox
from pipeline.app.collector.requests import Application
from pipeline.ingest import WriteKeys
from pipeline.ingest.answers import Answer
from pipeline.runtime.metrics.memory import MemoryMetrics
from tests.integration.collector_over_http import WORKSPACE, LeapingClock, SteeredProducer


class Wire(asyncio.Transport):
    """A connection without a network: what is written is kept."""

    def __init__(self) -> None:
        super().__init__({"peername": ("::1", 40000)})
        self.written = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep it."""
        self.written += bytes(data)

    def write_eof(self) -> None:
        """Keep that nothing more comes."""
        self.closed = True

    def close(self) -> None:
        """Close."""
        self.closed = True

    def abort(self) -> None:
        """Close at once."""
        self.closed = True

    def pause_reading(self) -> None:
        """Do nothing."""

    def resume_reading(self) -> None:
        """Do nothing."""

    @property
    def statuses(self) -> list[int]:
        """Statuses of the answers."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", self.written)]

    @property
    def code(self) -> str:
        """Code of the last answer."""
        return str(orjson.loads(self.written.rpartition(b"\r\n\r\n")[2]).get("code", ""))


class Client:
    """A client of an application, piece by piece."""

    def __init__(self, outbox: Outbox) -> None:
        self.clock = LeapingClock()
        self.bodies = Bodies(outbox)
        with socket.socket() as unheard:
            unheard.bind(("127.0.0.1", 0))
            unheard.listen()
            self.connections = Connections(unheard, 0, application(outbox).handle, self.bodies, self.clock)
        self.wire = Wire()
        self.connection = Connection(self.connections)
        self.connection.connection_made(self.wire)

    def send(self, data: bytes) -> None:
        """Send bytes as the network does: in pieces."""
        while data and not self.wire.closed:
            piece, data = data[:PIECE_BYTES], data[PIECE_BYTES:]
            self.connection.get_buffer(-1)[: len(piece)] = piece
            self.connection.buffer_updated(len(piece))

    async def post(self, pieces: Iterable[bytes], declared: int | None) -> None:
        """Send a request and wait for its answer."""
        length = "transfer-encoding: chunked" if declared is None else f"content-length: {declared}"
        self.send(f"POST /v1/batch HTTP/1.1\r\nauthorization: Basic ZGVtbzo=\r\n{length}\r\n\r\n".encode())
        for piece in pieces:
            self.send(piece if declared is not None else b"%x\r\n%s\r\n" % (len(piece), piece))
        if declared is None:
            self.send(b"0\r\n\r\n")
        async with asyncio.timeout(5):
            while not self.wire.statuses:  # noqa: ASYNC110 (a wire tells nobody)
                await asyncio.sleep(0)


def application(outbox: Outbox) -> Application:
    """Make an application around an outbox."""
    return Application(
        outbox=outbox,
        counts=Counts(MemoryMetrics()),
        workspace=lambda: WORKSPACE,
        keys=lambda: WriteKeys({"demo": "web"}),
        clock=LeapingClock(),
        routes={},
        nonce="n",
    )


def padded(size: int) -> bytes:
    """Write a legal batch of so many bytes."""
    body = b'{"batch":[{"type":"page","userId":"u"}]}'
    return body + b" " * (size - len(body))


@pytest.mark.parametrize(
    ("declared", "pieces"), [(64, [padded(64)]), (600_000, [padded(600_000)]), (2_000_000, [padded(1_000_000)] * 2), (None, [padded(64)])]
)
async def test_a_full_collector_says_503(declared: int | None, pieces: list[bytes]) -> None:
    """Above the bound a request is answered at once, without a wait for the broker; its body is read, so that the client hears it."""
    producer = SteeredProducer()
    producer.gate.clear()
    outbox = Outbox(producer, LeapingClock(), most_bytes=1000)
    waiting = outbox.put([], 980)
    client = Client(outbox)
    await client.post(pieces, declared)
    assert (client.wire.statuses, client.wire.code) == ([503], "overloaded")
    assert (outbox.held_bytes, client.bodies.arriving_bytes) == (980, 0)
    producer.gate.set()
    assert await waiting


@pytest.mark.parametrize(("declared", "size"), [(600_000, 600_000), (2_000_000, 2_000_000), (None, 2_000_000), (None, 10)])
async def test_a_body_is_held_no_longer_than_it_arrives(declared: int | None, size: int) -> None:
    """However a body was read, nothing stays held after the answer."""
    outbox = Outbox(SteeredProducer(), LeapingClock())
    body = padded(size)[:size]
    client = Client(outbox)
    await client.post([body[:1000], body[1000:]] if size > 1000 else [body], declared)
    await outbox.drain()
    assert client.wire.statuses == [400 if size == 10 else 200]
    assert (outbox.held_bytes, client.bodies.arriving_bytes) == (0, 0)


async def test_bodies_that_never_end_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives on all connections counts, and is let go with its connection; a small body is taken beside it."""
    monkeypatch.setattr(bodies, "ARRIVING_BYTES", 150_000)
    outbox = Outbox(SteeredProducer(), LeapingClock())
    slow = Client(outbox)
    slow.send(b"POST /v1/batch HTTP/1.1\r\ncontent-length: 140000\r\n\r\n" + b" " * 139_999)
    assert slow.bodies.arriving_bytes == 139_999
    other, chunked, small = (Client(outbox) for _ in range(3))
    for one in (other, chunked, small):
        one.connections.bodies = slow.bodies
    await other.post([b" " * 20_000], 20_000)
    await chunked.post([b" " * 20_000], None)
    await small.post([padded(64)], 64)
    assert [one.wire.statuses for one in (other, chunked, small)] == [[503], [503], [200]]
    slow.connection.connection_lost(None)
    assert slow.bodies.arriving_bytes == 0


async def test_endless_bodies_end() -> None:
    """A body beyond 8 MiB is thrown away piece by piece, and after 64 MiB nobody listens any more."""
    outbox = Outbox(SteeredProducer(), LeapingClock())
    read = 0

    def pieces() -> Iterable[bytes]:
        nonlocal read
        while not client.wire.closed:
            read += 1
            yield b" " * 1_000_000

    client = Client(outbox)
    await client.post(pieces(), None)
    assert client.wire.statuses == [413]
    assert 60 < read < 70
    assert (outbox.held_bytes, client.bodies.arriving_bytes) == (0, 0)


async def test_requests_at_once_are_answered_in_their_order() -> None:
    """The second one waits until the first is stored; so many of them that nobody means well end the connection."""
    producer = SteeredProducer()
    producer.gate.clear()
    outbox = Outbox(producer, LeapingClock())
    client = Client(outbox)
    body = padded(64)
    event = b"POST /v1/batch HTTP/1.1\r\nauthorization: Basic ZGVtbzo=\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
    client.send(event + b"GET /none HTTP/1.1\r\n\r\n" + event)
    await producer.asked.acquire()
    assert client.wire.statuses == []
    producer.gate.set()
    await outbox.drain()
    async with asyncio.timeout(5):
        while len(client.wire.statuses) < 3:  # noqa: ASYNC110 (a wire tells nobody)
            await asyncio.sleep(0)
    assert client.wire.statuses == [200, 404, 200]
    producer.gate.clear()
    client.send(event + b"GET /none HTTP/1.1\r\n\r\n" * 100)
    producer.gate.set()
    async with asyncio.timeout(5):
        while not client.wire.closed:  # noqa: ASYNC110 (as above)
            await asyncio.sleep(0)
    assert client.wire.statuses[3] == 200
    assert len(client.wire.statuses) < 4 + 100


class Asked:
    """An exchange that keeps the statuses of its answers in a list that it shares with others."""

    def __init__(self, statuses: list[int]) -> None:
        self._statuses = statuses

    def respond(self, answer: Answer) -> None:
        """Keep the status."""
        self._statuses.append(answer.status)

    def begin_stream(self, status: int, headers: Sequence[tuple[str, str]]) -> None:
        """Do nothing: there are no streams here."""

    async def send(self, piece: bytes) -> None:
        """Do nothing."""

    def end_stream(self) -> None:
        """Do nothing."""

    async def gone(self) -> None:
        """Stay."""


async def test_what_comes_at_once_is_decided_about_in_several_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ten bodies that come in one turn of the loop six are decided about in it, as many as its bytes allow, and each other one in its own."""
    monkeypatch.setattr(requests, "TURN_BYTES", 6 * 40 * 1024)
    one = application(Outbox(SteeredProducer(), LeapingClock()))
    statuses: list[int] = []
    for _ in range(10):
        head = Head("POST", "/v1/batch", "", "::1", {"authorization": "Basic ZGVtbzo="})
        one.handle(head, b"x" * 40 * 1024, Asked(statuses))
    assert statuses == [400] * 6
    for decided in (6, 7, 8, 9, 10):
        async with asyncio.timeout(5):
            while len(statuses) < decided:  # noqa: ASYNC110 (an exchange tells nobody)
                await asyncio.sleep(0)
        assert statuses == [400] * decided


async def test_answers_by_method_and_version() -> None:
    """HEAD has the length without the body; an older client, and one that says so, gets its connection closed behind the answer."""
    for head, closed in (("HEAD /none HTTP/1.1", False), ("GET /none HTTP/1.0", True), ("GET /none HTTP/1.1\r\nconnection: close", True)):
        client = Client(Outbox(SteeredProducer(), LeapingClock()))
        client.send(f"{head}\r\n\r\n".encode())
        async with asyncio.timeout(5):
            while not client.wire.statuses:  # noqa: ASYNC110 (a wire tells nobody)
                await asyncio.sleep(0)
        head_text, _, body = client.wire.written.partition(b"\r\n\r\n")
        assert (bool(body), client.wire.closed) == (not head.startswith("HEAD"), closed)
        assert b"content-length: 82" in head_text


async def test_a_bug_of_ours_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The client gets its 200, the body waits for someone in dead letters, and the log has the traceback."""

    def failing(*_arguments: object) -> Iterable[None]:
        yield
        raise LookupError("bug")

    monkeypatch.setattr(requests, "collect_in_turns", failing)
    producer = SteeredProducer()
    client = Client(Outbox(producer, LeapingClock()))
    await client.post([b"body"], 4)
    (letter,) = producer.stored
    assert (client.wire.statuses, letter.topic, letter.value) == ([200], "shop.dead.ingest", b"body")
    assert "LookupError: bug" in caplog.text


async def test_work_that_fails_is_heard_and_answered(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A bug beside the connection ends with a 500 and its traceback in the log, and what waits behind it is answered."""

    async def failing(*_arguments: object) -> None:
        raise LookupError("bug")

    monkeypatch.setattr(Application, "_delivery", failing)
    client = Client(Outbox(SteeredProducer(), LeapingClock()))
    client.send(b"POST /v1/webhook/shop HTTP/1.1\r\ncontent-length: 0\r\n\r\nGET /none HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(5):
        while len(client.wire.statuses) < 2:  # noqa: ASYNC110 (a wire tells nobody)
            await asyncio.sleep(0)
    assert client.wire.statuses == [500, 404]
    assert "LookupError: bug" in caplog.text


async def test_a_request_that_fails_does_not_hold_up_the_next_ones() -> None:
    """A bug in the answer to one of several requests at once is a 500 for it alone, and the others are answered in their order."""

    def handle(head: Head, _body: object, exchange: Connection) -> None:
        if head.path == "/bug":
            raise LookupError("bug")
        exchange.respond(Answer(204, (), b""))

    client = Client(Outbox(SteeredProducer(), LeapingClock()))
    waiting: list[Connection] = []
    client.connections.handle = lambda _head, _body, exchange: waiting.append(exchange)
    client.send(b"".join(b"GET /%s HTTP/1.1\r\n\r\n" % path for path in (b"first", b"bug", b"good", b"bug", b"good")))
    client.connections.handle = handle
    waiting[0].respond(Answer(204, (), b""))
    assert client.wire.statuses == [204, 500, 204, 500, 204]
